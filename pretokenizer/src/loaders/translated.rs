//! `oa_translated`: rounds of translated conversations.
//!
//! The reference puts three texts into each sample - what came before, the question, the answer - and its alternation
//! makes user, assistant and user of them. The bytes are kept; nobody should want this dataset.

use cli::{BadInput, bail_input};
use serde::Deserialize;

use crate::loaders::coerced::Formatted;
use crate::loaders::{Context, Loaded, local};
use crate::sample::Sample;
use crate::source::typed;

#[derive(Deserialize)]
struct Row {
    text: String,
    translate: Vec<Round>,
}

#[derive(Deserialize)]
struct Round {
    round: f64,
    human: Formatted,
    answer: Formatted,
}

/// Loads all `*.jsonl` files of the folder, by name.
pub(crate) fn load(context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    let folder = local(context.data_path.join("oa_translated"), "a folder of `*.jsonl` files")?;
    let mut files = Vec::new();
    for entry in fs_err::read_dir(&folder).bad_input()? {
        let path = entry.bad_input()?.path();
        // Python's glob passes over hidden files.
        let is_hidden = path.file_name().is_some_and(|it| it.as_encoded_bytes().starts_with(b"."));
        if !is_hidden && path.extension().is_some_and(|it| it == "jsonl") {
            files.push(path);
        }
    }
    if files.is_empty() {
        bail_input!("{}: there is no `*.jsonl` file in this folder", folder.display());
    }
    files.sort();
    context.reader.for_each(&files, typed(), Ok, |place, row: Row| {
        if row.text.contains("Python ") {
            context.samples.drop_row(place, "about Python");
            return Ok(());
        }
        if row.translate.is_empty() {
            context.samples.drop_row(place, "empty");
        }
        let mut before = String::new();
        for Round { round, human: Formatted(human), answer: Formatted(answer) } in row.translate {
            let shown = if round > 2.0 { before.clone() } else { String::new() };
            before += &format!("Question:{human}Answer:{answer}");
            context.samples.push(place, &Sample::alternating([shown, human, answer]).into())?;
        }
        Ok(())
    })?;
    Ok(Loaded::whole("TranslatedQA (oa_translated)"))
}
