//! Merging a short text: what the first round ([`crate::first_round`]) leaves to merge lies in one small array, and the most
//! urgent is found by looking at each.
//!
//! For the eight or so symbols of a usual part this beats any queue: finding the minimum of a few numbers that lie side
//! by side takes fewer cycles than one step in a heap. The work grows with the square of the length, so long texts
//! come in windows ([`crate::seams`]).
//!
//! A symbol before the first one and one behind the last, which merge with nothing, spare all questions about the ends; and
//! as nodes are numbered with a byte, no number can be out of the arrays.

#![expect(clippy::cast_possible_truncation, reason = "a text has at most `MAX_BYTES` bytes")]

use crate::first_round::FirstRound;
use crate::rules::{NOT_URGENT, Rules, Symbol, UNKNOWN};

/// The symbols of a text, before, while and after they are merged.
#[derive(Debug)]
pub(crate) struct Scan {
    /// From 1 on; the one before and the one behind them are borders.
    nodes: Box<[Node; 256]>,
    /// Of each node and its successor: how urgent it is that they merge. The number's last byte is the node. Before and behind
    /// a text, and between one text and the next, nothing is urgent.
    urgency: Box<[f32; 256]>,
    n_nodes: usize,
    first_round: FirstRound,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    symbol: Symbol,
    /// What this node and its successor become, while `urgency` says that they can merge.
    merged: Symbol,
    previous: u8,
    next: u8,
    /// Where the symbol's text starts.
    start: u8,
}

const BORDER: Node = Node { symbol: UNKNOWN, merged: UNKNOWN, previous: 0, next: 1, start: 0 };

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

/// How many urgencies are compared at a time.
const LANES: usize = 8;

impl Scan {
    pub(crate) fn new() -> Self {
        Self {
            nodes: Box::new([BORDER; 256]),
            urgency: Box::new([NOT_URGENT; 256]),
            n_nodes: 0,
            first_round: FirstRound::new(),
        }
    }

    /// Merges all that can be merged in a text of at most [`MAX_BYTES`].
    pub(crate) fn merge(&mut self, rules: &Rules, text: &str) {
        self.read(rules, text);
        while let most_urgent = minimum(&self.urgency[..self.end()])
            && most_urgent < NOT_URGENT
        {
            let [left, ..] = most_urgent.to_bits().to_le_bytes();
            self.merge_at(left, rules);
        }
    }

    /// Behind what is urgent.
    fn end(&self) -> usize {
        (self.n_nodes + 1).next_multiple_of(LANES)
    }

    /// The symbols, in order.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = Token> {
        let mut at = self.nodes[0].next;
        std::iter::from_fn(move || {
            let node = self.nodes[usize::from(at)];
            let is_there = usize::from(at) <= self.n_nodes;
            at = node.next;
            is_there.then_some(Token { symbol: node.symbol, start: u32::from(node.start) })
        })
    }

    #[inline]
    fn read(&mut self, rules: &Rules, text: &str) {
        let mut at = 0_u8;
        for (symbol, start) in self.first_round.merge(rules, text) {
            at += 1;
            self.nodes[usize::from(at)] =
                Node { symbol, merged: UNKNOWN, previous: at - 1, next: at + 1, start };
        }
        self.n_nodes = usize::from(at);
        self.nodes[0].next = 1;
        self.nodes[self.n_nodes + 1] = Node { previous: at, ..BORDER };
        for left in 1..=at {
            self.consider(left, left + 1, rules);
        }
    }

    /// Notes whether a node and its successor can merge.
    #[inline(always)]
    fn consider(&mut self, left: u8, right: u8, rules: &Rules) {
        let (at, right) = (usize::from(left), usize::from(right));
        let merge = rules.merge(self.nodes[at].symbol, self.nodes[right].symbol);
        self.nodes[at].merged = merge.piece();
        self.urgency[at] = merge.urgency_at(left);
    }

    #[inline(always)]
    fn merge_at(&mut self, left: u8, rules: &Rules) {
        let at = usize::from(left);
        let Node { merged, previous, next: right, .. } = self.nodes[at];
        let next = self.nodes[usize::from(right)].next;
        self.nodes[at].symbol = merged;
        self.nodes[at].next = next;
        self.nodes[usize::from(next)].previous = left;
        self.urgency[usize::from(right)] = NOT_URGENT;
        self.consider(left, next, rules);
        self.consider(previous, left, rules);
    }
}

/// The least number; the lanes let the compiler compare several at a time.
#[inline(always)]
fn minimum(numbers: &[f32]) -> f32 {
    let mut least = [NOT_URGENT; LANES];
    for lanes in numbers.chunks_exact(LANES) {
        for (least, &number) in least.iter_mut().zip(lanes) {
            *least = lesser(number, *least);
        }
    }
    least.into_iter().fold(NOT_URGENT, lesser)
}

/// [`f32::min`] without its care for what is no number: one instruction.
#[inline(always)]
fn lesser(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}
