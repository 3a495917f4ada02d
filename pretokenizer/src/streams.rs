//! The two global random streams of the reference.
//!
//! Draws from them are part of the output: they go in the order of the datamix while the datasets are loaded, and in that of
//! the documents while these are written.

use shards::rng::{NumpyRandom, PythonRandom};

/// The streams that all datasets share.
#[derive(Debug, Clone)]
pub struct Streams {
    /// `random` of Python.
    pub python: PythonRandom,
    /// `numpy.random`.
    pub numpy: NumpyRandom,
}

impl Streams {
    /// Both streams, from `rng_seed`.
    #[must_use]
    pub fn new(seed: u32) -> Self {
        Self { python: PythonRandom::new(i64::from(seed)), numpy: NumpyRandom::new(seed) }
    }

    /// `random.choice(items)`.
    pub fn choice<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.python.below(items.len())]
    }
}
