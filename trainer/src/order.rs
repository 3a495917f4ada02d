//! (documents, split, seed, samples) -> which document each sample of the run is.
//!
//! A pure function: the order does not depend on batch sizes' split over ranks, on the process, or on where a run was
//! resumed. It is Megatron-LM's for instruction data, number for number: numpy's legacy `RandomState(seed)`, and from
//! that one stream
//!
//! - with a split of one shard: a permutation of all documents, cut at the boundaries of train, validation and test;
//!   then a permutation of the train part for each epoch of training, and after them those of the validation part;
//! - without a split: a permutation of all documents for each epoch.

use shards::rng::NumpyRandom;

/// The documents of a run, sample by sample: the `i`-th sample trains on document `train[i]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// As many as the run trains on, epoch after epoch.
    pub train: Vec<usize>,
    /// As many as the run's evaluations draw, one after the other; empty without a split.
    pub validation: Vec<usize>,
}

/// The shares of one shard that are trained on, evaluated on and left for a test, in any unit: `[969, 30, 1]`.
pub type Split = [f64; 3];

impl Order {
    /// The order of a run over `n_documents` that draws `n_train` samples and, from the split's validation part,
    /// `n_validation`.
    ///
    /// A part with no documents gives no samples, whatever was asked for.
    pub fn new(
        n_documents: usize,
        split: Option<Split>,
        seed: u32,
        n_train: usize,
        n_validation: usize,
    ) -> Self {
        let mut random = NumpyRandom::new(seed);
        let Some(split) = split else {
            let all: Vec<usize> = (0..n_documents).collect();
            return Self { train: epochs(&mut random, &all, n_train), validation: Vec::new() };
        };
        let all = random.permutation(n_documents);
        let [_, train, validation, _] = boundaries(n_documents, split);
        let validation_part = &all[train..validation];
        let train = epochs(&mut random, &all[..train], n_train);
        Self { train, validation: epochs(&mut random, validation_part, n_validation) }
    }

    /// The same order of these documents, where the shard has others too.
    pub fn of(self, documents: &[usize]) -> Self {
        let of = |places: Vec<usize>| places.into_iter().map(|place| documents[place]).collect();
        Self { train: of(self.train), validation: of(self.validation) }
    }
}

/// Where the parts of a split begin and end: `[0, train, train + validation, n_documents]`.
///
/// Megatron rounds each part half to even and takes what the sum overshoots off every boundary, so that the last one
/// comes out right (`get_train_valid_test_split_`).
pub fn boundaries(n_documents: usize, split: Split) -> [usize; 4] {
    let total: f64 = split.iter().sum();
    let mut ends = [0.0; 4];
    for (part, share) in split.iter().enumerate() {
        ends[part + 1] = ends[part] + (share / total * n_documents as f64).round_ties_even();
    }
    let overshoot = ends[3] - n_documents as f64;
    for end in &mut ends[1..] {
        *end -= overshoot;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole and clamped"
    )]
    ends.map(|end| end.clamp(0.0, n_documents as f64) as usize)
}

/// The first `n` of the part's documents, permuted anew for every pass over them.
fn epochs(random: &mut NumpyRandom, part: &[usize], n: usize) -> Vec<usize> {
    let mut order = Vec::with_capacity(n);
    while !part.is_empty() && order.len() < n {
        let epoch = random.permutation(part.len());
        order.extend(epoch.iter().map(|&place| part[place]).take(n - order.len()));
    }
    order
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Numbers {
        orders: Vec<Golden>,
    }

    /// An order that numpy drew.
    #[derive(Deserialize)]
    struct Golden {
        n_documents: usize,
        split: Option<Split>,
        seed: u32,
        train: Vec<usize>,
        validation: Vec<usize>,
    }

    #[test]
    fn orders_are_those_that_numpy_draws_for_megatron() {
        let numbers: Numbers =
            serde_json::from_str(include_str!("../tests/golden/numbers.json")).unwrap();
        assert_eq!(numbers.orders.len(), 5);
        for golden in numbers.orders {
            let Golden { n_documents, split, seed, train, validation } = golden;
            let order = Order::new(n_documents, split, seed, train.len(), validation.len());
            assert_eq!(
                order,
                Order { train, validation },
                "{n_documents} documents, split {split:?}"
            );
        }
    }

    #[test]
    fn a_longer_run_begins_as_a_shorter_one() {
        let [short, long] =
            [30, 90].map(|n| Order::new(20, Some([969.0, 30.0, 1.0]), 1, n, 0).train);
        assert_eq!(short, long[..30]);
    }

    #[test]
    fn rounding_moves_every_boundary_by_the_overshoot() {
        // 41 documents: 36.9 -> 37, 2.05 -> 2 twice.
        assert_eq!(boundaries(41, [90.0, 5.0, 5.0]), [0, 37, 39, 41]);
        // 10 documents in thirds: 3 each, one too few, so every boundary moves up by one.
        assert_eq!(boundaries(10, [1.0, 1.0, 1.0]), [0, 4, 7, 10]);
    }
}
