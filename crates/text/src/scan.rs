//! Merging a short text: all possible merges lie in one small array, and the most urgent is found by looking at each.
//!
//! For the eight or so symbols of a usual part this beats any queue: finding the minimum of a few numbers that lie side
//! by side takes fewer cycles than one step in a heap. The work grows with the square of the length, so long texts
//! come in windows ([`crate::seams`]).

#![expect(
    clippy::cast_possible_truncation,
    reason = "nodes are numbered below 2^15, and `PartEncoder` takes no text of 4 GiB"
)]

use crate::rules::{Rules, Symbol, UNKNOWN};

/// The longest text, in characters.
pub(crate) const MAX_SYMBOLS: usize = 1 << 15;

/// The symbols of a text, before, while and after they are merged.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    nodes: Vec<Node>,
    /// Of each node and its successor, while they can merge: rank and place, so that the least number is the most
    /// urgent merge, the leftmost of equals. Filled up with [`NO_MERGE`] to a whole number of [`LANES`].
    urgency: Vec<u32>,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    symbol: Symbol,
    /// What this node and its successor become, while `urgency` says that they can merge.
    merged: Symbol,
    previous: u16,
    next: u16,
    /// Where the symbol's text starts.
    start: u32,
}

/// A symbol of the result, and where its text starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) symbol: Symbol,
    pub(crate) start: u32,
}

impl Token {
    /// The token in a text that has so many more bytes in front.
    pub(crate) fn behind(self, n_bytes: usize) -> Self {
        Self { start: self.start + n_bytes as u32, ..self }
    }
}

const NO_MERGE: u32 = u32::MAX;
const NO_NODE: u16 = u16::MAX;
/// How many urgencies are compared at a time.
const LANES: usize = 8;

impl Scan {
    /// Merges all that can be merged in a text of at most [`MAX_SYMBOLS`] characters.
    pub(crate) fn merge(&mut self, rules: &Rules, text: &str) {
        self.read(rules, text);
        loop {
            let most_urgent = minimum(&self.urgency);
            if most_urgent == NO_MERGE {
                break;
            }
            self.merge_at((most_urgent & 0xFFFF) as u16, rules);
        }
    }

    /// The symbols, in order.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = Token> {
        let first = self.nodes.first();
        std::iter::successors(first, |node| self.nodes.get(usize::from(node.next)))
            .map(|&Node { symbol, start, .. }| Token { symbol, start })
    }

    fn read(&mut self, rules: &Rules, text: &str) {
        self.nodes.clear();
        for (start, character) in text.char_indices() {
            let at = self.nodes.len() as u16;
            self.nodes.push(Node {
                symbol: rules.character(character),
                merged: UNKNOWN,
                previous: at.wrapping_sub(1),
                next: at + 1,
                start: start as u32,
            });
        }
        if let Some(last) = self.nodes.last_mut() {
            last.next = NO_NODE;
        }
        self.urgency.clear();
        self.urgency.resize(self.nodes.len().next_multiple_of(LANES), NO_MERGE);
        for right in 1..self.nodes.len() as u16 {
            self.consider(right - 1, right, rules);
        }
    }

    /// Notes whether a node and its successor can merge.
    #[inline]
    fn consider(&mut self, left: u16, right: u16, rules: &Rules) {
        let (at, right) = (usize::from(left), usize::from(right));
        self.urgency[at] = match rules.merge(self.nodes[at].symbol, self.nodes[right].symbol) {
            Some(merge) => {
                self.nodes[at].merged = merge.symbol;
                u32::from(merge.rank) << 16 | u32::from(left)
            }
            None => NO_MERGE,
        };
    }

    #[inline]
    fn merge_at(&mut self, left: u16, rules: &Rules) {
        let at = usize::from(left);
        let Node { merged, previous, next: right, .. } = self.nodes[at];
        let next = self.nodes[usize::from(right)].next;
        self.nodes[at].symbol = merged;
        self.nodes[at].next = next;
        self.urgency[usize::from(right)] = NO_MERGE;
        if next == NO_NODE {
            self.urgency[at] = NO_MERGE;
        } else {
            self.nodes[usize::from(next)].previous = left;
            self.consider(left, next, rules);
        }
        if previous != NO_NODE {
            self.consider(previous, left, rules);
        }
    }
}

/// The least number; the lanes let the compiler compare eight at a time.
#[inline(always)]
fn minimum(numbers: &[u32]) -> u32 {
    let mut least = [NO_MERGE; LANES];
    for lanes in numbers.chunks_exact(LANES) {
        for (least, &number) in least.iter_mut().zip(lanes) {
            *least = number.min(*least);
        }
    }
    least.into_iter().fold(NO_MERGE, u32::min)
}
