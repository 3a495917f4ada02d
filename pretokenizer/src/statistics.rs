//! Counts of a split, and the text that the reference prints of them.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};
use shards::Role;
use shards::manifest::SpecialTokensInText;

use crate::filter::{Length, Reason};
use crate::lengths::Lengths;
use crate::mix::Plan;
use crate::python;

/// Counts of one dataset, or of all together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Documents that were kept.
    pub documents: u64,
    /// Their tokens.
    pub tokens: u64,
    /// These, by whose turn they are of.
    pub by_role: [u64; Role::ALL.len()],
    /// Documents that were longer, and were cut.
    pub truncated: u64,
    /// Tokens of the shortest and of the longest document.
    pub lengths: Option<(u64, u64)>,
    /// Samples that were left out, by reason.
    pub refused: BTreeMap<Reason, u64>,
    /// Strings of special tokens in the texts of the documents.
    pub special: SpecialTokensInText,
}

impl Counts {
    fn keep(&mut self, document: Length) {
        let length = document.tokens as u64;
        self.documents += 1;
        self.tokens += length;
        for (n, more) in self.by_role.iter_mut().zip(document.by_role) {
            *n += more as u64;
        }
        self.truncated += u64::from(document.is_truncated);
        let (min, max) = self.lengths.unwrap_or((length, length));
        self.lengths = Some((min.min(length), max.max(length)));
        self.special.documents += u64::from(document.special.n > 0);
        self.special.strings += u64::from(document.special.n);
    }

    fn refuse(&mut self, reason: Reason) {
        *self.refused.entry(reason).or_default() += 1;
    }

    fn add(&mut self, other: &Self) {
        self.documents += other.documents;
        self.tokens += other.tokens;
        for (n, more) in self.by_role.iter_mut().zip(other.by_role) {
            *n += more;
        }
        self.truncated += other.truncated;
        self.special.documents += other.special.documents;
        self.special.strings += other.special.strings;
        self.lengths = match (self.lengths, other.lengths) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, other) => one.or(other),
        };
        for (reason, n) in &other.refused {
            *self.refused.entry(*reason).or_default() += n;
        }
    }
}

/// What one dataset gives to a split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfDataset {
    /// The name in the datamix.
    pub name: String,
    /// The name in the statistics.
    pub label: String,
    /// How many documents were planned.
    pub samples: usize,
    /// How many more were, and taken out again before anything was encoded, by reason.
    pub removed: BTreeMap<Reason, u64>,
    /// The share that this is.
    pub fraction: f64,
    /// What came of its documents.
    pub counts: Counts,
    /// How long they are.
    pub lengths: Lengths,
    /// What the reference's text books on it.
    pub booked: Counts,
}

/// Counts of a split while it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statistics {
    /// The datasets, in order.
    pub datasets: Vec<OfDataset>,
    #[serde(skip)]
    at: Position,
}

/// How far the plan was walked.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Position {
    /// The dataset that the last sample is from, and where it ends.
    dataset: usize,
    end: usize,
    /// The same, for what the reference's text books.
    booked: usize,
    booked_end: usize,
}

impl Statistics {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let datasets = plan.parts.iter().map(|part| OfDataset {
            name: part.name.clone(),
            label: part.label.clone(),
            samples: part.indices.len(),
            removed: part.n_removed(),
            fraction: part.fraction,
            counts: Counts::default(),
            lengths: Lengths::default(),
            booked: Counts::default(),
        });
        let datasets: Vec<_> = datasets.collect();
        let end = datasets.first().map_or(0, |first| first.samples);
        Self { datasets, at: Position { dataset: 0, end, booked: 0, booked_end: end } }
    }

    /// Counts a document; samples come in order and none is left out.
    pub fn keep(&mut self, place: usize, document: Length) {
        self.count(place, |counts| counts.keep(document));
        let tokens = u32::try_from(document.tokens).unwrap_or(u32::MAX);
        self.datasets[self.at.dataset].lengths.add(tokens);
    }

    /// Counts a sample that is left out.
    pub fn refuse(&mut self, place: usize, reason: Reason) {
        self.count(place, |counts| counts.refuse(reason));
    }

    fn count(&mut self, place: usize, count: impl Fn(&mut Counts)) {
        let Position { mut dataset, mut end, mut booked, mut booked_end } = self.at;
        while place >= end {
            dataset += 1;
            end += self.datasets[dataset].samples;
        }
        // The reference goes on by one dataset at most for each sample: the first sample behind an empty dataset is
        // booked on the empty one.
        if place >= booked_end {
            booked += 1;
            booked_end += self.datasets[booked].samples;
        }
        self.at = Position { dataset, end, booked, booked_end };
        count(&mut self.datasets[dataset].counts);
        count(&mut self.datasets[booked].booked);
    }

    /// Passes over the samples before this place, which are counted elsewhere.
    pub fn pass_over(&mut self, places: usize) {
        for place in 0..places {
            self.count(place, |_| {});
        }
    }

    /// Adds what was counted elsewhere of the same plan.
    pub fn add(&mut self, other: &Self) {
        for (here, there) in self.datasets.iter_mut().zip(&other.datasets) {
            here.counts.add(&there.counts);
            here.lengths.append(&there.lengths);
            here.booked.add(&there.booked);
        }
    }

    /// The text of `P_stats.txt`.
    #[must_use]
    pub fn text(&self, prefix: &str) -> String {
        let mut text = format!("\n# Stats for {prefix}*\n\n");
        let mut total = Counts::default();
        let mut samples = 0;
        for dataset in &self.datasets {
            let OfDataset { label, fraction, booked, .. } = dataset;
            block(&mut text, label, dataset.samples, *fraction, booked);
            total.add(booked);
            samples += dataset.samples;
        }
        block(&mut text, "total", samples, 1.0, &total);
        text
    }
}

fn block(text: &mut String, label: &str, samples: usize, fraction: f64, counts: &Counts) {
    let rule = "-".repeat(17);
    let skipped: u64 = counts.refused.values().sum();
    let accepted = counts.documents;
    let processed = accepted + skipped;
    // The reference divides by zero where nothing was processed or kept; there is no text of it to match then.
    let share = |n: u64| match processed {
        0 => "n/a".to_string(),
        _ => format!("{:.1}%", n as f64 / processed as f64 * 100.0),
    };
    let length = |pick: fn((u64, u64)) -> u64| {
        counts.lengths.map_or("n/a".to_string(), |lengths| pick(lengths).to_string())
    };
    let average = match accepted {
        0 => "n/a".to_string(),
        _ => python::float_repr(counts.tokens as f64 / accepted as f64),
    };
    write!(
        text,
        "## Stats for '{label}' ({samples} samples ({:.1}%))\n\
         {rule}\n\
         \x20 Accepted: {accepted}/{processed} ({})\n\
         \x20 Accepted tokens: {}\n\
         \x20 Skipped: {skipped} ({})\n\
         \x20 Min tokens per sample: {}\n\
         \x20 Max tokens per sample: {}\n\
         \x20 Avg tokens per sample: {average}\n\
         {rule}\n\n",
        fraction * 100.0,
        share(accepted),
        counts.tokens,
        share(skipped),
        length(|(min, _)| min),
        length(|(_, max)| max),
    )
    .expect("writing to a text does not fail");
}
