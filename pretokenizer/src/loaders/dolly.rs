//! `dolly15k` and `dolly15k_multilingual`: instructions with a passage to answer from.

use std::sync::LazyLock;

use regex::Regex;
use serde::Deserialize;

use crate::loaders::{Context, Loaded, Made, word_filter};
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
    context
        .each(&files, |row: Row| Ok(made(row.instruction, row.response, &row.metadata.context)))?;
    Ok(Loaded::whole("DatabricksDolly15k"))
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
    context.each(&files, |row: Row| Ok(made(row.instruction, row.response, &row.context)))?;
    Ok(Loaded::whole("Dolly15kMultilingual"))
}

/// The filter refuses empty texts as well.
fn made(instruction: String, response: String, context: &str) -> Made {
    let accepts = |text: &str| !text.is_empty() && word_filter::accepts(text);
    if !accepts(&instruction) || !accepts(&response) {
        return Made::Dropped("empty or word filter");
    }
    let sample = Sample::dialogue([(instruction, response)]);
    Made::Sample(sample.with_context(&without_references(context)))
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
