//! The instruction datasets: a question and an answer per row, filtered, and joined to longer conversations on request.

use anyhow::anyhow;
use shards::rng::PythonRandom;

use crate::config::names::INSTRUCTION;
use crate::config::sources::Instruction;
use crate::config::{FileNames, Key};
use crate::documents::{Documents, Joined};
use crate::loaders::{Context, Loaded, word_filter};
use crate::piece::Piece;
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
    let file = file.map(FileNames::one);
    let named = Key::argument(keys.data_files.as_ref(), file);
    let dataset = keys.dataset_path.as_deref().unwrap_or(dataset);
    let files = context.files(dataset, named.as_ref(), "train")?;
    let question = keys.instruction_column.as_deref().unwrap_or(columns[0]);
    let answer = keys.response_column.as_deref().unwrap_or(columns[1]);
    let judged = |row: [Option<String>; 2]| {
        Ok(match row {
            [Some(question), Some(answer)]
                if !python::strip(&question).is_empty() && !python::strip(&answer).is_empty() =>
            {
                if word_filter::accepts(&question) && word_filter::accepts(&answer) {
                    let length = python::len(&question) + python::len(&answer);
                    Ok((Piece::from(Sample::dialogue([(question, answer)])), length))
                } else {
                    Err("word filter")
                }
            }
            _ => Err("empty"),
        })
    };
    let mut rows = Vec::new();
    context.reader.for_each_columns(&files, [question, answer], judged, |place, judged| {
        match judged {
            Ok((piece, length)) => rows.push(Some((context.samples.push(place, &piece)?, length))),
            Err(reason) => {
                context.samples.drop_row(place, reason);
                rows.push(None);
            }
        }
        Ok(())
    })?;
    // The reference shuffles always, with a stream of its own, and all rows, those that it then leaves out as well.
    PythonRandom::new(keys.seed.unwrap_or(42)).shuffle(&mut rows);
    let pairs = rows.into_iter().flatten();
    let documents = match keys.fill_min_length {
        None => Documents::Listed(pairs.map(|(sample, _)| sample).collect()),
        Some(min_length) => Documents::Joined(fill(pairs, min_length)),
    };
    Ok(Loaded::whole(format!("InstructionDataset ({name})")).with_documents(documents))
}

/// Joins pairs until a conversation has more characters than asked for; the last one may have fewer.
fn fill(pairs: impl Iterator<Item = (u32, usize)>, min_length: usize) -> Joined {
    let (mut joined, mut total) = (Joined::default(), 0);
    for (sample, length) in pairs {
        total += length;
        joined.push(sample);
        if min_length < total {
            joined.end();
            total = 0;
        }
    }
    if joined.is_open() {
        joined.end();
    }
    joined
}
