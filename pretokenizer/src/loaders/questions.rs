//! Datasets of questions whose rows the reference rewrites: reading, arithmetic, instructions for the house.

use std::path::PathBuf;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::loaders::coerced::{Cell, Formatted};
use crate::loaders::{Context, Loaded, Made};
use crate::python;
use crate::sample::Sample;
use crate::source::json::Place;
use crate::source::{Dataset, repository};

/// What all of them are in the statistics.
const LABEL: &str = "QADataset";

/// Loads the dataset of this lower-case name.
pub(crate) fn load(name: &str, context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    match name {
        "squad_v2" => parts("squad_v2", ["train", "validation"], context, |row: Squad| {
            let answer = row.answers.text.into_iter().next().map(String::from);
            let answer = answer.unwrap_or_else(|| "I do not have answer for that".to_string());
            Ok((row.context + " " + &row.question, answer))
        }),
        "adversarial_qa" => {
            let dataset = Dataset::of_reference("adversarial_qa", "adversarialQA");
            parts(dataset, ["train", "validation"], context, |row: Squad| {
                let question = format!("{}. {} {}", row.title, row.context, row.question);
                Ok((question, first(row.answers.text)?))
            })
        }
        "gsm8k" => {
            let dataset = Dataset::of_reference("gsm8k", "main");
            parts(dataset, ["train", "test"], context, |row: QuestionAnswer| {
                Ok((row.question.into(), row.answer.into()))
            })
        }
        "math_qa" => parts("math_qa", ["train", "validation"], context, |row: MathQa| {
            let (reasons, _) =
                row.rationale.split_once("answer : ").unwrap_or((&row.rationale, ""));
            Ok((row.problem.into(), reasons.to_string()))
        }),
        "gsm8k_hard" => gsm8k_hard(context),
        "wikihow" => whole("b-mc2/wikihow_lists", context, |row: WikiHow| {
            Ok((row.title + ", explain step by step", row.result.into()))
        }),
        "essay_instruction" => {
            whole("ChristophSchuhmann/essays-with-instructions", context, |row: Essay| {
                let answer = python::strip(&row.titles).to_string() + "\n" + &row.essays;
                Ok((row.instructions.into(), answer))
            })
        }
        "reddit_eli5" => reddit(["train_eli5", "validation_eli5"], context),
        "reddit_askh" => reddit(["train_askh", "validation_askh"], context),
        "reddit_asks" => reddit(["train_asks", "validation_asks"], context),
        "ua_squad" => ua_squad(context),
        _ => anyhow::bail!("`{name}` is no dataset of questions"),
    }
}

/// `gsm8k_hard`: all rows are held, as one of them may decide how the results of the others are written.
fn gsm8k_hard(context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    #[derive(Deserialize)]
    struct Row {
        input: String,
        code: String,
        target: Cell,
    }
    let files = repository::split_files("reasoning-machines/gsm-hard", "train")?;
    let rows: Vec<(_, Row)> = context.reader.rows(&files)?;
    let has_reals = rows.iter().any(|(_, row)| matches!(row.target, Cell::Real(_)));
    for (place, Row { input, code, target }) in rows {
        let question = input + "\nWrite a small snippet of python code to answer this";
        let answer = format!(
            "Here's the code solution to the question\n```python\n{}\n```\n The answer should be {}",
            python::strip(&code),
            target.formatted(has_reals)
        );
        context.samples.push(place, &Sample::dialogue([(question, answer)]).into())?;
    }
    Ok(Loaded::whole(LABEL))
}

/// A part of `eli5`, whose splits are named after the forum.
fn reddit(splits: [&str; 2], context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    parts("eli5", splits, context, |row: Post| Ok((row.title.into(), first(row.answers.text)?)))
}

/// `ua_squad`: one JSON document a file, whose field `data` has the rows.
fn ua_squad(context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    let files = repository::split_files("FIdo-AI/ua-squad", "train")?;
    for file in &files {
        let document: UaSquad = context.reader.document(file)?;
        for (i, row) in document.data.into_iter().enumerate() {
            let place = context.reader.note(file, Place::Row(i + 1));
            let question = row.context + " " + &row.question;
            let answer = if row.answer.is_empty() {
                "Я не маю на це відповіді".into()
            } else {
                row.answer
            };
            context.samples.push(place, &Sample::dialogue([(question, answer)]).into())?;
        }
    }
    Ok(Loaded::whole(LABEL))
}

/// A dataset that brings its own validation split.
fn parts<'n, T: DeserializeOwned + Send>(
    dataset: impl Into<Dataset<'n>>,
    [train, val]: [&str; 2],
    context: &mut Context<'_>,
    pair: impl Fn(T) -> anyhow::Result<(String, String)> + Sync,
) -> anyhow::Result<Loaded> {
    let dataset = dataset.into();
    let train = repository::split_files(dataset, train)?;
    let val = repository::split_files(dataset, val)?;
    samples(&train, context, &pair)?;
    let n_train = context.samples.len() as usize;
    samples(&val, context, &pair)?;
    Ok(Loaded::divided(LABEL, n_train))
}

/// A dataset that the mix divides.
fn whole<T: DeserializeOwned + Send>(
    dataset: &str,
    context: &mut Context<'_>,
    pair: impl Fn(T) -> anyhow::Result<(String, String)> + Sync,
) -> anyhow::Result<Loaded> {
    let files = repository::split_files(dataset, "train")?;
    samples(&files, context, &pair)?;
    Ok(Loaded::whole(LABEL))
}

fn samples<T: DeserializeOwned + Send>(
    files: &[PathBuf],
    context: &mut Context<'_>,
    pair: &(impl Fn(T) -> anyhow::Result<(String, String)> + Sync),
) -> anyhow::Result<()> {
    context.each(files, |row| Ok(Made::Sample(Sample::dialogue([pair(row)?]))))
}

fn first(answers: Vec<Formatted>) -> anyhow::Result<String> {
    answers
        .into_iter()
        .next()
        .map(String::from)
        .ok_or_else(|| anyhow::anyhow!("a question has no answer"))
}

#[derive(Deserialize)]
struct Squad {
    #[serde(default)]
    title: String,
    context: String,
    question: String,
    answers: Answers,
}

#[derive(Deserialize)]
struct Answers {
    text: Vec<Formatted>,
}

#[derive(Deserialize)]
struct Post {
    title: Formatted,
    answers: Answers,
}

#[derive(Deserialize)]
struct UaSquad {
    data: Vec<UaQuestion>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UaQuestion {
    context: String,
    question: String,
    answer: String,
}

#[derive(Deserialize)]
struct QuestionAnswer {
    question: Formatted,
    answer: Formatted,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MathQa {
    problem: Formatted,
    rationale: String,
}

#[derive(Deserialize)]
struct WikiHow {
    title: String,
    result: Formatted,
}

#[derive(Deserialize)]
struct Essay {
    instructions: Formatted,
    titles: String,
    essays: String,
}
