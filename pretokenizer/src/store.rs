//! Pieces, in the order in which they were read: in memory up to a bound, behind it in the temporary file.
//!
//! Pieces are only appended, and read from the first to the last, a block of them at a time: whatever the order of the
//! output, neither the files nor the temporary file are read out of order.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use crate::piece::{Fingerprint, Piece};
use crate::scratch::{Extent, Scratch};
use crate::signatures::Signatures;

/// Bytes of a block.
const BLOCK: usize = 1 << 18;

/// Which pieces are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// All of them.
    All,
    /// None of them: they are counted only.
    Nothing,
    /// Those whose bit is set.
    Only(Vec<u64>),
}

impl Keep {
    /// Some pieces out of so many.
    #[must_use]
    pub fn only(pieces: impl IntoIterator<Item = u32>, n: u32) -> Self {
        let mut bits = vec![0; (n as usize).div_ceil(64)];
        for piece in pieces {
            bits[piece as usize / 64] |= 1 << (piece % 64);
        }
        Self::Only(bits)
    }

    fn wants(&self, piece: u32) -> bool {
        match self {
            Self::All => true,
            Self::Nothing => false,
            Self::Only(bits) => {
                bits.get(piece as usize / 64).is_some_and(|word| word >> (piece % 64) & 1 == 1)
            }
        }
    }
}

/// Marks a number of pieces that are not kept, in the place of a length.
const SKIPPED: u64 = 1 << 63;

/// The pieces of all datasets.
#[derive(Debug)]
pub struct Store {
    keep: Keep,
    /// Pieces before the next one that are not kept.
    skipped: u32,
    scratch: Arc<Scratch>,
    /// Bytes that may stay in memory.
    memory: usize,
    blocks: Vec<Block>,
    /// The block that is being filled.
    open: Vec<u8>,
    n_pieces: u32,
    n_bytes: u64,
    /// Of all pieces, kept or not, where they are asked for.
    fingerprints: Option<Vec<Fingerprint>>,
    /// Of all pieces, kept or not, where they are asked for.
    signatures: Option<Signatures>,
}

#[derive(Debug)]
struct Block {
    pieces: Range<u32>,
    bytes: Place,
}

#[derive(Debug)]
enum Place {
    Memory(Mutex<Vec<u8>>),
    Disk(Extent),
}

impl Store {
    /// An empty store that keeps so many bytes in memory.
    #[must_use]
    pub fn new(keep: Keep, memory: usize, scratch: Arc<Scratch>) -> Self {
        Self {
            keep,
            skipped: 0,
            scratch,
            memory,
            blocks: Vec::new(),
            open: Vec::new(),
            n_pieces: 0,
            n_bytes: 0,
            fingerprints: None,
            signatures: None,
        }
    }

    /// The store, noting the fingerprints of pieces to come.
    #[must_use]
    pub fn with_fingerprints(self) -> Self {
        Self { fingerprints: Some(Vec::new()), ..self }
    }

    /// The fingerprints of all pieces, or none if they were not asked for.
    #[must_use]
    pub fn fingerprints(&self) -> &[Fingerprint] {
        self.fingerprints.as_deref().unwrap_or_default()
    }

    /// The store, making signatures of pieces to come.
    #[must_use]
    pub fn with_signatures(self, signatures: Signatures) -> Self {
        Self { signatures: Some(signatures), ..self }
    }

    /// The signatures of all pieces, if they were asked for; those behind the last [`Self::close`] are not there yet.
    #[must_use]
    pub fn signatures(&self) -> Option<&Signatures> {
        self.signatures.as_ref()
    }

    /// How many pieces there are.
    #[must_use]
    pub fn n_pieces(&self) -> u32 {
        self.n_pieces
    }

    /// How many bytes they have.
    #[must_use]
    pub fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    /// Appends a piece.
    pub fn push(&mut self, piece: &Piece) -> anyhow::Result<()> {
        let bytes = piece.bytes();
        if !self.open.is_empty() && self.open.len() + bytes.len() > BLOCK {
            self.end_block()?;
        }
        let Some(n_pieces) = self.n_pieces.checked_add(1) else {
            anyhow::bail!("more than {} rows\nhint: build the datamix in several runs", u32::MAX);
        };
        let is_kept = self.keep.wants(self.n_pieces);
        self.n_pieces = n_pieces;
        self.n_bytes += bytes.len() as u64;
        if let Some(fingerprints) = &mut self.fingerprints {
            fingerprints.push(Fingerprint::of([bytes]));
        }
        if let Some(signatures) = &mut self.signatures {
            signatures.push(bytes)?;
        }
        if !is_kept {
            self.skipped += 1;
            return Ok(());
        }
        if self.skipped > 0 {
            self.open.extend((SKIPPED | u64::from(self.skipped)).to_le_bytes());
            self.skipped = 0;
        }
        self.open.extend((bytes.len() as u64).to_le_bytes());
        self.open.extend(bytes);
        Ok(())
    }

