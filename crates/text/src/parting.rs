//! From a text to its parts, and to where each one's ids would lie: the first of two phases.
//!
//! A stretch of some two thousand bytes is cut at a time ([`crate::cuts`], [`crate::blank_runs`]). Of each part the key is made and
//! its cache line asked for; by the time the second phase looks for the ids, in [`crate::part_encoder`], the lines of all parts are
//! there or on their way.

#![expect(
    clippy::cast_possible_truncation,
    reason = "places are below 4 GiB (`PartEncoder` sees to it), lines fewer"
)]

use crate::blank_form::BlankForm;
use crate::blank_runs::BlankRuns;
use crate::cuts::{BLOCK, Cuts};
use crate::part_cache::{Key, PartCache};

/// A part of the text.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Part {
    pub(crate) key: Key,
    /// The cache line that the key belongs to.
    pub(crate) line: u32,
    pub(crate) start: u32,
    pub(crate) length: u32,
    /// How many blanks were cut off in front: a part of their own, the one before.
    pub(crate) n_run: u32,
}

impl Part {
    #[inline]
    pub(crate) fn new(text: &BlankForm, start: usize, length: usize, n_run: usize) -> Self {
        Self::with_head(u128::from_le_bytes(*text.bytes(start)), start, length, n_run)
    }

    /// The part whose first 16 bytes, or what stands there, are known.
    #[inline(always)]
    fn with_head(head: u128, start: usize, length: usize, n_run: usize) -> Self {
        let key = Key::new(head, length);
        let [line, start, length, n_run] = [key.line(), start, length, n_run].map(|it| it as u32);
        Self { key, line, start, length, n_run }
    }
}

/// How many bytes are cut into parts before these are looked up.
pub(crate) const STRETCH: usize = 32 * BLOCK;

/// What a run of blanks begins with.
const TWO_BLANKS: u16 = u16::from_le_bytes(*b"  ");

/// Each part that ends in a stretch has a byte of its own there, but that a run of blanks may be cut off from the first.
const MAX_PARTS: usize = STRETCH + 1;

/// The parts that end in a stretch.
#[derive(Debug)]
pub(crate) struct Parting {
    parts: Box<[Part; MAX_PARTS]>,
    n_parts: usize,
    /// Where the next part starts.
    start: usize,
}

impl Parting {
    pub(crate) fn new() -> Self {
        Self { parts: Box::new([Part::default(); MAX_PARTS]), n_parts: 0, start: 0 }
    }

    /// What was found last.
    #[inline]
    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts[..self.n_parts]
    }

    /// Finds the parts that end in the stretch which starts here; stretches come one after the other.
    // Not inlined, so that its loops have the registers for themselves.
    #[inline(never)]
    pub(crate) fn find(
        &mut self,
        text: &BlankForm,
        stretch: usize,
        cuts: &Cuts,
        blank_runs: &BlankRuns,
        cache: &PartCache,
    ) {
        let mut n_parts = 0;
        let mut note = |part: Part| {
            cache.prefetch(part.line as usize);
            self.parts[n_parts] = part;
            n_parts += 1;
        };
        let mut start = if stretch == 0 { 0 } else { self.start };
        for block in (stretch..text.len().min(stretch + STRETCH)).step_by(BLOCK) {
            let mut ends = cuts.mask(text.bytes(block));
            if let rest @ ..=BLOCK = text.len() - block {
                let last = 1 << (rest - 1);
                ends = ends & (last - 1) | last;
            }
            while ends != 0 {
                let end = block + ends.trailing_zeros() as usize + 1;
                let head = u128::from_le_bytes(*text.bytes(start));
                if head as u16 == TWO_BLANKS
                    && let n_run @ 1.. = blank_runs.cut_off(text, start, end)
                {
                    note(Part::with_head(head, start, n_run, 0));
                    note(Part::new(text, start + n_run, end - start - n_run, n_run));
                } else {
                    note(Part::with_head(head, start, end - start, 0));
                }
                start = end;
                ends &= ends - 1;
            }
        }
        (self.start, self.n_parts) = (start, n_parts);
    }
}
