//! The ids of parts that were met before: 8 MiB that a thread owns, one cache line per two parts.
//!
//! A part of at most [`MAX_BYTES`] bytes and [`MAX_IDS`] ids lies in the table itself, key and value side by side in
//! half a cache line, so that a hit costs one line. A line holds the two parts with its hash that were met last.

#![expect(clippy::cast_possible_truncation, reason = "a cut-off half, or a count below 256")]

use crate::rules::Symbol;

/// The longest part that has a key.
pub(crate) const MAX_BYTES: usize = 15;

/// The most ids that are kept.
pub(crate) const MAX_IDS: usize = 7;

/// The ids, and one more number: so many are moved at once.
pub(crate) const LANES: usize = MAX_IDS + 1;

/// Lines in the table: 8 MiB. The size comes from the experiments in `../shared/reference/exact-encoder.md`.
const N_LINES: usize = 1 << 17;

/// A part's bytes, then zeros, then its length: no two parts share one, and none is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Key(u128);

/// Half a cache line.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Entry {
    key: Key,
    ids: [Symbol; MAX_IDS],
    /// The number of ids; plus [`JOINS_RUN`].
    count: u16,
}

/// Marks the ids of " w" that a run of blanks before may not be cut off from ([`crate::blank_runs`]).
const JOINS_RUN: u16 = 1 << 8;

#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
struct Line([Entry; 2]);

/// The table.
#[derive(Debug)]
pub(crate) struct PartCache {
    lines: Box<[Line; N_LINES]>,
}

/// The bits of the first so many bytes.
const FIRST_BYTES: [u128; MAX_BYTES + 1] = {
    let mut masks = [0; MAX_BYTES + 1];
    let mut length = 1;
    while length <= MAX_BYTES {
        masks[length] = masks[length - 1] << 8 | 0xFF;
        length += 1;
    }
    masks
};

impl Key {
    /// Of parts that are too long: no entry has it.
    const NONE: Self = Self(u128::MAX);

    /// The key of the first `length` bytes of a head: 16 bytes, the first one lowest.
    #[inline]
    pub(crate) fn new(head: u128, length: usize) -> Self {
        if length > MAX_BYTES {
            return Self::NONE;
        }
        Self(head & FIRST_BYTES[length] | (length as u128) << 120)
    }

    /// Which line of the table the part is in.
    #[inline]
    pub(crate) fn line(self) -> usize {
        let (low, high) = (self.0 as u64, (self.0 >> 64) as u64);
        // Multiplication carries upwards, so the high bits depend on all; the factors are odd and arbitrary.
        let hash =
            low.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ high.wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
        (hash >> (64 - N_LINES.trailing_zeros())) as usize
    }
}

impl Entry {
    /// What to keep for a part, if its ids fit.
    pub(crate) fn new(key: Key, ids: &[Symbol], joins_run: bool) -> Option<Self> {
        let mut entry = Self { key, count: ids.len() as u16, ..Self::default() };
        entry.ids.get_mut(..ids.len())?.copy_from_slice(ids);
        entry.count |= if joins_run { JOINS_RUN } else { 0 };
        Some(entry)
    }

    /// The ids, and something behind them: eight lanes that are widened at once.
    #[inline]
    pub(crate) fn padded_ids(&self) -> [u32; LANES] {
        let [a, b, c, d, e, f, g] = self.ids;
        [a, b, c, d, e, f, g, self.count].map(u32::from)
    }

    /// How many ids there are.
    #[inline]
    pub(crate) fn n_ids(&self) -> usize {
        usize::from(self.count & 0xFF)
    }

    /// Whether a run of blanks before this part belongs to it.
    #[inline]
    pub(crate) fn joins_run(&self) -> bool {
        self.count >= JOINS_RUN
    }
}

impl PartCache {
    pub(crate) fn new() -> Self {
        let lines = vec![Line::default(); N_LINES].into_boxed_slice();
        Self { lines: lines.try_into().expect("so many were made") }
    }

    /// Has a line brought near, since it will be looked into soon.
    #[inline]
    #[cfg_attr(
        target_arch = "x86_64",
        expect(
            unsafe_code,
            reason = "no safe way tells a processor what will be read; measured in `lib.rs`"
        )
    )]
    pub(crate) fn prefetch(&self, line: usize) {
        let line = &raw const self.lines[line % N_LINES];
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a hint that reads and writes nothing, and the address is that of a line.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line.cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = line;
    }

    /// The entry of a part, which becomes the first of its line.
    #[inline]
    pub(crate) fn find(&mut self, line: usize, key: Key) -> Option<&Entry> {
        let line = &mut self.lines[line % N_LINES].0;
        if line[0].key != key {
            if line[1].key != key {
                return None;
            }
            line.swap(0, 1);
        }
        Some(&line[0])
    }

    /// Keeps an entry; of its line, the one not met for longer goes.
    pub(crate) fn insert(&mut self, entry: Entry) {
        let line = &mut self.lines[entry.key.line()].0;
        line[1] = line[0];
        line[0] = entry;
    }
}
