//! Which samples of a dataset make which document.
//!
//! Samples lie in the store in the order in which they were read; documents are told by their numbers, so that sorting,
//! shuffling and joining move four bytes a sample and never a text.

use std::ops::Range;

/// Which samples make which document, by their numbers in the dataset.
#[derive(Debug)]
pub enum Documents {
    /// Document i is sample i.
    Each,
    /// Document i is this sample.
    Listed(Vec<u32>),
    /// Document i has one sample of each of these ranges, drawn when it is written.
    Drawn(Vec<[Range<u32>; 2]>),
    /// Documents of several samples, or of none.
    Joined(Joined),
}

/// Documents of several samples each, one after the other. A sample may be in several documents.
#[derive(Debug, Default)]
pub struct Joined {
    samples: Vec<u32>,
    ends: Vec<u32>,
}

impl Joined {
    /// Adds a sample to the last document, which is not ended yet.
    pub fn push(&mut self, sample: u32) {
        self.samples.push(sample);
    }

    /// Ends a document.
    ///
    /// # Panics
    ///
    /// If there are 2^32 samples or more, which the store refuses.
    pub fn end(&mut self) {
        self.ends.push(u32::try_from(self.samples.len()).expect("fewer samples than 2^32"));
    }

    /// Whether samples were added since the last end.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.ends.last().map_or(0, |end| *end as usize) < self.samples.len()
    }

    /// How many documents there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The samples of a document.
    #[must_use]
    pub fn samples(&self, document: usize) -> &[u32] {
        let start = document.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.samples[start as usize..self.ends[document] as usize]
    }

    /// Only the first documents.
    pub fn truncate(&mut self, n: usize) {
        self.ends.truncate(n);
        self.samples.truncate(self.ends.last().map_or(0, |end| *end as usize));
    }

    /// These documents, in this order.
    #[must_use]
    pub fn in_order(&self, order: impl IntoIterator<Item = usize>) -> Self {
        let mut ordered = Self::default();
        for document in order {
            ordered.samples.extend(self.samples(document));
            ordered.end();
        }
        ordered
    }
}
