//! `trivia_qa_context` and `trivia_qa_nocontext`: which of its answers a question gets, and which context, is drawn when
//! the document is written.

use serde::Deserialize;
use shards::Role;
use text::{Conversation, Message};

use crate::documents::Documents;
use crate::loaders::coerced::Formatted;
use crate::loaders::{Context, Loaded};
use crate::piece::Piece;
use crate::sample::Sample;
use crate::source::{Dataset, repository, typed};

#[derive(Deserialize)]
struct Row {
    question: Formatted,
    answer: Answer,
    #[serde(default)]
    search_results: SearchResults,
}

#[derive(Deserialize)]
struct Answer {
    aliases: Vec<Formatted>,
}

#[derive(Deserialize, Default)]
struct SearchResults {
    #[serde(default)]
    search_context: Vec<String>,
}

/// Loads the dataset, with or without what a search has found.
pub(crate) fn load(with_context: bool, context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    let mut documents = Vec::new();
    let mut n_train = 0;
    for split in ["train", "validation"] {
        n_train = documents.len();
        let config = if with_context { "rc" } else { "rc.nocontext" };
        let files = repository::split_files(Dataset::of_reference("trivia_qa", config), split)?;
        context.reader.for_each(
            &files,
            typed(),
            |row| pieces(row, with_context),
            |place, row| {
                let mut take = |pieces: Vec<Piece>| {
                    let start = context.samples.len();
                    for piece in &pieces {
                        context.samples.push(place, piece)?;
                    }
                    anyhow::Ok(start..context.samples.len())
                };
                let [questions, answers] = row;
                documents.push([take(questions)?, take(answers)?]);
                Ok(())
            },
        )?;
    }
    Ok(Loaded::divided("QADataset", n_train).with_documents(Documents::Drawn(documents)))
}

/// What to choose from: the question with each context, and the answers.
fn pieces(row: Row, with_context: bool) -> anyhow::Result<[Vec<Piece>; 2]> {
    anyhow::ensure!(
        !row.answer.aliases.is_empty(),
        "field `answer.aliases`: an empty list, expected at least one answer"
    );
    let turn = |role, text: String| {
        let messages = vec![Message::new(role, text)];
        Piece::from(Sample::Conversation(Conversation { system: None, messages }))
    };
    let contexts = row.search_results.search_context;
    let questions = match (with_context, contexts.is_empty()) {
        (false, _) => vec![row.question.0],
        (true, true) => vec![format!(" {}", row.question.0)],
        (true, false) => contexts.iter().map(|it| format!("{it} {}", row.question.0)).collect(),
    };
    let [user, assistant] = [Role::User, Role::Assistant];
    Ok([
        questions.into_iter().map(|text| turn(user, text)).collect(),
        row.answer.aliases.into_iter().map(|alias| turn(assistant, alias.0)).collect(),
    ])
}
