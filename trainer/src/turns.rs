//! An update's micro-batches -> those that a rank of a data group computes, round by round.
//!
//! In every round each rank has one micro-batch, in the last perhaps some none. Where gradients or weights are sharded the
//! ranks wait for each other in every round, else at the end of the update: so the micro-batches of a round are about
//! equally large, and those of a rank together about as large as another's. They are sorted by size and dealt to and fro.
//! Nothing but speed follows from who computes what: all ranks know the whole update.

use std::cmp::Reverse;

use crate::batch::MicroBatch;

/// The micro-batches of a rank, one of so many, an entry a round.
pub fn of_rank(batches: &[MicroBatch], rank: usize, n_ranks: usize) -> Vec<Option<&MicroBatch>> {
    let mut sorted: Vec<&MicroBatch> = batches.iter().collect();
    if n_ranks > 1 {
        sorted.sort_by_key(|batch| Reverse((batch.counts.places, batch.counts.squared_lengths)));
    }
    sorted
        .chunks(n_ranks)
        .enumerate()
        .map(|(round, dealt)| {
            let turn = if round % 2 == 0 { rank } else { n_ranks - 1 - rank };
            dealt.get(turn).copied()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::*;
    use crate::batch::Counts;

    fn batches(places: &[u64]) -> Vec<MicroBatch> {
        let nothing = || Tensor::zeros([0], (Kind::Int64, Device::Cpu));
        let batch = |(number, &places): (usize, &u64)| MicroBatch {
            tokens_bt: nothing(),
            lengths: None,
            places_n: nothing(),
            labels_n: nothing(),
            weights_n: None,
            scale: 1.0,
            number: number as u64,
            documents: Vec::new(),
            counts: Counts { places, ..Counts::default() },
        };
        places.iter().enumerate().map(batch).collect()
    }

    /// Of each rank, the numbers of its micro-batches.
    fn check(places: &[u64], expected: &[&[Option<u64>]]) {
        let batches = batches(places);
        let n_ranks = expected.len();
        let found: Vec<Vec<_>> = (0..n_ranks)
            .map(|rank| of_rank(&batches, rank, n_ranks))
            .map(|rounds| rounds.into_iter().map(|it| it.map(|it| it.number)).collect())
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn one_rank_computes_them_in_their_order() {
        check(&[3, 9, 5], &[&[Some(0), Some(1), Some(2)]]);
    }

    #[test]
    fn a_round_has_equal_sizes_and_so_have_the_ranks_together() {
        check(&[10, 80, 20, 70], &[&[Some(1), Some(0)], &[Some(3), Some(2)]]);
        check(&[4, 4, 4, 4], &[&[Some(0), Some(3)], &[Some(1), Some(2)]]);
    }

    #[test]
    fn the_smallest_are_computed_while_others_have_none() {
        check(&[1, 5, 3, 2, 4], &[&[Some(1), None], &[Some(4), Some(0)], &[Some(2), Some(3)]]);
    }
}
