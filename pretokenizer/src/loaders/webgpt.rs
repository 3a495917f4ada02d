//! `webgpt`: the better of the answers to each question.

use std::collections::HashMap;

use serde::Deserialize;

use crate::loaders::{Context, Loaded, dolly};
use crate::sample::Sample;
use crate::source::{RowPlace, typed};

#[derive(Deserialize)]
struct Row {
    question: Question,
    answer_0: String,
    answer_1: String,
    score_0: f64,
    score_1: f64,
}

#[derive(Deserialize)]
struct Question {
    full_text: String,
}

/// Loads it: a sample per question, in the order in which questions are first seen.
pub(crate) fn load(context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    let files = context.files("openai/webgpt_comparisons", None, "train")?;
    let mut place: HashMap<String, usize> = HashMap::new();
    let mut questions: Vec<Asked<'_>> = Vec::new();
    // A question's rows may stand anywhere, so all questions are held.
    context.reader.for_each(&files, typed(), Ok, |at, row: Row| {
        let answers =
            [row.answer_0, row.answer_1].map(|text| dolly::without_numbers(&text).into_owned());
        if answers.iter().any(String::is_empty) || answers[0] == answers[1] {
            context.samples.drop_row(at, "empty or equal answers");
            return Ok(());
        }
        let question = row.question.full_text;
        let i = *place.entry(question.clone()).or_insert(questions.len());
        if i == questions.len() {
            questions.push(Asked { text: question, answers: Vec::new(), rows: Vec::new() });
        }
        questions[i].rows.push(at);
        for (answer, score) in answers.into_iter().zip([row.score_0, row.score_1]) {
            let known = &mut questions[i].answers;
            // A later score replaces an earlier one of the same answer.
            match known.iter_mut().find(|(it, _)| *it == answer) {
                Some(earlier) => earlier.1 = score,
                None => known.push((answer, score)),
            }
        }
        Ok(())
    })?;
    for Asked { text, answers, rows } in questions {
        // The first of the best ones.
        let mut best = answers.into_iter();
        let first = best.next().expect("a question is noted with its answers");
        let (answer, _) = best.fold(first, |best, it| if it.1 > best.1 { it } else { best });
        let sample = context.samples.push_shared(&Sample::dialogue([(text, answer)]).into())?;
        rows.into_iter().for_each(|row| context.samples.also_of(row, sample));
    }
    Ok(Loaded::whole("WebGPT (webgpt)"))
}

/// A question, and all that was answered.
struct Asked<'f> {
    text: String,
    answers: Vec<(String, f64)>,
    rows: Vec<RowPlace<'f>>,
}
