//! Datasets + datamix -> which documents go to which split, and in what order.
//!
//! Everything here is pure: seeds and numbers of documents in, indices out.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::bail;
use shards::rng::NumpyRandom;

use crate::config::{Datamix, Entry, Key, Mixing, ValSplit};
use crate::filter::Reason;
use crate::loaders::{Division, Loaded};
use crate::split;
use crate::streams::Streams;

/// Documents of a dataset, by index and in the order of the output. Four bytes each: a corpus may have many.
pub type Indices = Vec<u32>;

/// A dataset that is divided between training and validation.
#[derive(Debug)]
pub struct Divided {
    /// Its documents.
    pub loaded: Loaded,
    train: Part,
    val: Option<Part>,
    /// What `eval_size` took from `val`.
    cut: Indices,
}

#[derive(Debug, Clone)]
struct Part {
    label: String,
    indices: Indices,
}

/// The documents of a split, in order.
#[derive(Debug, PartialEq)]
pub struct Plan {
    /// `train` or `val`.
    pub split: &'static str,
    /// What comes from which dataset.
    pub parts: Vec<PlannedPart>,
}

/// What one dataset gives to a split.
#[derive(Debug, PartialEq)]
pub struct PlannedPart {
    /// Which dataset, in the order of the datamix.
    pub dataset: usize,
    /// The name in the datamix.
    pub name: String,
    /// The name in the statistics.
    pub label: String,
    /// The share that the statistics print.
    pub fraction: f64,
    /// Which of the dataset's documents, in order.
    pub indices: Indices,
    /// Which of them were taken out since, and why.
    pub removed: Vec<(u32, Reason)>,
}

impl Divided {
    /// How many documents there are to train on, before `fraction` and `size`.
    #[must_use]
    pub fn n_train(&self) -> usize {
        self.train.indices.len()
    }

    /// The documents to train on, before `fraction` and `size`.
    #[must_use]
    pub fn train(&self) -> &[u32] {
        &self.train.indices
    }

    /// The documents to validate on, after `max_val_set` and `eval_size`.
    #[must_use]
    pub fn val(&self) -> &[u32] {
        self.val.as_ref().map_or(&[], |val| &val.indices)
    }

    /// The documents that `eval_size` has taken from those.
    #[must_use]
    pub fn cut_by_eval_size(&self) -> &[u32] {
        &self.cut
    }
}

impl PlannedPart {
    /// How many documents were taken out, by reason.
    #[must_use]
    pub fn n_removed(&self) -> BTreeMap<Reason, u64> {
        let mut counts = BTreeMap::new();
        for (_, reason) in &self.removed {
            *counts.entry(*reason).or_default() += 1;
        }
        counts
    }
}

impl Plan {
    /// How many documents there are in all, those that a filter will leave out included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.indices.len()).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The datasets that stand at these places of the split, each with the places that are its own.
    pub fn stretches(
        &self,
        places: Range<usize>,
    ) -> impl Iterator<Item = (&PlannedPart, Range<usize>)> {
        let mut end = 0;
        let parts = self.parts.iter().map(move |part| {
            let start = end;
            end += part.indices.len();
            (part, start.max(places.start)..end.min(places.end))
        });
        parts.filter(|(_, here)| !here.is_empty())
    }

    /// The documents at these places of the split: their datasets, and their numbers there.
    pub fn documents(&self, places: Range<usize>) -> impl Iterator<Item = (usize, u32)> {
        let mut before = 0;
        self.parts.iter().flat_map(move |part| {
            let start = before;
            before += part.indices.len();
            let first = places.start.clamp(start, before) - start;
            let end = places.end.clamp(start, before) - start;
            part.indices[first..end.max(first)].iter().map(|i| (part.dataset, *i))
        })
    }
}

/// The `val_split` that a loader or the mix goes by; `None` is null.
#[must_use]
pub fn val_split(mixing: &Mixing) -> Option<ValSplit> {
    match mixing.val_split {
        Key::Absent => Some(ValSplit::DEFAULT),
        Key::Null => None,
        Key::Set(value) => Some(value),
    }
}