    /// Makes all pieces readable that were pushed so far.
    pub fn close(&mut self) -> anyhow::Result<()> {
        self.end_block()?;
        self.signatures.as_mut().map_or(Ok(()), Signatures::make)
    }

    fn end_block(&mut self) -> anyhow::Result<()> {
        if self.open.is_empty() {
            return Ok(());
        }
        let next = Vec::with_capacity(BLOCK + 4096);
        let bytes = std::mem::replace(&mut self.open, next);
        let bytes = if bytes.len() <= self.memory {
            self.memory -= bytes.len();
            Place::Memory(Mutex::new(bytes))
        } else {
            Place::Disk(self.scratch.write(&bytes)?)
        };
        let start = self.blocks.last().map_or(0, |block| block.pieces.end);
        let end = self.n_pieces - self.skipped;
        self.blocks.push(Block { pieces: start..end, bytes });
        Ok(())
    }

    /// How many blocks there are.
    #[must_use]
    pub fn n_blocks(&self) -> usize {
        self.blocks.len()
    }

    /// The pieces of a block, by number.
    #[must_use]
    pub fn pieces_of(&self, block: usize) -> Range<u32> {
        self.blocks[block].pieces.clone()
    }

    /// The bytes of a block; [`each`] tells its pieces. With `last`, the store need not keep them.
    pub fn read(&self, block: usize, last: bool) -> anyhow::Result<Vec<u8>> {
        match &self.blocks[block].bytes {
            Place::Disk(extent) => self.scratch.read(*extent),
            Place::Memory(bytes) => {
                let mut bytes = bytes.lock().expect("nobody panics while copying");
                Ok(if last { std::mem::take(&mut *bytes) } else { bytes.clone() })
            }
        }
    }
}

/// The packed pieces in a block's bytes, with their numbers; `first` is the number of the block's first piece.
pub fn each(mut block: &[u8], first: u32) -> impl Iterator<Item = (u32, &[u8])> {
    let mut next = first;
    std::iter::from_fn(move || {
        loop {
            let (head, rest) = block.split_first_chunk()?;
            let head = u64::from_le_bytes(*head);
            if head & SKIPPED != 0 {
                next += u32::try_from(head ^ SKIPPED).expect("a number of pieces was written");
                block = rest;
                continue;
            }
            let length = usize::try_from(head).expect("it was in memory");
            let (piece, rest) = rest.split_at(length);
            block = rest;
            next += 1;
            return Some((next - 1, piece));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Sample;

    #[test]
    fn pieces_come_back_in_order_wherever_they_were_kept() {
        let folder = tempfile::tempdir().unwrap();
        for (memory, is_used) in [(usize::MAX, false), (BLOCK * 2, true), (0, true)] {
            let scratch = Arc::new(Scratch::new(folder.path()));
            let mut store = Store::new(Keep::All, memory, Arc::clone(&scratch));
            let piece = |i: usize| Piece::of(&Sample::PlainText("x".repeat(i * 997 % 50_000)));
            let n = 100;
            for i in 0..n {
                store.push(&piece(i)).unwrap();
            }
            store.close().unwrap();
            assert_eq!(scratch.is_used(), is_used);
            let mut next = 0;
            for block in 0..store.n_blocks() {
                assert_eq!(store.pieces_of(block).start as usize, next);
                let start = store.pieces_of(block).start;
                for (number, packed) in each(&store.read(block, false).unwrap(), start) {
                    assert_eq!((number as usize, packed), (next, piece(next).bytes()));
                    next += 1;
                }
                assert_eq!(store.pieces_of(block).end as usize, next);
            }
            assert_eq!(next, n);
        }
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn pieces_that_are_not_kept_are_counted() {
        let scratch = Arc::new(Scratch::new(std::path::Path::new("nowhere")));
        let kept = [3, 4, 70, 128];
        let mut store = Store::new(Keep::only(kept, 200), usize::MAX, scratch);
        for i in 0..200 {
            store.push(&Piece::of(&Sample::PlainText(format!("{i:060000}")))).unwrap();
        }
        store.close().unwrap();
        assert_eq!(store.n_pieces(), 200);
        let mut found = Vec::new();
        for block in 0..store.n_blocks() {
            let pieces = store.pieces_of(block);
            for (number, packed) in each(&store.read(block, false).unwrap(), pieces.start) {
                assert!(pieces.contains(&number));
                let text = format!("{number:060000}");
                assert_eq!(packed, Piece::of(&Sample::PlainText(text)).bytes());
                found.push(number);
            }
        }
        assert_eq!(found, kept);
    }
}
