//! `alpaca`, `code_alpaca` and `alpaca_gpt4`: an instruction with an optional input.

use serde::Deserialize;
use shards::rng::TorchGenerator;

use crate::config::sources::Alpaca;
use crate::loaders::{Context, Loaded, word_filter};
use crate::sample::Sample;
use crate::split;

#[derive(Deserialize)]
struct Row {
    instruction: String,
    input: String,
    output: String,
}

/// `alpaca` and `code_alpaca`: divided first, filtered then.
pub(crate) fn load(name: &str, keys: &Alpaca, context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    let dataset =
        if name == "alpaca" { "yahma/alpaca-cleaned" } else { "sahil2801/CodeAlpaca-20k" };
    let files = context.files(dataset, None, "train")?;
    let rows: Vec<Row> = context.reader.rows(&files)?;
    let mut generator = TorchGenerator::new(keys.manual_seed.unwrap_or(split::DEFAULT_SEED));
    let (train, val) = split::torch(rows.len(), context.val_split, &mut generator)?;
    let n = rows.len();
    let sample = |i: usize| {
        let row = &rows[i];
        let mut question = row.instruction.clone();
        if !row.input.is_empty() {
            question = question + "\n" + &row.input;
        }
        let accepted = word_filter::accepts(&question) && word_filter::accepts(&row.output);
        accepted.then(|| Sample::dialogue([(question, row.output.clone())]))
    };
    let train: Vec<_> = train.into_iter().filter_map(sample).collect();
    let val: Vec<_> = val.into_iter().filter_map(sample).collect();
    let dropped = n - train.len() - val.len();
    Ok(Loaded::divided("AlpacaBaseDataset", train, val).dropping("word filter", dropped))
}

/// `alpaca_gpt4`: the separator before an input is drawn at random.
pub(crate) fn gpt4(context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    let files = context.files("teknium/GPT4-LLM-Cleaned", None, "train")?;
    let rows: Vec<Row> = context.reader.rows(&files)?;
    let mut samples = Vec::with_capacity(rows.len());
    for row in rows {
        let input = row.input.to_lowercase();
        let says_nothing = ["no input", "noinput", "n/a"].iter().any(|it| input.contains(it));
        let question = if says_nothing || row.instruction.to_lowercase().contains(&input) {
            row.instruction
        } else {
            let separator = *context.streams.choice(&["\n", "\n\n", " "]);
            row.instruction + separator + &row.input
        };
        samples.push(Sample::dialogue([(question, row.output)]));
    }
    Ok(Loaded::whole("AlpacaGpt4", samples))
}
