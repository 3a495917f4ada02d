//! Texts with their summaries; how the summary is asked for is drawn when a sample is written.

use serde::Deserialize;

use crate::loaders::coerced::{Formatted, Text};
use crate::loaders::{Context, Loaded, Made};
use crate::piece::Piece;
use crate::sample::Sample;
use crate::source::{Dataset, RowPlace};

/// Ways to ask, appended to the text without a blank.
const WORDINGS: &[&str] = &["{}TL;DR:", "{}Summarize this", "{}Give me the summary"];

/// The datasets: name, folder, fields of text and summary, split to validate on.
const TABLE: &[(&str, &str, [&str; 2], Option<&str>)] = &[
    ("xsum", "xsum", ["document", "summary"], Some("validation")),
    ("samsum", "samsum", ["dialogue", "summary"], Some("validation")),
    ("multi_news", "multi_news", ["document", "summary"], Some("validation")),
    ("billsum", "billsum", ["text", "summary"], Some("test")),
    ("cnn_dailymail", "cnn_dailymail", ["article", "highlights"], Some("validation")),
    ("tldr_news", "JulesBelveze/tldr_news", ["content", "headline"], Some("test")),
    ("debate_sum", "Hellisotherpeople/DebateSum", ["Full-Document", "Extract"], None),
];

/// Loads one of the table, or `scitldr`.
pub(crate) fn load(name: &str, context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    let label = format!("SummarizationDataset ({name})");
    if name == "scitldr" {
        lists("train", context)?;
        let n_train = context.samples.len() as usize;
        lists("validation", context)?;
        return Ok(Loaded::divided(label, n_train).with_wordings(WORDINGS));
    }
    let (_, dataset, columns, val) = TABLE
        .iter()
        .find(|(known, ..)| *known == name)
        .ok_or_else(|| anyhow::anyhow!("`{name}` is no dataset of summaries"))?;
    let mut part = |split: &str| -> anyhow::Result<usize> {
        // The only one of the table of which the reference names a configuration.
        let dataset = match *dataset {
            "cnn_dailymail" => Dataset::of_reference(dataset, "3.0.0"),
            dataset => dataset.into(),
        };
        let files = context.files(dataset, None, split)?;
        let piece = |[text, summary]: [Option<Text>; 2]| {
            let text = text.map(String::from).unwrap_or_default().replace("\n\n", "\n");
            // A summary is written as Python's `format` writes it.
            Ok(Piece::from(worded(&text, Formatted::from(summary).0)))
        };
        let take = |place: RowPlace<'_>, piece| context.samples.push(place, &piece).map(drop);
        context.reader.for_each_columns(&files, *columns, piece, take)?;
        Ok(context.samples.len() as usize)
    };
    let n_train = part("train")?;
    let loaded = match val {
        Some(val) => {
            part(val)?;
            Loaded::divided(label, n_train)
        }
        None => Loaded::whole(label),
    };
    Ok(loaded.with_wordings(WORDINGS))
}

/// Rows of `scitldr`: both fields are lists of sentences.
fn lists(split: &str, context: &mut Context<'_>) -> anyhow::Result<()> {
    #[derive(Deserialize)]
    struct Row {
        source: Vec<String>,
        target: Vec<String>,
    }
    let files = context.files(Dataset::of_reference("scitldr", "AIC"), None, split)?;
    context.each(&files, |row: Row| {
        Ok(Made::Sample(worded(&row.source.join(" "), row.target.join(" "))))
    })
}

/// The text is cut behind its 512th word, where words are what stands between single blanks.
fn worded(text: &str, answer: String) -> Sample {
    let end = text.match_indices(' ').nth(511).map_or(text.len(), |(at, _)| at);
    Sample::Worded { text: text[..end].to_string(), answer }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_behind_its_512th_word() {
        let words = |n: usize| vec!["w"; n].join(" ");
        for (n, kept) in [(511, 511), (512, 512), (513, 512)] {
            let Sample::Worded { text, .. } = worded(&words(n), String::new()) else { panic!() };
            assert_eq!(text, words(kept));
        }
    }
}
