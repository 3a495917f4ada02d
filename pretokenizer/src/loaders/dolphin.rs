//! `dolphin-mix`: rows with the same instruction are joined to conversations.

use std::collections::{BTreeMap, HashMap};

use anyhow::bail;
use serde::Deserialize;
use shards::rng::NumpyGenerator;

use crate::config::sources::DolphinMix;
use crate::config::{FileNames, Key};
use crate::documents::{Documents, Joined};
use crate::loaders::{Context, Loaded};
use crate::piece::Piece;
use crate::python;
use crate::sample::Sample;
use crate::source::typed;

#[derive(Deserialize)]
struct Row {
    instruction: String,
    input: String,
    output: String,
}

/// Loads it.
pub(crate) fn load(keys: &DolphinMix, context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    let file = FileNames::one("flan5m-alpaca-uncensored.jsonl");
    let named = Key::argument(keys.data_files.as_ref(), Some(file));
    let split = keys.split.as_deref().unwrap_or("train");
    let files = context.files("ehartford/dolphin", named.as_ref(), split)?;
    // A row's question and answer are a sample, and an instruction is one: conversations list what they are made of.
    let pair = |row: Row| {
        let length = python::len(&row.input) + python::len(&row.output);
        let piece = Piece::from(Sample::dialogue([(row.input, row.output)]));
        Ok((row.instruction, piece, length))
    };
    let mut instructions: HashMap<String, usize> = HashMap::new();
    let mut rows = Vec::new();
    context.reader.for_each(&files, typed(), pair, |place, (instruction, piece, length)| {
        let next = instructions.len();
        let instruction = *instructions.entry(instruction).or_insert(next);
        rows.push(Pair { sample: context.samples.push(place, &piece)?, instruction, length });
        Ok(())
    })?;
    let mut order = NumpyGenerator::new(keys.seed.unwrap_or(42)).permutation(rows.len());
    if let Some(n) = keys.num_samples.filter(|n| *n > 0) {
        if n > rows.len() {
            bail!("`num_samples: {n}` is more than the {} rows there are", rows.len());
        }
        order.truncate(n);
    }
    // Sorted by instruction; among the rows of one instruction the shuffled order stays.
    let mut by_instruction: Vec<Vec<&Pair>> = vec![Vec::new(); instructions.len()];
    for i in order {
        by_instruction[rows[i].instruction].push(&rows[i]);
    }
    let instructions: BTreeMap<String, usize> = instructions.into_iter().collect();

    let max_length = keys.max_char_len.unwrap_or(8000);
    let mut joined = Joined::default();
    for (instruction, number) in instructions {
        let pairs = &by_instruction[number];
        if pairs.is_empty() {
            continue;
        }
        let start = python::len(&instruction);
        let system = Sample::dialogue::<String, String>([]).with_system(Some(instruction));
        let system = context.samples.push_shared(&system.into())?;
        let mut length = start;
        for pair in pairs {
            if !joined.is_open() {
                joined.push(system);
            }
            length += pair.length;
            joined.push(pair.sample);
            if length >= max_length {
                joined.end();
                length = start;
            }
        }
        if joined.is_open() {
            joined.end();
        }
    }
    // The name is misspelt in the reference, and its statistics print it.
    let loaded = Loaded::whole("DolphinMix (dophin-mix)");
    Ok(loaded.with_documents(Documents::Joined(joined)))
}

/// A question with its answer.
struct Pair {
    sample: u32,
    instruction: usize,
    /// Its characters.
    length: usize,
}
