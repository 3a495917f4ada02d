//! A model's merges as numbers: what two neighbouring symbols become, and how urgent that is.
//!
//! Texts are in blank form ([`crate::blank_form`]). Symbols are piece ids of 16 bits.

/// A piece's id, or [`UNKNOWN`].
pub(crate) type Symbol = u16;

/// A character that is no piece. It is part of no merge.
pub(crate) const UNKNOWN: Symbol = Symbol::MAX;

/// What a pair of neighbours becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Merge {
    /// The place of the score among the model's scores, highest first; equal scores have one rank.
    pub(crate) rank: u16,
    /// The piece.
    pub(crate) symbol: Symbol,
}

/// The merges of a model, found by the two symbols; and the symbols of its characters.
#[derive(Debug)]
pub(crate) struct Rules {
    pairs: Vec<u64>,
    characters: Characters,
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

    fn symbol(&self, character: char) -> Symbol {
        let (page, place) = Self::split(character);
        match self.pages.get(page) {
            Some(&Some(start)) => self.symbols[start as usize + place],
            _ => UNKNOWN,
        }
    }

    fn split(character: char) -> (usize, usize) {
        let code = character as usize;
        (code >> 8, code & 0xFF)
    }
}

/// No pair: the symbols of every pair are pieces.
const EMPTY: u64 = u64::MAX;

impl Rules {
    /// No merges yet, and room for `n_merges`.
    pub(crate) fn new(characters: Characters, n_merges: usize) -> Self {
        Self { pairs: vec![EMPTY; (2 * n_merges + 1).next_power_of_two()], characters }
    }

    /// The symbol of a character.
    pub(crate) fn character(&self, character: char) -> Symbol {
        self.characters.symbol(character)
    }

    /// Adds the merge of a pair that has none yet.
    pub(crate) fn insert(&mut self, left: Symbol, right: Symbol, merge: Merge) {
        let mut at = self.place(left, right);
        while self.pairs[at] != EMPTY {
            at = (at + 1) & (self.pairs.len() - 1);
        }
        let [left, right] = [left, right].map(u64::from);
        self.pairs[at] =
            left << 48 | right << 32 | u64::from(merge.rank) << 16 | u64::from(merge.symbol);
    }

    /// What the pair becomes, if anything.
    #[inline]
    pub(crate) fn merge(&self, left: Symbol, right: Symbol) -> Option<Merge> {
        let wanted = u64::from(left) << 16 | u64::from(right);
        let mut at = self.place(left, right);
        loop {
            let found = self.pairs[at];
            if found >> 32 == wanted {
                let [symbol, rank] = [found, found >> 16].map(|it| (it & 0xFFFF) as u16);
                return (found != EMPTY).then_some(Merge { rank, symbol });
            }
            if found == EMPTY {
                return None;
            }
            at = (at + 1) & (self.pairs.len() - 1);
        }
    }

    #[inline]
    fn place(&self, left: Symbol, right: Symbol) -> usize {
        // Fibonacci hashing: the high bits of a product with 2^64 / golden ratio.
        let hash = (u64::from(left) << 16 | u64::from(right)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (hash >> 40) as usize & (self.pairs.len() - 1)
    }
}
