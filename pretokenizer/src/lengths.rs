//! How long documents are: lengths, in tokens -> what is said of them.

use serde::Serialize;

/// Lengths of documents, in tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lengths(Vec<u32>);

/// What is said of them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// The shortest.
    pub min: u32,
    /// Half of the documents are at most so long.
    pub median: u32,
    /// 19 of 20 are.
    pub p95: u32,
    /// The longest.
    pub max: u32,
    /// The average.
    pub mean: f64,
}

/// How many documents are from `from` to before `to` tokens long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bin {
    /// The shortest length in it.
    pub from: u32,
    /// The shortest that is not.
    pub to: u32,
    /// Documents.
    pub documents: u64,
}

impl Lengths {
    /// These, in ascending order.
    #[must_use]
    pub fn new(mut lengths: Vec<u32>) -> Self {
        lengths.sort_unstable();
        Self(lengths)
    }

    /// What is said of them; `None` if there are none. Shares are by nearest rank: each is a length that occurs.
    #[must_use]
    pub fn summary(&self) -> Option<Summary> {
        let rank = |percent: usize| self.0[(self.0.len() * percent).div_ceil(100).max(1) - 1];
        let (min, max) = (*self.0.first()?, *self.0.last()?);
        let total: u64 = self.0.iter().copied().map(u64::from).sum();
        let mean = total as f64 / self.0.len() as f64;
        Some(Summary { min, median: rank(50), p95: rank(95), max, mean })
    }

    /// Bins that double in width: 0 to 15, 16 to 31, 32 to 63, ...; those before the first and behind the last
    /// document are left away.
    #[must_use]
    pub fn doubling(&self) -> Vec<Bin> {
        let mut bins: Vec<Bin> = Vec::new();
        let (mut from, mut to, mut rest) = (0, 16, &self.0[..]);
        while !rest.is_empty() {
            let n = rest.partition_point(|length| *length < to);
            if n > 0 || !bins.is_empty() {
                bins.push(Bin { from, to, documents: n as u64 });
            }
            rest = &rest[n..];
            (from, to) = (to, to.saturating_mul(2));
        }
        bins
    }

    /// About `n` bins of one width, a round number, up to the length that 99 of 100 documents have at most; the last
    /// bin takes all that are longer.
    #[must_use]
    pub fn even(&self, n: u32) -> Vec<Bin> {
        let Some(max) = self.0.last() else { return Vec::new() };
        let most = self.0[(self.0.len() * 99).div_ceil(100).max(1) - 1];
        let least = most / n + 1;
        let scale = 10_u32.pow(least.ilog10());
        let steps = [1, 2, 5, 10].map(|step| step * scale);
        let width = steps.into_iter().find(|step| *step >= least).unwrap_or(least);
        let mut bins = Vec::new();
        let (mut from, mut rest) = (0, &self.0[..]);
        while from <= most {
            let is_last = from + width > most;
            let to = if is_last { max + 1 } else { from + width };
            let n = rest.partition_point(|length| *length < to);
            bins.push(Bin { from, to, documents: n as u64 });
            rest = &rest[n..];
            from += width;
        }
        bins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_lengths_that_occur() {
        // numpy.percentile(range(1, 101), [50, 95], method="inverted_cdf"); the mean is 50.5.
        let summary = Lengths::new((1..=100).rev().collect()).summary().unwrap();
        let Summary { min, median, p95, max, mean } = summary;
        assert_eq!((min, median, p95, max, mean), (1, 50, 95, 100, 50.5));
        assert_eq!(Lengths::default().summary(), None);
    }

    #[test]
    fn every_document_is_in_one_bin() {
        for lengths in [vec![0], vec![17, 40, 40, 5000], (0..1000).collect(), vec![3; 500]] {
            let n = lengths.len() as u64;
            let lengths = Lengths::new(lengths);
            for bins in [lengths.doubling(), lengths.even(30)] {
                assert_eq!(bins.iter().map(|bin| bin.documents).sum::<u64>(), n, "{bins:?}");
                assert!(bins.windows(2).all(|pair| pair[0].to == pair[1].from), "{bins:?}");
                assert!(bins.len() <= 40, "{bins:?}");
            }
        }
    }
}
