//! Texts with their summaries; how the summary is asked for is drawn when a sample is written.

use serde::Deserialize;

use crate::loaders::{Context, Loaded};
use crate::sample::Sample;

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
        let mut part = |split| lists("scitldr", split, context);
        return Ok(Loaded::divided(&label, part("train")?, part("validation")?));
    }
    let (_, dataset, columns, val) = TABLE
        .iter()
        .find(|(known, ..)| *known == name)
        .ok_or_else(|| anyhow::anyhow!("`{name}` is no dataset of summaries"))?;
    let mut part = |split: &str| -> anyhow::Result<Vec<Sample>> {
        let files = context.files(dataset, None, split)?;
        let rows = context.reader.columns(&files, *columns)?;
        let sample = |[text, summary]: [Option<String>; 2]| {
            let text = text.unwrap_or_default().replace("\n\n", "\n");
            worded(&text, summary.unwrap_or_default())
        };
        Ok(rows.into_iter().map(sample).collect())
    };
    match val {
        Some(val) => Ok(Loaded::divided(&label, part("train")?, part(val)?)),
        None => Ok(Loaded::whole(label, part("train")?)),
    }
}

/// Rows of `scitldr`: both fields are lists of sentences.
fn lists(dataset: &str, split: &str, context: &mut Context<'_>) -> anyhow::Result<Vec<Sample>> {
    #[derive(Deserialize)]
    struct Row {
        source: Vec<String>,
        target: Vec<String>,
    }
    let files = context.files(dataset, None, split)?;
    let rows: Vec<Row> = context.reader.rows(&files)?;
    let sample = |row: Row| worded(&row.source.join(" "), row.target.join(" "));
    Ok(rows.into_iter().map(sample).collect())
}

/// The text is cut behind its 512th word, where words are what stands between single blanks.
fn worded(text: &str, answer: String) -> Sample {
    let end = text.match_indices(' ').nth(511).map_or(text.len(), |(at, _)| at);
    Sample::Worded { wordings: WORDINGS, text: text[..end].to_string(), answer }
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
