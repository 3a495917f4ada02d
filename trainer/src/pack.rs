//! Lengths -> which documents share a row: best fit, longest first, within the documents of one update.
//!
//! A pure function of the lengths in their order. The update is the window, so that a packed run sees the documents of
//! every step that a padded one sees, whatever the number of ranks, and finds its place after a resume without a search.

use std::collections::BTreeSet;

/// Rows of at most `capacity` places, each a list of positions in `lengths`, ascending.
///
/// Every document is in exactly one row. One that is longer than `capacity` has a row of its own: the caller cuts it.
pub fn rows(lengths: &[usize], capacity: usize) -> Vec<Vec<usize>> {
    let mut longest_first: Vec<usize> = (0..lengths.len()).collect();
    longest_first.sort_by_key(|&at| (std::cmp::Reverse(lengths[at]), at));
    let mut rows: Vec<Vec<usize>> = Vec::new();
    // Free places of a row, and the row: the first that has enough is the best fit, and the earliest of its equals.
    let mut free: BTreeSet<(usize, usize)> = BTreeSet::new();
    for at in longest_first {
        let length = lengths[at];
        let found = free.range((length, 0)..).next().copied();
        let (left, row) = match found {
            Some(place) => {
                free.remove(&place);
                place
            }
            None => {
                rows.push(Vec::new());
                (capacity.max(length), rows.len() - 1)
            }
        };
        rows[row].push(at);
        free.insert((left - length, row));
    }
    rows.iter_mut().for_each(|row| row.sort_unstable());
    rows
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_document_goes_where_it_leaves_the_least_room() {
        // Longest first: 6 and 5 open rows, 4 fills the first to the last place, 3 goes to the second, 2 beside it.
        assert_eq!(rows(&[2, 6, 3, 5, 4], 10), [vec![1, 4], vec![0, 2, 3]]);
        assert_eq!(rows(&[], 10), Vec::<Vec<usize>>::new());
        assert_eq!(rows(&[12, 1], 10), [vec![0], vec![1]]);
    }

    proptest! {
        #[test]
        fn every_document_is_in_one_row_and_no_row_is_too_full(
            lengths in proptest::collection::vec(0_usize..=32, 0..80),
        ) {
            let rows = rows(&lengths, 32);
            let mut placed: Vec<usize> = rows.iter().flatten().copied().collect();
            placed.sort_unstable();
            prop_assert_eq!(placed, (0..lengths.len()).collect::<Vec<_>>());
            let fill = |row: &Vec<usize>| row.iter().map(|&at| lengths[at]).sum::<usize>();
            prop_assert!(rows.iter().all(|row| fill(row) <= 32));
            // Any two rows together hold more than one could: otherwise the later one need not have been opened.
            let fills: Vec<usize> = rows.iter().map(fill).collect();
            for (i, one) in fills.iter().enumerate() {
                for two in &fills[..i] {
                    prop_assert!(one + two > 32 || *one == 0 || *two == 0);
                }
            }
        }
    }
}
