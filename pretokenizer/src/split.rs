//! Rows -> which of them train and which validate: the two ways of the reference, to the draw.

use anyhow::bail;
use shards::rng::{NumpyRandom, TorchGenerator};

use crate::config::ValSplit;

/// Rows of a dataset, by index and in the order of the output.
pub type Indices = Vec<usize>;

/// The seed that the reference gives torch's generator where an entry names none.
pub const DEFAULT_SEED: i64 = 287_631_038_922;

/// `sklearn.model_selection.train_test_split(random_state=666)`: (train, val), both in shuffled order.
///
/// A `val_split` of null means a quarter, as sklearn has it.
pub fn sklearn(n: usize, val_split: Option<ValSplit>) -> anyhow::Result<(Indices, Indices)> {
    let n_val = match val_split.unwrap_or(ValSplit::Fraction(0.25)) {
        ValSplit::Count(count) => count,
        ValSplit::Fraction(share) => ceil(share * n as f64),
    };
    if n_val >= n {
        bail!("`val_split` takes {n_val} of {n} rows, which leaves none to train on");
    }
    let mut order = NumpyRandom::new(666).permutation(n);
    let train = order.split_off(n_val);
    Ok((train, order))
}

/// `torch.utils.data.random_split(range(n), [1 - val_split, val_split])`: (train, val), both in shuffled order.
///
/// Both parts are rounded down and what is left goes to train first, so that a small dataset may have no validation.
pub fn torch(
    n: usize,
    val_split: Option<ValSplit>,
    generator: &mut TorchGenerator,
) -> anyhow::Result<(Indices, Indices)> {
    let share = match val_split {
        Some(ValSplit::Fraction(share)) => share,
        Some(ValSplit::Count(count @ 0..=1)) => count as f64,
        Some(ValSplit::Count(count)) => {
            bail!("`val_split: {count}` is a number of rows, and this dataset takes a share only")
        }
        None => bail!("`val_split` is null, and this dataset needs a share"),
    };
    let mut lengths = [1.0 - share, share].map(|part| floor(n as f64 * part));
    for i in 0..n - lengths[0] - lengths[1] {
        lengths[i % 2] += 1;
    }
    let mut order = generator.randperm(n);
    let val = order.split_off(lengths[0]);
    Ok((order, val))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a number of rows is between 0 and that number"
)]
fn ceil(rows: f64) -> usize {
    rows.ceil() as usize
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a number of rows is between 0 and that number"
)]
fn floor(rows: f64) -> usize {
    rows.floor() as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use ValSplit::{Count, Fraction};

    // The expected numbers are scikit-learn's and torch's own (scikit-learn 1.3.0, torch 2.0.1), from the
    // specification of the reference.

    #[test]
    fn sklearn_takes_validation_first() {
        #[track_caller]
        fn check(n: usize, val_split: ValSplit, train: &[usize], val: &[usize]) {
            assert_eq!(sklearn(n, Some(val_split)).unwrap(), (train.to_vec(), val.to_vec()));
        }
        check(5, Fraction(0.2), &[0, 1, 2, 4], &[3]);
        check(10, Fraction(0.2), &[0, 9, 3, 4, 8, 1, 6, 2], &[5, 7]);
        check(10, Fraction(0.05), &[7, 0, 9, 3, 4, 8, 1, 6, 2], &[5]);
        check(13, Fraction(0.25), &[8, 10, 3, 5, 4, 9, 6, 2, 12], &[1, 11, 0, 7]);
        check(7, Count(3), &[5, 1, 2, 4], &[3, 6, 0]);
        check(2, Fraction(0.5), &[0], &[1]);
        let third = Fraction(1.0 / 3.0);
        check(16, third, &[0, 7, 1, 3, 4, 9, 6, 13, 2, 12], &[11, 10, 8, 5, 14, 15]);
        assert_eq!(sklearn(13, None).unwrap(), sklearn(13, Some(Fraction(0.25))).unwrap());
    }

    #[test]
    fn sklearn_refuses_to_leave_nothing_to_train_on() {
        assert!(sklearn(1, Some(Fraction(0.2))).is_err());
        assert!(sklearn(3, Some(Count(3))).is_err());
    }

    #[test]
    fn torch_gives_train_what_rounding_leaves() {
        #[track_caller]
        fn check(n: usize, share: f64, train: &[usize], val: &[usize]) {
            let outcome = torch(n, Some(Fraction(share)), &mut TorchGenerator::new(DEFAULT_SEED));
            assert_eq!(outcome.unwrap(), (train.to_vec(), val.to_vec()));
        }
        check(10, 0.2, &[8, 0, 5, 4, 7, 3, 1, 9], &[2, 6]);
        check(10, 0.05, &[8, 0, 5, 4, 7, 3, 1, 9, 2, 6], &[]);
        check(7, 0.3, &[3, 2, 1, 4, 0], &[5, 6]);
        check(3, 0.2, &[2, 0, 1], &[]);
        check(9, 0.5, &[5, 6, 3, 1, 8], &[0, 4, 7, 2]);
    }

    #[test]
    fn torch_lengths_are_those_of_torch() {
        for (n, share, lengths) in [
            (99, 0.05, (95, 4)),
            (101, 0.025, (99, 2)),
            (1001, 0.01, (991, 10)),
            (10_364, 0.05, (9846, 518)),
            (51_760, 0.2, (41_408, 10_352)),
        ] {
            let mut generator = TorchGenerator::new(DEFAULT_SEED);
            let (train, val) = torch(n, Some(Fraction(share)), &mut generator).unwrap();
            assert_eq!((train.len(), val.len()), lengths);
        }
    }
}
