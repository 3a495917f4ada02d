//! `alpaca`, `code_alpaca` and `alpaca_gpt4`: an instruction with an optional input.

use serde::Deserialize;
use shards::rng::TorchGenerator;

use crate::config::sources::Alpaca;
use crate::documents::Documents;
use crate::loaders::coerced::{Answer, needed};
use crate::loaders::{Context, Loaded, word_filter};
use crate::piece::Piece;
use crate::sample::Sample;
use crate::source::typed;
use crate::split;

/// `alpaca` and `code_alpaca`: divided first, filtered then.
pub(crate) fn load(name: &str, keys: &Alpaca, context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    let dataset =
        if name == "alpaca" { "yahma/alpaca-cleaned" } else { "sahil2801/CodeAlpaca-20k" };
    let files = context.files(dataset, None, "train")?;
    #[derive(Deserialize)]
    struct Row {
        instruction: Option<String>,
        input: String,
        output: Option<String>,
    }
    let piece = |row: Row| {
        // Before an input, the instruction is written as Python's `format` writes it.
        let question = match &*row.input {
            "" => needed(row.instruction, "instruction")?,
            input => row.instruction.unwrap_or_else(|| "None".into()) + "\n" + input,
        };
        if !word_filter::accepts(&question) {
            return Ok(None);
        }
        let output = needed(row.output, "output")?;
        let accepted = word_filter::accepts(&output);
        Ok(accepted.then(|| Piece::from(Sample::dialogue([(question, output)]))))
    };
    let mut samples = Vec::new();
    context.reader.for_each(&files, typed(), piece, |place, piece| {
        match piece {
            Some(piece) => samples.push(Some(context.samples.push(place, &piece)?)),
            None => {
                context.samples.drop_row(place, "word filter");
                samples.push(None);
            }
        }
        Ok(())
    })?;
    let mut generator = TorchGenerator::new(keys.manual_seed.unwrap_or(split::DEFAULT_SEED));
    let (train, val) = split::torch(samples.len(), context.val_split, &mut generator)?;
    let accepted = |rows: Vec<usize>| rows.into_iter().filter_map(|i| samples[i]);
    let mut documents: Vec<u32> = accepted(train).collect();
    let n_train = documents.len();
    documents.extend(accepted(val));
    let loaded = Loaded::divided("AlpacaBaseDataset", n_train);
    Ok(loaded.with_documents(Documents::Listed(documents)))
}

/// `alpaca_gpt4`: the separator before an input is drawn at random.
pub(crate) fn gpt4(context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    #[derive(Deserialize)]
    struct Row {
        instruction: String,
        input: String,
        output: Answer,
    }
    let files = context.files("teknium/GPT4-LLM-Cleaned", None, "train")?;
    context.reader.for_each(&files, typed(), Ok, |place, row: Row| {
        let input = row.input.to_lowercase();
        let says_nothing = ["no input", "noinput", "n/a"].iter().any(|it| input.contains(it));
        let question = if says_nothing || row.instruction.to_lowercase().contains(&input) {
            row.instruction
        } else {
            let separator = *context.streams.choice(&["\n", "\n\n", " "]);
            row.instruction + separator + &row.input
        };
        let sample = Sample::dialogue([(question, row.output)]);
        context.samples.push(place, &sample.into())?;
        Ok(())
    })?;
    Ok(Loaded::whole("AlpacaGpt4"))
}
