//! How long documents are: lengths, in tokens -> what is said of them.
//!
//! Of a corpus of any size there are few different lengths: how often each occurs is all that is kept, so that what is said
//! is exact, and what was counted in parts adds up to it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shards::manifest::{Bin, LengthSummary};

/// Lengths of documents, in tokens, and how often each occurs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lengths(BTreeMap<u32, u64>);

impl FromIterator<u32> for Lengths {
    fn from_iter<I: IntoIterator<Item = u32>>(lengths: I) -> Self {
        let mut all = Self::default();
        lengths.into_iter().for_each(|length| all.add(length));
        all
    }
}

impl Lengths {
    /// Adds a document's.
    pub fn add(&mut self, length: u32) {
        *self.0.entry(length).or_default() += 1;
    }

    /// Adds others.
    pub fn append(&mut self, other: &Self) {
        for (length, n) in &other.0 {
            *self.0.entry(*length).or_default() += n;
        }
    }

    /// What is said of them; `None` if there are none. Shares are by nearest rank: each is a length that occurs.
    #[must_use]
    pub fn summary(&self) -> Option<LengthSummary> {
        let (min, max) = (*self.0.first_key_value()?.0, *self.0.last_key_value()?.0);
        let total: u64 = self.0.iter().map(|(length, n)| u64::from(*length) * n).sum();
        // To a hundredth: more says nothing.
        let mean = (total as f64 / self.n() as f64 * 100.0).round() / 100.0;
        let [median, p90, p99] = [50, 90, 99].map(|percent| self.percentile(percent));
        let histogram = self.doubling();
        Some(LengthSummary { min, mean, median, p90, p99, max, histogram })
    }

    fn n(&self) -> u64 {
        self.0.values().sum()
    }

    /// The length that so many of 100 documents have at most.
    fn percentile(&self, percent: u64) -> u32 {
        let rank = (u128::from(self.n()) * u128::from(percent)).div_ceil(100).max(1);
        let mut before = 0_u128;
        let found = self.0.iter().find(|(_, n)| {
            before += u128::from(**n);
            before >= rank
        });
        found.map_or(0, |(length, _)| *length)
    }

    fn bin(&self, from: u32, to: u32) -> Bin {
        Bin { from, to, documents: self.0.range(from..to).map(|(_, n)| n).sum() }
    }

    /// Bins that double in width: 0 to 15, 16 to 31, 32 to 63, ...; those before the first and behind the last
    /// document are left away.
    fn doubling(&self) -> Vec<Bin> {
        let Some((max, _)) = self.0.last_key_value() else { return Vec::new() };
        let mut bins: Vec<Bin> = Vec::new();
        let (mut from, mut to) = (0, 16);
        while from <= *max {
            let bin = self.bin(from, to);
            if bin.documents > 0 || !bins.is_empty() {
                bins.push(bin);
            }
            (from, to) = (to, to.saturating_mul(2));
        }
        bins
    }

    /// About `n` bins of one width, a round number, up to the length that 99 of 100 documents have at most; the last
    /// bin takes all that are longer.
    #[must_use]
    pub fn even(&self, n: u32) -> Vec<Bin> {
        let Some((max, _)) = self.0.last_key_value() else { return Vec::new() };
        let most = self.percentile(99);
        let least = most / n + 1;
        let scale = 10_u32.pow(least.ilog10());
        let steps = [1, 2, 5, 10].map(|step| step * scale);
        let width = steps.into_iter().find(|step| *step >= least).unwrap_or(least);
        let starts = (0..=most).step_by(width as usize);
        let bin = |from: u32| {
            let is_last = from + width > most;
            self.bin(from, if is_last { max + 1 } else { from + width })
        };
        starts.map(bin).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_lengths_that_occur() {
        // numpy.percentile(range(1, 101), [50, 90, 99], method="inverted_cdf"); the mean is 50.5.
        let summary = (1..=100).rev().collect::<Lengths>().summary().unwrap();
        let LengthSummary { min, mean, median, p90, p99, max, .. } = summary;
        assert_eq!((min, mean, median, p90, p99, max), (1, 50.5, 50, 90, 99, 100));
        assert_eq!(Lengths::default().summary(), None);
    }

    #[test]
    fn every_document_is_in_one_bin() {
        for lengths in [vec![0], vec![17, 40, 40, 5000], (0..1000).collect(), vec![3; 500]] {
            let n = lengths.len() as u64;
            let lengths: Lengths = lengths.into_iter().collect();
            for bins in [lengths.doubling(), lengths.even(30)] {
                assert_eq!(bins.iter().map(|bin| bin.documents).sum::<u64>(), n, "{bins:?}");
                assert!(bins.windows(2).all(|pair| pair[0].to == pair[1].from), "{bins:?}");
                assert!(bins.len() <= 40, "{bins:?}");
            }
        }
    }

    #[test]
    fn what_was_counted_in_parts_adds_up() {
        let mut sum: Lengths = (0..70).map(|i| i * i).collect();
        sum.append(&(70..99).map(|i| i * i).collect());
        assert_eq!(sum, (0..99).map(|i| i * i).collect());
    }
}
