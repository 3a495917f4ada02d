//! Counts of a split, and the text that the reference prints of them.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::filter::{Length, Reason};
use crate::mix::Plan;
use crate::python;

/// Counts of one dataset, or of all together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Documents that were kept.
    pub documents: u64,
    /// Their tokens.
    pub tokens: u64,
    /// Tokens of the assistant among them.
    pub assistant_tokens: u64,
    /// Tokens of the shortest and of the longest document.
    pub lengths: Option<(u64, u64)>,
    /// Samples that were left out, by reason.
    pub refused: BTreeMap<Reason, u64>,
}

impl Counts {
    /// Counts a document.
    pub fn keep(&mut self, document: Length) {
        let length = document.tokens as u64;
        self.documents += 1;
        self.tokens += length;
        self.assistant_tokens += document.assistant_tokens as u64;
        let (min, max) = self.lengths.unwrap_or((length, length));
        self.lengths = Some((min.min(length), max.max(length)));
    }

    /// Counts a sample that is left out.
    pub fn refuse(&mut self, reason: Reason) {
        *self.refused.entry(reason).or_default() += 1;
    }

    fn add(&mut self, other: &Self) {
        self.documents += other.documents;
        self.tokens += other.tokens;
        self.assistant_tokens += other.assistant_tokens;
        self.lengths = match (self.lengths, other.lengths) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, other) => one.or(other),
        };
        for (reason, n) in &other.refused {
            *self.refused.entry(*reason).or_default() += n;
        }
    }
}

/// Counts of a split while it is written.
#[derive(Debug)]
pub struct Statistics {
    /// By the dataset that a sample is from.
    pub by_part: Vec<Counts>,
    /// By the dataset that the reference's text books it on.
    booked: Vec<Counts>,
    /// Where each dataset ends.
    ends: Vec<usize>,
    current: usize,
    current_booked: usize,
}

impl Statistics {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let n = plan.parts.len();
        let ends = plan.parts.iter().scan(0, |end, part| {
            *end += part.indices.len();
            Some(*end)
        });
        Self {
            by_part: vec![Counts::default(); n],
            booked: vec![Counts::default(); n],
            ends: ends.collect(),
            current: 0,
            current_booked: 0,
        }
    }

    /// Counts the sample with this place in the plan; samples come in order.
    pub fn count(&mut self, i: usize, count: impl Fn(&mut Counts)) {
        while i >= self.ends[self.current] {
            self.current += 1;
        }
        // The reference goes on by one dataset at most for each sample: the first sample behind an empty dataset is
        // booked on the empty one.
        if i >= self.ends[self.current_booked] {
            self.current_booked += 1;
        }
        count(&mut self.by_part[self.current]);
        count(&mut self.booked[self.current_booked]);
    }

    /// The text of `P_stats.txt`.
    #[must_use]
    pub fn text(&self, plan: &Plan, prefix: &str) -> String {
        let mut text = format!("\n# Stats for {prefix}*\n\n");
        let mut total = Counts::default();
        for (part, counts) in plan.parts.iter().zip(&self.booked) {
            block(&mut text, &part.label, part.indices.len(), part.fraction, counts);
            total.add(counts);
        }
        block(&mut text, "total", plan.len(), 1.0, &total);
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
