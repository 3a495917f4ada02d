//! What a step did, and how long its parts took.

use std::time::Duration;

use crate::batch::Counts;

/// What a step did.
#[derive(Clone, Debug)]
pub struct Step {
    /// Mean cross-entropy before the update.
    pub loss: f64,
    /// The learning rate of the update.
    pub lr: f64,
    /// The gradient's norm before clipping.
    pub grad_norm: f64,
    /// Whether no update was made, because loss or gradient were not finite or nothing was to be learned.
    pub skipped: bool,
    /// Whether loss or gradient were not finite.
    pub not_finite: bool,
    /// What went into it.
    pub counts: Counts,
    /// The first documents of the batch.
    pub first_documents: Vec<usize>,
    /// What the mathematics of it takes, in floating-point operations.
    pub flops: f64,
    /// How long it took.
    pub seconds: Seconds,
}

/// How long the parts of a step took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seconds {
    /// Waiting for the thread that makes micro-batches.
    pub data: Duration,
    /// The passes forward and backward.
    pub passes: Duration,
    /// The gradient's norm, clipping, and the update.
    pub update: Duration,
}

impl Seconds {
    /// All of it.
    pub fn total(&self) -> Duration {
        self.data + self.passes + self.update
    }
}