/// Divides a dataset. It may draw from numpy's global stream, so the order of the datasets matters.
pub fn divide(
    loaded: Loaded,
    mixing: &Mixing,
    eval_size: Option<usize>,
    streams: &mut Streams,
) -> anyhow::Result<Divided> {
    let n = loaded.len();
    let label = loaded.label.clone();
    let subset = format!("Subset of {label}");
    let (train, val) = match loaded.division {
        Division::TrainFirst(n_train) => {
            let train = Part { label: label.clone(), indices: indices(0..n_train) };
            (train, Some(Part { label, indices: indices(n_train..n) }))
        }
        Division::ByMix if val_split(mixing).is_some_and(ValSplit::is_zero) => {
            (Part { label, indices: indices(0..n) }, None)
        }
        Division::ByMix => {
            let (train, val) = split::sklearn(n, val_split(mixing))?;
            let part = |rows| Part { label: subset.clone(), indices: indices(rows) };
            (part(train), Some(part(val)))
        }
    };
    let mut cut = Vec::new();
    let val = val.map(|mut val| {
        // Zero is no limit, as in the reference, which asks for the truth of the number.
        if let Some(max) = mixing.max_val_set.filter(|max| *max > 0)
            && val.indices.len() > max
        {
            let chosen = streams.numpy.choice(val.indices.len(), max);
            val.indices = chosen.into_iter().map(|i| val.indices[i]).collect();
            val.label.clone_from(&subset);
        }
        if let Some(eval_size) = eval_size {
            cut = val.indices.split_off(eval_size.min(val.indices.len()));
            val.label = subset;
        }
        val
    });
    Ok(Divided { loaded, train, val, cut })
}

/// The split to train on: every dataset in order, sub-sampled where the datamix says so.
pub fn train(datamix: &Datamix, datasets: &[Divided]) -> anyhow::Result<Plan> {
    // One fresh stream for the split; a dataset that is used in full draws nothing from it.
    let mut stream = NumpyRandom::new(datamix.rng_seed);
    let mut parts = Vec::with_capacity(datasets.len());
    for (dataset, (entry, divided)) in datamix.entries().zip(datasets).enumerate() {
        let Part { label, indices } = divided.train.clone();
        // The reference passes over these keys in `datasets_extra`.
        let is_extra = dataset >= datamix.datasets.len();
        let fraction = if is_extra { 1.0 } else { fraction(entry, indices.len())? };
        let target = truncated(indices.len() as f64 * fraction);
        let indices = if target < indices.len() {
            let chosen = stream.choice(indices.len(), target);
            chosen.into_iter().map(|i| indices[i]).collect()
        } else {
            indices
        };
        parts.push(PlannedPart {
            dataset,
            name: entry.name.clone(),
            label,
            fraction,
            indices,
            removed: Vec::new(),
        });
    }
    Ok(Plan { split: "train", parts })
}

/// The split to validate on.
///
/// As in the reference, sets go by the name as it is written: a repeated name keeps its first place and has the last
/// one's samples. Those names are returned as well.
pub fn val(datamix: &Datamix, datasets: &[Divided]) -> (Plan, Vec<String>) {
    let mut parts: Vec<PlannedPart> = Vec::new();
    let mut repeated = Vec::new();
    for (dataset, (entry, divided)) in datamix.entries().zip(datasets).enumerate() {
        let Some(Part { label, indices }) = divided.val.clone() else { continue };
        let name = entry.name.clone();
        let part =
            PlannedPart { dataset, name, label, fraction: 1.0, indices, removed: Vec::new() };
        match parts.iter_mut().find(|it| it.name == part.name) {
            Some(earlier) => {
                repeated.push(part.name.clone());
                *earlier = part;
            }
            None => parts.push(part),
        }
    }
    (Plan { split: "val", parts }, repeated)
}

fn indices(rows: impl IntoIterator<Item = usize>) -> Indices {
    let index = |row| u32::try_from(row).expect("the store refuses more rows than 2^32");
    rows.into_iter().map(index).collect()
}

/// The share of `n` train samples to use.
fn fraction(entry: &Entry, n: usize) -> anyhow::Result<f64> {
    let mixing = entry.source.mixing();
    match (mixing.fraction, mixing.size) {
        (Some(fraction), _) => Ok(fraction.min(1.0)),
        // Through a share, as the reference does it: of 22 samples, a size of 15 takes 14.
        (None, Some(size)) if size <= n as u64 => {
            Ok(if n == 0 { 1.0 } else { size as f64 / n as f64 })
        }
        (None, Some(size)) => {
            bail!(
                "{}: `size: {size}` of `{}` is more than its {n} train samples",
                entry.place,
                entry.name
            )
        }
        (None, None) => Ok(1.0),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a number of samples is between 0 and that number"
)]
fn truncated(samples: f64) -> usize {
    samples as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_goes_through_a_share_and_may_lose_one() {
        // From the specification of the reference: python -c "print(int(22 * (15 / 22)))"
        for (n, size, taken) in
            [(22, 15, 14), (23, 13, 12), (39, 31, 30), (45_000, 127, 126), (22, 14, 14)]
        {
            assert_eq!(truncated(f64::from(n) * (f64::from(size) / f64::from(n))), taken);
        }
    }
}
