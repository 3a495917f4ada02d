//! Datasets with one question and one answer per row, taken as they are.

use serde::Deserialize;

use crate::config::sources::Summaries;
use crate::loaders::coerced::Text;
use crate::loaders::{Context, Loaded};
use crate::sample::Sample;

/// `gpteacher_roleplay`: a JSON file below the data folder.
pub(crate) fn roleplay(context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    #[derive(Deserialize)]
    struct Row {
        instruction: Text,
        input: Text,
        response: Text,
    }
    let file = context.data_path.join("gpteacher_roleplay__json/gpteacher_roleplay.json");
    let rows: Vec<Row> = context.reader.rows(&[file])?;
    let sample =
        |row: Row| Sample::dialogue([(row.instruction, row.response)]).with_context(&row.input.0);
    Ok(Loaded::whole("GPTeacher_Roleplay", rows.into_iter().map(sample).collect()))
}

/// `joke`: a JSON lines file below the data folder.
pub(crate) fn jokes(context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    #[derive(Deserialize)]
    struct Row {
        joke: Text,
        explaination: Text,
    }
    let file = context.data_path.join("joke_explaination.jsonl");
    let rows: Vec<Row> = context.reader.rows(&[file])?;
    let sample = |row: Row| Sample::dialogue([(row.joke, row.explaination)]);
    Ok(Loaded::whole("JokeExplaination (joke)", rows.into_iter().map(sample).collect()))
}

/// `multi-chapter-summaries`.
pub(crate) fn summaries(keys: &Summaries, context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    #[derive(Deserialize)]
    struct Row {
        prompt: String,
        context: String,
        summary: Text,
    }
    let split = keys.split.as_deref().unwrap_or("train");
    let files = context.files("shahules786/Multi-chapter-summaries", None, split)?;
    let rows: Vec<Row> = context.reader.rows(&files)?;
    let sample = |row: Row| Sample::dialogue([(row.prompt + &row.context, row.summary)]);
    Ok(Loaded::whole("RAGDataset", rows.into_iter().map(sample).collect()))
}
