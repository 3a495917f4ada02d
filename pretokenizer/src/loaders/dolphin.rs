//! `dolphin-mix`: rows with the same instruction are joined to conversations.

use std::collections::BTreeMap;

use anyhow::bail;
use serde::Deserialize;
use shards::rng::NumpyGenerator;

use crate::config::FileNames;
use crate::config::sources::DolphinMix;
use crate::loaders::{Context, Loaded};
use crate::python;
use crate::sample::Sample;

#[derive(Deserialize)]
struct Row {
    instruction: String,
    input: String,
    output: String,
}

/// Loads it.
pub(crate) fn load(keys: &DolphinMix, context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    let named = keys.data_files.as_ref().map(|FileNames(names)| names.clone());
    let named = named.unwrap_or_else(|| vec!["flan5m-alpaca-uncensored.jsonl".into()]);
    let split = keys.split.as_deref().unwrap_or("train");
    let files = context.files("ehartford/dolphin", Some(&named), split)?;
    let mut rows: Vec<Option<Row>> =
        context.reader.rows::<Row>(&files)?.into_iter().map(Some).collect();

    let mut order = NumpyGenerator::new(keys.seed.unwrap_or(42)).permutation(rows.len());
    if let Some(n) = keys.num_samples.filter(|n| *n > 0) {
        if n > rows.len() {
            bail!("`num_samples: {n}` is more than the {} rows there are", rows.len());
        }
        order.truncate(n);
    }
    // Sorted by instruction; among the rows of one instruction the shuffled order stays.
    let mut by_instruction: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for i in order {
        let row = rows[i].take().expect("a permutation names each row once");
        by_instruction.entry(row.instruction).or_default().push((row.input, row.output));
    }

    let max_length = keys.max_char_len.unwrap_or(8000);
    let mut samples = Vec::new();
    for (instruction, pairs) in by_instruction {
        let start = python::len(&instruction);
        let (mut turns, mut length) = (Vec::new(), start);
        let emit = |turns: &mut Vec<_>, samples: &mut Vec<_>| {
            let sample = Sample::dialogue(std::mem::take(turns));
            samples.push(sample.with_system(Some(instruction.clone())));
        };
        for (input, output) in pairs {
            length += python::len(&input) + python::len(&output);
            turns.push((input, output));
            if length >= max_length {
                emit(&mut turns, &mut samples);
                length = start;
            }
        }
        if !turns.is_empty() {
            emit(&mut turns, &mut samples);
        }
    }
    // The name is misspelt in the reference, and its statistics print it.
    Ok(Loaded::whole("DolphinMix (dophin-mix)", samples))
}
