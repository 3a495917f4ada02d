//! The MinHash signatures of all pieces, made in parallel as the pieces come.
//!
//! Texts wait until there is work for every thread; then their signatures are made and the texts forgotten. A signature has
//! four bytes a number; what is beyond a bound goes to the temporary file, so that memory does not grow with the datamix.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use crate::in_order;
use crate::minhash::{MinHash, NOTHING, Shingles};
use crate::scratch::{Extent, Scratch};

/// Bytes of texts that a thread is given at a time.
const TASK: usize = 1 << 17;
/// Pieces whose signatures are kept or written together.
const CHUNK: usize = 256;

/// Signatures, by the number of the piece.
#[derive(Debug)]
pub struct Signatures {
    minhash: MinHash,
    threads: usize,
    scratch: Arc<Scratch>,
    /// Chunks that may yet stay in memory.
    free: usize,
    chunks: Vec<Chunk>,
    /// The chunk that is being filled.
    open: Vec<u32>,
    /// Packed pieces that have no signature yet, and where each ends.
    texts: Vec<u8>,
    ends: Vec<usize>,
}

#[derive(Debug)]
enum Chunk {
    Memory(Vec<u32>),
    Disk(Extent),
}

impl Signatures {
    /// None yet; at most so many bytes of them will stay in memory.
    #[must_use]
    pub fn new(minhash: MinHash, threads: usize, memory: usize, scratch: Arc<Scratch>) -> Self {
        let free = memory / (CHUNK * minhash.num_perm() * 4);
        let (chunks, open, texts, ends) = Default::default();
        Self { minhash, threads, scratch, free, chunks, open, texts, ends }
    }

    /// Takes the next piece.
    pub fn push(&mut self, packed: &[u8]) -> anyhow::Result<()> {
        self.texts.extend(packed);
        self.ends.push(self.texts.len());
        if self.texts.len() >= TASK * self.threads { self.make() } else { Ok(()) }
    }

    /// Makes the signatures of the pieces that wait for them. Only then are all there.
    pub fn make(&mut self) -> anyhow::Result<()> {
        let mut tasks = tasks(&self.ends).into_iter();
        let made = &mut self.open;
        let (texts, minhash) = (&self.texts, &self.minhash);
        in_order::run(
            self.threads,
            || Ok(tasks.next()),
            || {
                let mut shingles = Shingles::default();
                move |pieces: Vec<Range<usize>>| {
                    let mut signatures = Vec::with_capacity(pieces.len() * minhash.num_perm());
                    for piece in pieces {
                        minhash.push_signature(&texts[piece], &mut shingles, &mut signatures);
                    }
                    Ok(signatures)
                }
            },
            |signatures| {
                made.extend(signatures);
                Ok(ControlFlow::Continue(()))
            },
        )?;
        self.texts.clear();
        self.ends.clear();
        let n = CHUNK * self.minhash.num_perm();
        while self.open.len() >= n {
            let rest = self.open.split_off(n);
            let chunk = std::mem::replace(&mut self.open, rest);
            self.chunks.push(if self.free > 0 {
                self.free -= 1;
                Chunk::Memory(chunk)
            } else {
                let bytes: Vec<u8> = chunk.iter().flat_map(|number| number.to_le_bytes()).collect();
                Chunk::Disk(self.scratch.write(&bytes)?)
            });
        }
        Ok(())
    }

    /// The signature of a document that is made of these pieces, in place of what is in the vector.
    pub fn of(
        &self,
        pieces: impl Iterator<Item = u32>,
        signature: &mut Vec<u32>,
    ) -> anyhow::Result<()> {
        let n = self.minhash.num_perm();
        signature.clear();
        signature.resize(n, NOTHING);
        for piece in pieces {
            let (chunk, start) = (piece as usize / CHUNK, piece as usize % CHUNK * n);
            let mut take = |i: usize, number: u32| signature[i] = signature[i].min(number);
            let numbers = match self.chunks.get(chunk) {
                Some(Chunk::Memory(numbers)) => numbers,
                Some(Chunk::Disk(extent)) => {
                    let bytes = self.scratch.read(extent.part(start * 4..(start + n) * 4))?;
                    let numbers = bytes.as_chunks().0.iter().copied().map(u32::from_le_bytes);
                    numbers.enumerate().for_each(|(i, number)| take(i, number));
                    continue;
                }
                None => &self.open,
            };
            let numbers = numbers[start..start + n].iter().copied();
            numbers.enumerate().for_each(|(i, number)| take(i, number));
        }
        Ok(())
    }
}

/// Stretches of the pieces, of about equal size.
fn tasks(ends: &[usize]) -> Vec<Vec<Range<usize>>> {
    let mut tasks: Vec<Vec<Range<usize>>> = Vec::new();
    let (mut start, mut size) = (0, 0);
    for &end in ends {
        if tasks.is_empty() || size >= TASK {
            tasks.push(Vec::new());
            size = 0;
        }
        size += end - start;
        tasks.last_mut().expect("one was pushed").push(start..end);
        start = end;
    }
    tasks
}
