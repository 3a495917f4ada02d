//! The instruction datasets: a question and an answer per row, filtered, and joined to longer conversations on request.

use anyhow::anyhow;
use shards::rng::PythonRandom;

use crate::config::FileNames;
use crate::config::names::INSTRUCTION;
use crate::config::sources::Instruction;
use crate::loaders::{Context, Loaded, word_filter};
use crate::python;
use crate::sample::Sample;

/// Loads the dataset of this lower-case name.
pub(crate) fn load(
    name: &str,
    keys: &Instruction,
    context: &mut Context<'_>,
) -> anyhow::Result<Loaded> {
    let (_, dataset, file, columns) = INSTRUCTION
        .iter()
        .find(|(known, ..)| *known == name)
        .ok_or_else(|| anyhow!("`{name}` is no instruction dataset"))?;
    let named = keys.data_files.as_ref().map(|FileNames(names)| names.clone());
    let named = named.or_else(|| file.map(|file| vec![file.to_string()]));
    let dataset = keys.dataset_path.as_deref().unwrap_or(dataset);
    let files = context.files(dataset, named.as_deref(), "train")?;
    let question = keys.instruction_column.as_deref().unwrap_or(columns[0]);
    let answer = keys.response_column.as_deref().unwrap_or(columns[1]);
    let mut rows = context.reader.columns(&files, [question, answer])?;
    // The reference shuffles always, with a stream of its own.
    PythonRandom::new(keys.seed.unwrap_or(42)).shuffle(&mut rows);

    let (mut empty, mut refused) = (0, 0);
    let pairs = rows.into_iter().filter_map(|row| match row {
        [Some(question), Some(answer)]
            if !python::strip(&question).is_empty() && !python::strip(&answer).is_empty() =>
        {
            let accepted = word_filter::accepts(&question) && word_filter::accepts(&answer);
            refused += usize::from(!accepted);
            accepted.then_some((question, answer))
        }
        _ => {
            empty += 1;
            None
        }
    });
    let samples = fill(pairs, keys.fill_min_length);
    let label = format!("InstructionDataset ({name})");
    Ok(Loaded::whole(label, samples).dropping("empty", empty).dropping("word filter", refused))
}

/// Joins pairs until a conversation has more characters than asked for; the last one may have fewer.
fn fill(pairs: impl Iterator<Item = (String, String)>, min_length: Option<usize>) -> Vec<Sample> {
    let mut samples = Vec::new();
    let (mut group, mut length) = (Vec::new(), 0);
    for (question, answer) in pairs {
        length += python::len(&question) + python::len(&answer);
        group.push((question, answer));
        if min_length.is_none_or(|min_length| min_length < length) {
            samples.push(Sample::dialogue(std::mem::take(&mut group)));
            length = 0;
        }
    }
    if !group.is_empty() {
        samples.push(Sample::dialogue(group));
    }
    samples
}
