//! Documents of two splits, matched by what they hold: which are the same, which moved, changed, came or went.
//!
//! Equal documents are matched first, wherever they stand. Of those that are left, two with the same tokens differ in
//! their roles only, and two between the same neighbours that begin or end alike are one that was changed.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hasher};

use shards::PairReader;

/// What became of the documents; places are numbers in the first and in the second split.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Matching {
    /// The same on both sides, by place in the first.
    pub(crate) same: Vec<(usize, usize)>,
    /// Of these, those that stand in another order.
    pub(crate) moved: Vec<(usize, usize)>,
    /// The same tokens with other roles.
    pub(crate) other_roles: Vec<(usize, usize)>,
    /// Alike at the beginning or at the end.
    pub(crate) changed: Vec<(usize, usize)>,
    /// Only in the first.
    pub(crate) gone: Vec<usize>,
    /// Only in the second.
    pub(crate) new: Vec<usize>,
}

/// What a document holds, as two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Content {
    pub(crate) tokens: u64,
    pub(crate) roles: u64,
}

impl Content {
    pub(crate) fn of(split: &PairReader, document: usize) -> Self {
        let hash = |values: &mut dyn Iterator<Item = u32>| {
            let mut hasher = DefaultHasher::new();
            values.for_each(|value| hasher.write_u32(value));
            hasher.finish()
        };
        let document = split.document(document);
        Self { tokens: hash(&mut document.tokens()), roles: hash(&mut document.roles()) }
    }
}

/// Documents between two neighbours that are looked at as changes of each other.
const CANDIDATES: usize = 32;

/// Matches documents; `likeness` says which share of two of them is alike, from 0 to 1.
pub(crate) fn matching(
    a: &[Content],
    b: &[Content],
    likeness: impl Fn(usize, usize) -> f64,
) -> Matching {
    let all = |side: &[Content]| (0..side.len()).collect::<Vec<_>>();
    let (same, gone, new) = pair(&all(a), &all(b), |i| a[i], |i| b[i]);
    let moved = out_of_order(&same);
    let (other_roles, gone, new) = pair(&gone, &new, |i| a[i].tokens, |i| b[i].tokens);

    // Behind which document of the second split a place lies.
    let neighbours: BTreeMap<usize, usize> = same.iter().copied().collect();
    let of_second: BTreeMap<usize, usize> = same.iter().map(|&(_, b)| (b, b)).collect();
    let before = |map: &BTreeMap<usize, usize>, place: usize| {
        map.range(..place).next_back().map(|(_, second)| *second)
    };
    let mut gaps: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
    for place in new {
        gaps.entry(before(&of_second, place)).or_default().push(place);
    }
    let (mut changed, mut really_gone) = (Vec::new(), Vec::new());
    for place in gone {
        let candidates = gaps.entry(before(&neighbours, place)).or_default();
        let likest = candidates
            .iter()
            .take(CANDIDATES)
            .enumerate()
            .map(|(i, second)| (likeness(place, *second), i))
            .filter(|(share, _)| *share >= 0.5)
            .max_by(|(x, i), (y, j)| x.total_cmp(y).then(j.cmp(i)));
        match likest {
            Some((_, i)) => changed.push((place, candidates.remove(i))),
            None => really_gone.push(place),
        }
    }
    let mut new: Vec<usize> = gaps.into_values().flatten().collect();
    new.sort_unstable();
    Matching { same, moved, other_roles, changed, gone: really_gone, new }
}

type Pairs = (Vec<(usize, usize)>, Vec<usize>, Vec<usize>);

/// Pairs places with equal keys, the first with the first; what is left of both sides.
fn pair<K: std::hash::Hash + Eq>(
    a: &[usize],
    b: &[usize],
    key_a: impl Fn(usize) -> K,
    key_b: impl Fn(usize) -> K,
) -> Pairs {
    let mut places: HashMap<K, VecDeque<usize>> = HashMap::new();
    for &place in b {
        places.entry(key_b(place)).or_default().push_back(place);
    }
    let (mut pairs, mut left_a) = (Vec::new(), Vec::new());
    for &place in a {
        match places.get_mut(&key_a(place)).and_then(VecDeque::pop_front) {
            Some(second) => pairs.push((place, second)),
            None => left_a.push(place),
        }
    }
    let left_b = b.iter().copied();
    let taken: std::collections::BTreeSet<usize> = pairs.iter().map(|&(_, b)| b).collect();
    (pairs, left_a, left_b.filter(|place| !taken.contains(place)).collect())
}

/// The pairs that are not in one of the longest series whose second places ascend.
fn out_of_order(pairs: &[(usize, usize)]) -> Vec<(usize, usize)> {
    // Patience: `ends[n]` is the pair with the least second place that ends a series of n + 1.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(pairs.len());
    for (i, (_, second)) in pairs.iter().enumerate() {
        let n = ends.partition_point(|&end| pairs[end].1 < *second);
        before.push(n.checked_sub(1).map(|n| ends[n]));
        if n == ends.len() {
            ends.push(i);
        } else {
            ends[n] = i;
        }
    }
    let mut in_order = vec![false; pairs.len()];
    let mut next = ends.last().copied();
    while let Some(i) = next {
        in_order[i] = true;
        next = before[i];
    }
    pairs.iter().zip(in_order).filter(|(_, in_order)| !in_order).map(|(pair, _)| *pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A letter is a document; a capital is the small one with other roles; likeness is given.
    #[track_caller]
    fn check(a: &str, b: &str, alike: &[(char, char)], expected: &Matching) {
        let content = |c: char| Content {
            tokens: u64::from(c.to_ascii_lowercase()),
            roles: u64::from(c.is_ascii_uppercase()),
        };
        let [x, y] = [a, b].map(|side| side.chars().map(content).collect::<Vec<_>>());
        let [a, b] = [a, b].map(|side| side.chars().collect::<Vec<_>>());
        let found = matching(&x, &y, |i, j| f64::from(u8::from(alike.contains(&(a[i], b[j])))));
        assert_eq!(found, *expected);
    }

    #[test]
    fn what_came_went_moved_and_changed_is_told_apart() {
        let same =
            |places: &[(usize, usize)]| Matching { same: places.into(), ..Matching::default() };
        check("abc", "abc", &[], &same(&[(0, 0), (1, 1), (2, 2)]));
        check("aab", "aab", &[], &same(&[(0, 0), (1, 1), (2, 2)]));
        check("abc", "axbc", &[], &Matching { new: vec![1], ..same(&[(0, 0), (1, 2), (2, 3)]) });
        check("abc", "ac", &[], &Matching { gone: vec![1], ..same(&[(0, 0), (2, 1)]) });
        let moved = vec![(0, 2)];
        check("abc", "bca", &[], &Matching { moved, ..same(&[(0, 2), (1, 0), (2, 1)]) });
        let other_roles = vec![(1, 1)];
        check("abc", "aBc", &[], &Matching { other_roles, ..same(&[(0, 0), (2, 2)]) });
        let (changed, new) = (vec![(1, 2)], vec![1]);
        let expected = Matching { changed, new, ..same(&[(0, 0), (2, 3)]) };
        check("abc", "axyc", &[('b', 'y')], &expected);
        let (gone, new) = (vec![1], vec![1]);
        check("abc", "axc", &[], &Matching { gone, new, ..same(&[(0, 0), (2, 2)]) });
    }
}
