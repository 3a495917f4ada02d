//! `dolly15k` and `dolly15k_multilingual`: instructions with a passage to answer from.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;
use serde::Deserialize;

use crate::loaders::coerced::needed;
use crate::loaders::{Context, Loaded, Made, word_filter};
use crate::python::{DIGIT, SPACE};
use crate::sample::Sample;

/// `dolly15k`.
pub(crate) fn english(context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    #[derive(Deserialize)]
    #[serde(rename_all = "UPPERCASE")]
    struct Row {
        instruction: String,
        response: Option<String>,
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "UPPERCASE")]
    struct Metadata {
        context: String,
    }
    let files = context.files("OllieStanley/oa_dolly_15k", None, "train")?;
    context.each(&files, |row: Row| made(row.instruction, row.response, &row.metadata.context))?;
    Ok(Loaded::whole("DatabricksDolly15k"))
}

/// `dolly15k_multilingual`: four languages, one after the other.
pub(crate) fn multilingual(context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    #[derive(Deserialize)]
    struct Row {
        instruction: String,
        response: Option<String>,
        context: String,
    }
    let mut files = Vec::new();
    for language in ["en", "de", "es", "fr"] {
        let dataset = "argilla/databricks-dolly-15k-curated-multilingual";
        files.extend(context.files(dataset, None, language)?);
    }
    context.each(&files, |row: Row| made(row.instruction, row.response, &row.context))?;
    Ok(Loaded::whole("Dolly15kMultilingual"))
}

/// The filter refuses empty texts as well.
fn made(instruction: String, response: Option<String>, context: &str) -> anyhow::Result<Made> {
    let accepts = |text: &str| !text.is_empty() && word_filter::accepts(text);
    let dropped = Made::Dropped("empty or word filter");
    if !accepts(&instruction) {
        return Ok(dropped);
    }
    let response = needed(response, "response")?;
    if !accepts(&response) {
        return Ok(dropped);
    }
    let sample = Sample::dialogue([(instruction, response)]);
    Ok(Made::Sample(sample.with_context(&without_references(context))))
}

/// Takes numbers in brackets out of a text.
pub(crate) fn without_numbers(text: &str) -> Cow<'_, str> {
    static NUMBERS: LazyLock<Regex> = LazyLock::new(|| {
        let pattern = format!(r"\[{DIGIT}+(?:,[{SPACE}]*{DIGIT}+)*\]");
        Regex::new(&pattern).expect("the pattern is written here")
    });
    NUMBERS.replace_all(text, "")
}

/// Takes Wikipedia's reference marks out of a passage.
fn without_references(text: &str) -> String {
    static LETTERS: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\[[a-zA-Z]\]").expect("the pattern is written here"));
    let text = without_numbers(text).replace("[citation needed]", "");
    LETTERS.replace_all(&text, "").into_owned()
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
