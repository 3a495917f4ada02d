//! A model's merges as numbers: what two neighbouring symbols become, how urgent that is, and how soon anything can happen
//! between two bytes.
//!
//! Texts are in blank form ([`crate::blank_form`]). Symbols are piece ids of 16 bits.
//!
//! The pairs lie in a cuckoo table: each has two places, and is in one of them. So a look-up is two reads that do not wait for
//! each other, without a loop and without a branch. Those of two ASCII characters lie in a small table besides.

#![expect(clippy::cast_possible_truncation, reason = "halves of numbers are cut out")]

use std::hint::select_unpredictable;

/// A piece's id, or [`UNKNOWN`].
pub(crate) type Symbol = u16;

/// A character that is no piece. It is part of no merge.
pub(crate) const UNKNOWN: Symbol = Symbol::MAX;

/// The place of a score among the model's scores, highest first: the less, the more urgent. Equal scores have one rank.
pub(crate) type Rank = u16;

/// Behind all ranks.
pub(crate) const NEVER: Rank = Rank::MAX;

/// What a pair of neighbours becomes, if anything: how urgent that is, in the high half, and the piece, in the low one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Merge(u32);

impl Merge {
    /// The two stay apart.
    pub(crate) const NONE: Self = Self(u32::MAX);

    /// Into this piece. There are fewer ranks than [`NEVER`].
    pub(crate) fn new(rank: Rank, piece: Symbol) -> Self {
        Self(u32::from(rank) << 16 | u32::from(piece))
    }

    /// The piece's rank; [`NEVER`] if the two stay apart.
    #[inline(always)]
    pub(crate) fn rank(self) -> Rank {
        (self.0 >> 16) as Rank
    }

    /// The piece.
    #[inline(always)]
    pub(crate) fn piece(self) -> Symbol {
        (self.0 & 0xFFFF) as Symbol
    }

    /// A number that is the less the more urgent the merge is, and among equals the less the place is; the place is its
    /// last byte. It is a float, since every processor can tell the least of several such numbers at a time; the
    /// exponent keeps it among the normal ones, which are ordered like their bits.
    #[inline(always)]
    pub(crate) fn urgency_at(self, place: u8) -> f32 {
        f32::from_bits(SMALLEST_NORMAL + (u32::from(self.rank()) << 8 | u32::from(place)))
    }
}

/// The bits of the smallest normal number.
const SMALLEST_NORMAL: u32 = f32::MIN_POSITIVE.to_bits();

/// [`Merge::urgency_at`] is no less than this for [`Merge::NONE`], and less for all others.
pub(crate) const NOT_URGENT: f32 = f32::from_bits(SMALLEST_NORMAL + ((NEVER as u32) << 8));

/// The merges of a model, found by the two symbols; and the symbols of its characters.
#[derive(Debug)]
pub(crate) struct Rules {
    pairs: Vec<u64>,
    characters: Characters,
    /// Of two ASCII characters, by both.
    ascii: Box<[Merge; 1 << 14]>,
    /// By the last byte of the left symbol and the first one of the right.
    soonest: Box<[Rank; 1 << 16]>,
}

/// The symbols of characters: 256 at a time, for the code points that occur.
#[derive(Debug, Default)]
pub(crate) struct Characters {
    /// Where the page of each 256 code points starts in `symbols`.
    pages: Vec<Option<u32>>,
    symbols: Vec<Symbol>,
}

impl Characters {
    pub(crate) fn insert(&mut self, character: char, symbol: Symbol) {
        let (page, place) = Self::split(character);
        if self.pages.len() <= page {
            self.pages.resize(page + 1, None);
        }
        let n_symbols = self.symbols.len();
        let start =
            *self.pages[page].get_or_insert(u32::try_from(n_symbols).expect("code points are few"));
        self.symbols.resize(n_symbols.max(start as usize + 256), UNKNOWN);
        self.symbols[start as usize + place] = symbol;
    }

    #[inline]
    fn symbol(&self, character: char) -> Symbol {
        let (page, place) = Self::split(character);
        match self.pages.get(page) {
            Some(&Some(start)) => self.symbols[start as usize + place],
            _ => UNKNOWN,
        }
    }

