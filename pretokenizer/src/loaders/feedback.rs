//! `hf_summary` and `hf_summary_pairs`: comparisons of two summaries by people; how the summary is asked for is drawn when
//! a sample is written.

use std::collections::HashMap;

use serde::Deserialize;

use crate::loaders::{Context, Loaded};
use crate::python;
use crate::sample::Sample;
use crate::source::{Dataset, RowPlace, repository};

/// Ways to ask.
const WORDINGS: &[&str] = &[
    "Please summarize the following content:\n{}",
    "Write me a summary for the following article:\n{}",
    "Kindly sum up the following information: {}",
    "Please summarize the following text for me:\n{}",
    "Give me a summary of the following text:\n\n{}",
    "Describe the following information in brief: {}",
    "Will you kindly summarize the following paragraph for me?\n{}",
    "Summarize this: {}",
    "TLDR this: {}",
    "{}\nTLDR;",
    "{}\n\nTL;DR",
    "{} tl;dr:",
    "{}\nPlease summarize the content above",
    "{} Please summarize the preceding statements.",
];

#[derive(Deserialize)]
struct Row {
    info: Info,
    split: Option<String>,
    summaries: [Summary; 2],
    choice: i64,
    #[serde(default)]
    extra: Extra,
}

#[derive(Deserialize)]
struct Info {
    article: Option<String>,
    post: Option<String>,
}

#[derive(Deserialize)]
struct Summary {
    text: String,
}

#[derive(Deserialize, Default)]
struct Extra {
    confidence: Option<f64>,
}

/// A text, and what people preferred.
struct Comparison {
    /// Null is a text of its own.
    text: Option<String>,
    better: String,
    worse: String,
}

/// `hf_summary_pairs`: every text with the summary that won.
pub(crate) fn pairs(context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    load("HFSummaryPairs", context, |comparisons| {
        comparisons.into_iter().map(|it| (shown(it.text), it.better)).collect()
    })
}

/// `hf_summary`: every text with that of its summaries which won most often; as often as it was compared, since the
/// reference's check for repetitions looks in the wrong place.
pub(crate) fn best(context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    load("HFSummary", context, |comparisons| {
        let mut wins: HashMap<Option<&str>, Vec<(&str, usize)>> = HashMap::new();
        for Comparison { text, better, worse } in &comparisons {
            let wins = wins.entry(text.as_deref()).or_default();
            for (summary, points) in [(better, 1), (worse, 0)] {
                match wins.iter_mut().find(|(known, _)| known == summary) {
                    Some((_, n)) => *n += points,
                    None => wins.push((summary, points)),
                }
            }
        }
        let best = |text: Option<&str>| {
            // Of equals the first; `max_by_key` would take the last.
            let best = wins[&text].iter().rev().max_by_key(|(_, n)| *n);
            best.map(|(summary, _)| (*summary).to_string()).unwrap_or_default()
        };
        let best = |it: &Comparison| (shown(it.text.clone()), best(it.text.as_deref()));
        comparisons.iter().map(best).collect()
    })
}

fn load(
    label: &str,
    context: &mut Context<'_>,
    choose: impl Fn(Vec<Comparison>) -> Vec<(String, String)>,
) -> anyhow::Result<Loaded> {
    let mut n_train = 0;
    for (split, only) in [("train", None), ("validation", Some("valid1"))] {
        n_train = context.samples.len() as usize;
        let dataset = Dataset::of_reference("openai/summarize_from_feedback", "comparisons");
        let files = repository::split_files(dataset, split)?;
        let rows: Vec<(RowPlace<'_>, Row)> = context.reader.rows(&files)?;
        let is_used = |row: &Row| {
            // The reference's threshold.
            let is_sure = row.extra.confidence.is_none_or(|it| it >= -1.0);
            is_sure && only.is_none_or(|only| row.split.as_deref() == Some(only))
        };
        let (mut places, mut comparisons) = (Vec::new(), Vec::new());
        for (place, row) in rows {
            if is_used(&row) {
                places.push(place);
                comparisons.push(Comparison::of(row));
            } else {
                context.samples.drop_row(place, "not sure, or of another part");
            }
        }
        for (place, (text, answer)) in places.into_iter().zip(choose(comparisons)) {
            context.samples.push(place, &Sample::Worded { text, answer }.into())?;
        }
    }
    Ok(Loaded::divided(label, n_train).with_wordings(WORDINGS))
}

/// As Python's `format` writes it.
fn shown(text: Option<String>) -> String {
    text.unwrap_or_else(|| "None".into())
}

impl Comparison {
    fn of(row: Row) -> Self {
        let text = row.info.article.or(row.info.post);
        let [first, second] = row.summaries.map(|it| python::strip(&it.text).to_string());
        let (better, worse) = if row.choice == 0 { (first, second) } else { (second, first) };
        Self { text, better, worse }
    }
}
