//! Datasets with one question and one answer per row, taken as they are.

use serde::Deserialize;

use crate::config::sources::Summaries;
use crate::loaders::coerced::{Answer, Text};
use crate::loaders::{Context, Loaded, Made, local};
use crate::sample::Sample;

/// `gpteacher_roleplay`: a JSON file below the data folder.
pub(crate) fn roleplay(context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    #[derive(Deserialize)]
    struct Row {
        instruction: Text,
        input: Option<Text>,
        response: Answer,
    }
    let file = local(
        context.data_path.join("gpteacher_roleplay__json/gpteacher_roleplay.json"),
        "`roleplay-simple-deduped-roleplay-instruct.json` of `teknium1/GPTeacher`",
    )?;
    context.each(&[file], |row: Row| {
        let sample = Sample::dialogue([(row.instruction, row.response)]);
        Ok(Made::Sample(sample.with_context(row.input.as_ref().map_or("", |it| &it.0))))
    })?;
    Ok(Loaded::whole("GPTeacher_Roleplay"))
}

/// `joke`: a JSON lines file below the data folder.
pub(crate) fn jokes(context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    #[derive(Deserialize)]
    struct Row {
        joke: Text,
        explaination: Answer,
    }
    let file = local(
        context.data_path.join("joke_explaination.jsonl"),
        "a file with a `joke` and its `explaination` in each line",
    )?;
    context.each(&[file], |row: Row| {
        Ok(Made::Sample(Sample::dialogue([(row.joke, row.explaination)])))
    })?;
    Ok(Loaded::whole("JokeExplaination (joke)"))
}

/// `multi-chapter-summaries`.
pub(crate) fn summaries(keys: &Summaries, context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    #[derive(Deserialize)]
    struct Row {
        prompt: String,
        context: String,
        summary: Answer,
    }
    let split = keys.split.as_deref().unwrap_or("train");
    let files = context.files("shahules786/Multi-chapter-summaries", None, split)?;
    context.each(&files, |row: Row| {
        Ok(Made::Sample(Sample::dialogue([(row.prompt + &row.context, row.summary)])))
    })?;
    Ok(Loaded::whole("RAGDataset"))
}
