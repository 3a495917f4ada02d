//! The merges of two characters that are sure to come: made at once, before any are looked for one by one.
//!
//! # Claim
//! Let x and y be neighbouring characters that become a piece of rank u, and let every merge across the places left of x and
//! right of y rank behind u. Then x and y are merged, and it changes nothing to merge them first.
//!
//! # Proof
//! As long as x and y are apart, their merge can be made, so none that ranks behind u is; and x or y can be merged with
//! something else only across one of the two places. So they are merged with each other. If they are merged first, what becomes
//! possible by it is a merge across one of the places as well, so it ranks behind u: until the moment when x and
//! y would have been merged, it is never the most urgent, and the others are chosen as before. ∎ (Nothing is asked of the scores.)
//!
//! Of pairs that share a character only one can be sure, since each would have to rank before the other. A place is known by
//! the two bytes that meet there ([`Rules::soonest`]). In Llama's vocabulary half of all merges are sure, and they are the cheap
//! ones: no merge waits for one before.

#![expect(clippy::cast_possible_truncation, reason = "a text has at most `MAX_BYTES` bytes")]

use std::hint::select_unpredictable;

use crate::rules::{Merge, NEVER, Rank, Rules, Symbol, UNKNOWN};

/// The longest text, in bytes.
pub(crate) const MAX_BYTES: usize = 254;

/// The symbols of a text. Each array has one more place at its end than there can be symbols, and a place's number is a byte.
#[derive(Debug)]
pub(crate) struct FirstRound {
    symbols: Box<[Symbol; 256]>,
    /// Where each symbol's text starts.
    starts: Box<[u8; 256]>,
    /// What each symbol and the one before become.
    merges: Box<[Merge; 256]>,
    /// How soon something can happen between each symbol and the one before.
    soonest: Box<[Rank; 256]>,
}

impl FirstRound {
    pub(crate) fn new() -> Self {
        Self {
            symbols: Box::new([UNKNOWN; 256]),
            starts: Box::new([0; 256]),
            merges: Box::new([Merge::NONE; 256]),
            soonest: Box::new([NEVER; 256]),
        }
    }

    /// The symbols of a text of at most [`MAX_BYTES`] after all merges of two characters that are sure, and where they start.
    #[inline]
    pub(crate) fn merge(
        &mut self,
        rules: &Rules,
        text: &str,
    ) -> impl Iterator<Item = (Symbol, u8)> {
        let n = self.read(rules, text);
        let n = self.merge_sure(n);
        self.symbols[..n].iter().copied().zip(self.starts[..n].iter().copied())
    }

    /// Finds the symbols of the characters, and what is known of each two neighbours; says how many there are.
    #[inline(always)]
    fn read(&mut self, rules: &Rules, text: &str) -> usize {
        assert!(text.len() <= MAX_BYTES, "long texts come in windows");
        let mut n = 0_u8;
        for (start, character) in text.char_indices() {
            let at = usize::from(n);
            let symbol = rules.character(character);
            self.symbols[at] = symbol;
            self.starts[at] = start as u8;
            n += 1;
        }
        let n = usize::from(n);
        let bytes = text.as_bytes();
        for at in 1..n {
            let start = usize::from(self.starts[at]);
            let [left, right] = [bytes[start - 1], bytes[start]];
            self.merges[at] = if left < 128 && right < 128 {
                rules.ascii_merge(left, right)
            } else {
                rules.merge(self.symbols[at - 1], self.symbols[at])
            };
            self.soonest[at] = rules.soonest(left, right);
        }
        self.merges[n] = Merge::NONE;
        self.soonest[n] = NEVER;
        n
    }

    /// Makes the merges that are sure, and says how many symbols are left. Nothing here depends on which they are, so that
    /// a processor need not guess.
    #[inline(always)]
    fn merge_sure(&mut self, n: usize) -> usize {
        let mut to = 0;
        let mut joins_left = false;
        for at in 0..n {
            let merge = self.merges[at + 1];
            let joins_right = merge.rank() < self.soonest[at].min(self.soonest[at + 2]);
            // What joins the symbol before it is written, too, and then written over.
            self.symbols[to] = select_unpredictable(joins_right, merge.piece(), self.symbols[at]);
            self.starts[to] = self.starts[at];
            to += usize::from(!joins_left);
            joins_left = joins_right;
        }
        to
    }
}
