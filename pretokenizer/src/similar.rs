//! Signatures of the documents so far -> whether the next one is like one of them.
//!
//! Documents are compared whose signatures are the same in one of the bands, so that nearly all pairs that are not alike are
//! never looked at. What is compared is the whole signature.
//!
//! Every document takes about 20 bytes a band here, and its signature where [`Signatures`] keep it.

use std::collections::{HashMap, HashSet};

use crate::config::near_duplicates::NearDuplicates;
use crate::minhash::{self, NOTHING, high, mixed};
use crate::mix::Divided;
use crate::signatures::Signatures;

/// The documents so far.
#[derive(Debug)]
pub struct Similar<'a> {
    by: NearDuplicates,
    signatures: &'a Signatures,
    datasets: &'a [Divided],
    /// The dataset of each document, and its number there.
    documents: Vec<(u32, u32)>,
    bands: Vec<Band>,
    /// Of the document that is compared.
    other: Vec<u32>,
}

/// No document: there are fewer.
const NONE: u32 = u32::MAX;

/// Documents by what stands in one band.
#[derive(Debug, Default)]
struct Band {
    /// The last one with this hash.
    last: HashMap<u32, u32>,
    /// The one before each document with the same hash.
    before: Vec<u32>,
}

impl<'a> Similar<'a> {
    /// No documents yet.
    #[must_use]
    pub fn new(by: NearDuplicates, signatures: &'a Signatures, datasets: &'a [Divided]) -> Self {
        let bands = (0..by.bands).map(|_| Band::default()).collect();
        Self { by, signatures, datasets, documents: Vec::new(), bands, other: Vec::new() }
    }

    /// The signature of a document, in place of what is in the vector.
    pub fn signature(
        &self,
        dataset: usize,
        document: u32,
        signature: &mut Vec<u32>,
    ) -> anyhow::Result<()> {
        self.signatures.of(self.datasets[dataset].loaded.pieces_for(document), signature)
    }

    /// Whether one of the documents so far is like the one with this signature.
    pub fn has(&mut self, signature: &[u32]) -> anyhow::Result<bool> {
        let mut other = std::mem::take(&mut self.other);
        let mut compared = HashSet::new();
        for (band, hash) in self.bands.iter().zip(hashes(signature, self.by.rows)) {
            let mut next = band.last.get(&hash).copied().unwrap_or(NONE);
            while next != NONE {
                let candidate = next;
                next = band.before[candidate as usize];
                if !compared.insert(candidate) {
                    continue;
                }
                let (dataset, document) = self.documents[candidate as usize];
                self.signature(dataset as usize, document, &mut other)?;
                if minhash::similarity(signature, &other) >= self.by.threshold {
                    self.other = other;
                    return Ok(true);
                }
            }
        }
        self.other = other;
        Ok(false)
    }

    /// Adds a document with its signature; one without a word is like none, and not kept.
    pub fn add(&mut self, dataset: usize, document: u32, signature: &[u32]) {
        if signature.iter().all(|least| *least == NOTHING) {
            return;
        }
        let number = |n: usize| u32::try_from(n).expect("the store refuses more rows than 2^32");
        let this = number(self.documents.len());
        self.documents.push((number(dataset), document));
        for (band, hash) in self.bands.iter_mut().zip(hashes(signature, self.by.rows)) {
            band.before.push(band.last.insert(hash, this).unwrap_or(NONE));
        }
    }
}

/// A hash of each band. Two bands with the same hash are not always the same, which costs one comparison.
fn hashes(signature: &[u32], rows: usize) -> impl Iterator<Item = u32> {
    let hash =
        |band: &[u32]| high(band.iter().fold(0, |hash, number| mixed(hash ^ u64::from(*number))));
    signature.chunks_exact(rows).map(hash)
}
