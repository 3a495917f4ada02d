//! Indentation: a part that starts with several blanks is cut once more, before the last of them.
//!
//! A run of k blanks and a word w make a part of their own for every k, and such parts would crowd the cache. Mostly
//! the ids are those of k-1 blanks, then those of one blank and w.
//!
//! # Claim
//! Call R the highest score of a piece of two or more blanks. Let
//! 1. every piece that has a blank be all blanks, or have only its first character blank;
//! 2. no piece score higher than a piece of several characters that it is made from;
//! 3. the first id of " w" alone be a piece of more than the blank, with a score above R.
//!
//! Then k blanks and w encode as k-1 blanks, then " w".
//!
//! # Proof
//! By 2, scores only fall from a merge to those that build on it, so all merges above R happen first. Those take only the
//! last blank of the run: by 1 a piece that has an earlier one is several blanks, at most R. So above R, the
//! first k-1 blanks stay as they are and " w" goes through what it goes through alone. By 3 and 2 its first symbol is
//! then already the final one and reaches beyond the blank. From there on a merge between the run and that symbol
//! would make a piece with blanks in two places or with an inner blank: by 1 there is none. So the two sides go on
//! separately, as in [`crate::cuts`]. ∎

use crate::blank_form::BlankForm;
use crate::learn::Learnt;
use crate::rules::Symbol;

/// Which first symbols of " w" satisfy the third premise.
#[derive(Debug)]
pub(crate) struct BlankRuns {
    /// By symbol; empty if the first two premises do not hold.
    leaves_run_alone: Vec<bool>,
}

impl BlankRuns {
    /// Checks the first premise on a model's pieces; the second is `scores_fall`.
    pub(crate) fn new(pieces: &[Learnt], scores_fall: bool, n_symbols: usize) -> Self {
        let is_run = |text: &str| text.bytes().all(|byte| byte == b' ');
        let blanks_lead = pieces
            .iter()
            .all(|it| is_run(&it.text) || !it.text.bytes().skip(1).any(|byte| byte == b' '));
        if !blanks_lead || !scores_fall {
            return Self { leaves_run_alone: Vec::new() };
        }
        let runs = pieces.iter().filter(|it| it.text.len() > 1 && is_run(&it.text));
        let highest = runs.map(|it| it.score).fold(f32::NEG_INFINITY, f32::max);
        let mut leaves_run_alone = vec![false; n_symbols];
        for piece in pieces.iter().filter(|it| !is_run(&it.text) && it.text.starts_with(' ')) {
            leaves_run_alone[usize::from(piece.symbol)] = piece.score > highest;
        }
        Self { leaves_run_alone }
    }

    /// How many blanks to cut off from a part of the text, for now: whether it was right is known once " w" has its ids.
    #[inline]
    pub(crate) fn cut_off(&self, text: &BlankForm, start: usize, end: usize) -> usize {
        if self.leaves_run_alone.is_empty() {
            return 0;
        }
        let n_blanks = text.part(start, end - start).bytes().position(|byte| byte != b' ');
        n_blanks.map_or(0, |n_blanks| n_blanks.saturating_sub(1))
    }

    /// Whether a run before " w" may be cut off, given the first symbol of " w".
    pub(crate) fn leaves_run_alone(&self, first: Symbol) -> bool {
        self.leaves_run_alone.get(usize::from(first)).is_some_and(|&it| it)
    }
}
