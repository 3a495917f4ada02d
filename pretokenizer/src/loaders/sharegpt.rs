//! `vicuna` and `wizard_evol_instruct_v2`: conversations of ShareGPT, cleaned up and paired.

use std::sync::LazyLock;

use regex::Regex;
use serde::Deserialize;

use crate::config::sources::Cut;
use crate::config::{FileNames, Key};
use crate::loaders::{Context, Loaded};
use crate::python::{self, DIGIT, SPACE};
use crate::sample::Sample;
use crate::source::{BadField, typed};
use crate::streams::Streams;

/// What a human is made to say where the file has nothing.
const FILLERS: [&str; 4] = ["...", "Please continue", "Go on", ""];

#[derive(Deserialize)]
struct Row {
    conversations: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    from: String,
    value: Option<String>,
}

/// Loads one of the two.
pub(crate) fn load(name: &str, keys: &Cut, context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    let (dataset, file, label) = if name == "vicuna" {
        (
            "Aeala/ShareGPT_Vicuna_unfiltered",
            "ShareGPT_V4.3_unfiltered_cleaned_split.json",
            "Vicuna (vicuna)",
        )
    } else {
        (
            "ehartford/WizardLM_evol_instruct_V2_196k_unfiltered_merged_split",
            "WizardLM_evol_instruct_V2_196k_unfiltered_merged_split.json",
            "WizardEvolInstructV2",
        )
    };
    let files = context.files(dataset, Some(&FileNames::one(file)), "train")?;
    let max_length = Key::argument(keys.input_max_length.as_ref(), Some(32_768));
    context.reader.for_each(&files, typed(), Ok, |place, row: Row| {
        let pairs = match pairs(row.conversations, max_length, context.streams) {
            Ok(pairs) => pairs,
            Err(error) => return context.samples.refuse(place, error),
        };
        match pairs {
            Some(pairs) => drop(context.samples.push(place, &Sample::dialogue(pairs).into())?),
            None => context.samples.drop_row(place, "not a dialogue of questions and answers"),
        }
        Ok(())
    })?;
    Ok(Loaded::whole(label))
}

/// Questions and answers of a conversation; `None` if they do not pair up.
fn pairs(
    lines: Vec<Line>,
    max_length: Option<usize>,
    streams: &mut Streams,
) -> anyhow::Result<Option<Vec<(String, String)>>> {
    if lines.first().is_none_or(|line| line.from != "human") {
        return Ok(None);
    }
    let (mut questions, mut answers) = (Vec::new(), Vec::new());
    let mut speaker: Option<String> = None;
    let mut parts: Vec<String> = Vec::new();
    let mut close = |speaker: &str, parts: &mut Vec<String>| {
        let text = std::mem::take(parts).join("\n");
        let text = max_length.map_or(&*text, |n| python::prefix(&text, n)).to_string();
        match speaker {
            "human" => questions.push(text),
            "gpt" => answers.push(text),
            _ => {}
        }
    };
    for (i, line) in lines.into_iter().enumerate() {
        let says_nothing = line.value.as_ref().is_none_or(String::is_empty);
        let value = match (line.from.as_str(), line.value) {
            // What was drawn for this conversation stays drawn.
            ("gpt", _) if says_nothing => return Ok(None),
            ("human", _) if says_nothing => (*streams.choice(&FILLERS)).to_string(),
            (_, Some(value)) => value,
            (from, None) => {
                let what = format!(
                    "field `conversations[{i}].value`: found null as the text of `{from}`, expected a text"
                );
                return Err(BadField::Wrong(what).into());
            }
        };
        if speaker.as_ref() != Some(&line.from)
            && let Some(speaker) = speaker.replace(line.from)
        {
            close(&speaker, &mut parts);
        }
        parts.push(python::strip(&clean(&value)).to_string());
    }
    if let Some(speaker) = speaker {
        close(&speaker, &mut parts);
    }
    let paired = !questions.is_empty() && questions.len() == answers.len();
    Ok(paired.then(|| questions.into_iter().zip(answers).collect()))
}

/// Takes back the escapes of Markdown and takes out reference marks.
fn clean(text: &str) -> String {
    static MARKS: LazyLock<Regex> = LazyLock::new(|| {
        let pattern = format!(r"\[[{SPACE}]?{DIGIT}+[{SPACE}]?\]");
        Regex::new(&pattern).expect("the pattern is written here")
    });
    let text = text.replace(r"\_", "_").replace(r"\*", "*");
    MARKS.replace_all(&text, "").into_owned()
}
