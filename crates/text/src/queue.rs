//! The general path: one queue of merges over a whole text, for every model that [`crate::model`] accepts.
//!
//! This is BPE as SentencePiece defines it, rule by rule. It is what the fast path is compared with, and what
//! encodes when the fast path's premises do not hold (user-defined pieces, say).
//!
//! - A text that is not empty gets a blank in front; blanks become `▁`.
//! - The first symbols are its characters, but the longest user-defined piece at a place is one symbol, never merged.
//! - Of all neighbours whose text together is a piece, the pair of the highest score is merged, of equal ones the
//!   leftmost; until there is none.
//! - A symbol that is an unused piece falls apart into the two symbols that were last seen able to form it.
//! - A character that is no piece becomes its bytes.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap};

use crate::model::{BLANK, Kind, Model};

/// Encodes whole texts, one merge at a time.
#[derive(Debug)]
pub(crate) struct QueueEncoder<'m> {
    model: &'m Model,
    /// User-defined pieces, longest first.
    user_defined: Vec<&'m str>,
}

impl<'m> QueueEncoder<'m> {
    pub(crate) fn new(model: &'m Model) -> Self {
        let user_defined = model.pieces.iter().filter(|it| it.kind == Kind::UserDefined);
        let mut user_defined: Vec<_> = user_defined.map(|it| it.text.as_str()).collect();
        user_defined.sort_by_key(|text| Reverse(text.len()));
        Self { model, user_defined }
    }

    /// Appends the ids of a text.
    pub(crate) fn encode(&self, text: &str, ids: &mut Vec<u32>) {
        if text.is_empty() {
            return;
        }
        let prefix = if self.model.dummy_prefix { BLANK } else { "" };
        self.encode_normalized(&format!("{prefix}{}", text.replace(' ', BLANK)), ids);
    }

    /// Appends the ids of a text that has its blanks already.
    pub(crate) fn encode_normalized(&self, text: &str, ids: &mut Vec<u32>) {
        let mut merging = Merging::new(self.model, text, self.symbols(text));
        merging.run();
        let mut at = 0;
        while at != NONE {
            let symbol = &merging.symbols[at];
            merging.emit(&text[symbol.start..symbol.end], ids);
            at = symbol.next;
        }
    }

    fn symbols(&self, text: &str) -> Vec<Symbol> {
        let mut symbols = Vec::with_capacity(text.len());
        let mut start = 0;
        while let Some(first) = text[start..].chars().next() {
            let user_defined = self.user_defined.iter().find(|it| text[start..].starts_with(**it));
            let end = start + user_defined.map_or(first.len_utf8(), |it| it.len());
            let at = symbols.len();
            let previous = at.checked_sub(1).unwrap_or(NONE);
            let next = if end < text.len() { at + 1 } else { NONE };
            symbols.push(Symbol { start, end, previous, next, frozen: user_defined.is_some() });
            start = end;
        }
        symbols
    }
}

/// Stands for "no neighbour".
const NONE: usize = usize::MAX;

/// A stretch of the text, linked to its neighbours. An empty one has been merged into another.
#[derive(Debug)]
struct Symbol {
    start: usize,
    end: usize,
    previous: usize,
    next: usize,
    frozen: bool,
}

/// A merge that is possible while its two symbols have the size they had when it was seen.
#[derive(Debug, PartialEq)]
struct Merge {
    score: f32,
    left: usize,
    right: usize,
    size: usize,
}

impl Eq for Merge {}

impl Ord for Merge {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Merge {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The merging of one text.
struct Merging<'m, 't> {
    model: &'m Model,
    text: &'t str,
    symbols: Vec<Symbol>,
    queue: BinaryHeap<Merge>,
    /// Where each unused piece that was seen divides.
    halves: HashMap<&'t str, usize>,
}

impl<'m, 't> Merging<'m, 't> {
    fn new(model: &'m Model, text: &'t str, symbols: Vec<Symbol>) -> Self {
        Self { model, text, symbols, queue: BinaryHeap::new(), halves: HashMap::new() }
    }

    fn run(&mut self) {
        for right in 1..self.symbols.len() {
            self.consider(right - 1, right);
        }
        while let Some(Merge { left, right, size, .. }) = self.queue.pop() {
            let (from, to) = (self.size(left), self.size(right));
            if from == 0 || to == 0 || from + to != size {
                continue;
            }
            let next = self.symbols[right].next;
            self.symbols[left].end = self.symbols[right].end;
            self.symbols[left].next = next;
            self.symbols[right].end = self.symbols[right].start;
            if next != NONE {
                self.symbols[next].previous = left;
            }
            self.consider(self.symbols[left].previous, left);
            self.consider(left, next);
        }
    }

    fn size(&self, symbol: usize) -> usize {
        self.symbols[symbol].end - self.symbols[symbol].start
    }

    /// Queues the merge of two neighbours if there is one.
    fn consider(&mut self, left: usize, right: usize) {
        if left == NONE || right == NONE || self.symbols[left].frozen || self.symbols[right].frozen
        {
            return;
        }
        let (start, end) = (self.symbols[left].start, self.symbols[right].end);
        let text = &self.text[start..end];
        let Some(&id) = self.model.ids.get(text) else { return };
        let piece = &self.model.pieces[id as usize];
        match piece.kind {
            Kind::Normal | Kind::UserDefined => {}
            Kind::Unused => {
                self.halves.insert(text, self.size(left));
            }
            Kind::Unknown | Kind::Control | Kind::Byte => return,
        }
        self.queue.push(Merge { score: piece.score, left, right, size: end - start });
    }

    fn emit(&self, text: &str, ids: &mut Vec<u32>) {
        let id = self.model.ids.get(text).copied().unwrap_or(self.model.unknown);
        if id == self.model.unknown {
            ids.extend(text.bytes().map(|byte| self.model.byte_ids[usize::from(byte)]));
        } else if let (Kind::Unused, Some(&half)) =
            (self.model.pieces[id as usize].kind, self.halves.get(text))
        {
            self.emit(&text[..half], ids);
            self.emit(&text[half..], ids);
        } else {
            ids.push(id);
        }
    }
}
