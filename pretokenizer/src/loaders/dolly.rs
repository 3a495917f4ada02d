//! `dolly15k` and `dolly15k_multilingual`: instructions with a passage to answer from.

use std::sync::LazyLock;

use regex::Regex;
use serde::Deserialize;

use crate::loaders::{Context, Loaded, word_filter};
use crate::sample::Sample;

/// `dolly15k`.
pub(crate) fn english(context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    #[derive(Deserialize)]
    #[serde(rename_all = "UPPERCASE")]
    struct Row {
        instruction: String,
        response: String,
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "UPPERCASE")]
    struct Metadata {
        context: String,
    }
    let files = context.files("OllieStanley/oa_dolly_15k", None, "train")?;
    let rows: Vec<Row> = context.reader.rows(&files)?;
    let rows = rows.into_iter().map(|row| (row.instruction, row.response, row.metadata.context));
    Ok(samples("DatabricksDolly15k", rows))
}

/// `dolly15k_multilingual`: four languages, one after the other.
pub(crate) fn multilingual(context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    #[derive(Deserialize)]
    struct Row {
        instruction: String,
        response: String,
        context: String,
    }
    let mut files = Vec::new();
    for language in ["en", "de", "es", "fr"] {
        let dataset = "argilla/databricks-dolly-15k-curated-multilingual";
        files.extend(context.files(dataset, None, language)?);
    }
    let rows: Vec<Row> = context.reader.rows(&files)?;
    let rows = rows.into_iter().map(|row| (row.instruction, row.response, row.context));
    Ok(samples("Dolly15kMultilingual", rows))
}

/// Rows of instruction, response and context -> samples; the filter refuses empty texts as well.
fn samples(label: &str, rows: impl ExactSizeIterator<Item = (String, String, String)>) -> Loaded {
    let n = rows.len();
    let accepts = |text: &str| !text.is_empty() && word_filter::accepts(text);
    let samples: Vec<_> = rows
        .filter(|(instruction, response, _)| accepts(instruction) && accepts(response))
        .map(|(instruction, response, context)| {
            Sample::dialogue([(instruction, response)]).with_context(&without_references(&context))
        })
        .collect();
    let dropped = n - samples.len();
    Loaded::whole(label, samples).dropping("empty or word filter", dropped)
}

/// Takes Wikipedia's reference marks out of a passage.
fn without_references(text: &str) -> String {
    static NUMBERS: LazyLock<Regex> =
        LazyLock::new(|| pattern(r"\[\p{Nd}+(?:,[\s\x1c-\x1f]*\p{Nd}+)*\]"));
    static LETTERS: LazyLock<Regex> = LazyLock::new(|| pattern(r"\[[a-zA-Z]\]"));
    let text = NUMBERS.replace_all(text, "").replace("[citation needed]", "");
    LETTERS.replace_all(&text, "").into_owned()
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is written above")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_marks_go_in_three_passes() {
        assert_eq!(without_references("a[1]b[2, 3]c[citation needed]d[e]f[gh]"), "abcdf[gh]");
        // What the second pass uncovers, the first does not see again.
        assert_eq!(without_references("[[citation needed]1]"), "[1]");
    }
}