    #[inline]
    fn split(character: char) -> (usize, usize) {
        let code = character as usize;
        (code >> 8, code & 0xFF)
    }
}

/// No pair: its symbols are no pieces, and it becomes nothing.
const EMPTY: u64 = (u32::MAX as u64) << 32 | Merge::NONE.0 as u64;

impl Rules {
    /// No merges yet, and room for `n_merges`.
    pub(crate) fn new(characters: Characters, n_merges: usize) -> Self {
        Self {
            pairs: vec![EMPTY; (2 * n_merges + 1).next_power_of_two()],
            characters,
            ascii: Box::new([Merge::NONE; 1 << 14]),
            soonest: Box::new([0; 1 << 16]),
        }
    }

    /// The symbol of a character.
    #[inline]
    pub(crate) fn character(&self, character: char) -> Symbol {
        self.characters.symbol(character)
    }

    /// Adds the merge of two ASCII characters.
    pub(crate) fn insert_ascii(&mut self, left: u8, right: u8, merge: Merge) {
        self.ascii[usize::from(left) << 7 | usize::from(right)] = merge;
    }

    /// Adds the merge of a pair that has none yet.
    pub(crate) fn insert(&mut self, left: Symbol, right: Symbol, merge: Merge) {
        let mut homeless = u64::from(pair(left, right)) << 32 | u64::from(merge.0);
        let mut at = self.places(pair(left, right))[0];
        // A newcomer takes its place; who lived there goes to the other place that is his, and so on.
        for _ in 0..MOST_MOVES {
            std::mem::swap(&mut self.pairs[at], &mut homeless);
            if homeless == EMPTY {
                return;
            }
            let [first, second] = self.places((homeless >> 32) as u32);
            at = if at == first { second } else { first };
        }
        let room = vec![EMPTY; 2 * self.pairs.len()];
        for pair in std::mem::replace(&mut self.pairs, room).into_iter().chain([homeless]) {
            if pair != EMPTY {
                self.insert((pair >> 48) as u16, (pair >> 32) as u16, Merge(pair as u32));
            }
        }
    }

    /// What the pair becomes. Nothing here depends on what is found, so that a processor need not guess.
    #[inline(always)]
    pub(crate) fn merge(&self, left: Symbol, right: Symbol) -> Merge {
        let wanted = pair(left, right);
        let [first, second] = self.places(wanted).map(|at| self.pairs[at]);
        let lives_in = |found: u64| (found >> 32) as u32 == wanted;
        let found = select_unpredictable(lives_in(first), first, second);
        Merge(select_unpredictable(lives_in(found), found as u32, Merge::NONE.0))
    }

    /// What two ASCII characters become.
    #[inline(always)]
    pub(crate) fn ascii_merge(&self, left: u8, right: u8) -> Merge {
        self.ascii[usize::from(left & 0x7F) << 7 | usize::from(right & 0x7F)]
    }

    /// No merge of a symbol that ends in the one byte with one that starts with the other ranks before. Unless
    /// [`Self::set_soonest`] has been called, any may.
    #[inline(always)]
    pub(crate) fn soonest(&self, left: u8, right: u8) -> Rank {
        self.soonest[usize::from(u16::from_le_bytes([left, right]))]
    }

    /// Notes the rank of each merge, with the bytes that meet in it.
    pub(crate) fn set_soonest(&mut self, merges: impl Iterator<Item = ([u8; 2], Rank)>) {
        self.soonest.fill(NEVER);
        for (meeting, rank) in merges {
            let soonest = &mut self.soonest[usize::from(u16::from_le_bytes(meeting))];
            *soonest = rank.min(*soonest);
        }
    }

    /// The two places where a pair may live.
    #[inline(always)]
    fn places(&self, pair: u32) -> [usize; 2] {
        // Fibonacci hashing: the high bits of a product with 2^64 / golden ratio.
        let hash = u64::from(pair).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        [hash >> 44, hash >> 28].map(|it| it as usize & (self.pairs.len() - 1))
    }
}

/// After so many moves without an end, the table is too small.
const MOST_MOVES: usize = 500;

#[inline(always)]
fn pair(left: Symbol, right: Symbol) -> u32 {
    u32::from(left) << 16 | u32::from(right)
}
