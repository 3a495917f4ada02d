//! Where a run stands: what a checkpoint holds besides tensors.

use serde::{Deserialize, Serialize};

use crate::batch::Counts;

/// Where a run stands after a number of steps. With the configuration it decides everything that comes next: the
/// order of the documents and the learning rate are functions of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TrainState {
    /// Steps made, skipped ones included: each has used up a global batch of documents.
    pub step: u64,
    /// Steps without an update, because the gradient was not finite or nothing was learned. The schedule and the
    /// optimizer do not count them.
    pub skipped: u64,
    /// Tokens read.
    pub tokens: u64,
    /// Tokens learned.
    pub supervised: u64,
}

impl TrainState {
    /// Updates made so far.
    pub fn updates(&self) -> u64 {
        self.step - self.skipped
    }

    /// A step was made with these documents.
    pub fn count(&mut self, counts: &Counts, skipped: bool) {
        self.step += 1;
        self.skipped += u64::from(skipped);
        self.tokens += counts.tokens;
        self.supervised += counts.supervised;
    }
}
