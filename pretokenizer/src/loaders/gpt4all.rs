//! `gpt4all`: single questions first, whole conversations then.

use anyhow::bail;
use serde::Deserialize;

use crate::config::FileNames;
use crate::loaders::coerced::needed;
use crate::loaders::{Context, Loaded, Made, word_filter};
use crate::python;
use crate::sample::Sample;

#[derive(Deserialize)]
struct Single {
    prompt: String,
    response: Option<String>,
}

#[derive(Deserialize)]
struct Multi {
    conversation: Vec<Line>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Line {
    user: Option<String>,
    bot: Option<String>,
}

/// Loads it.
pub(crate) fn load(context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    let file =
        |name| context.files("Nebulous/gpt4all_pruned", Some(&FileNames::one(name)), "train");
    let single = file("data_singleround_pruned_3.jsonl")?;
    let multi = file("data_multiround_pruned_3.jsonl")?;
    let made = |sample: Option<Sample>| {
        sample.map_or(Made::Dropped("begins with the bot, or word filter"), Made::Sample)
    };
    let accepts = |text: &str| !text.is_empty() && word_filter::accepts(text);
    context.each(&single, |row: Single| {
        if !accepts(&row.prompt) {
            return Ok(made(None));
        }
        let response = needed(row.response, "response")?;
        let accepted = accepts(&response);
        Ok(made(accepted.then(|| Sample::dialogue([(row.prompt, response)]))))
    })?;
    context.each(&multi, |row: Multi| {
        let sample = turns(row.conversation)?.map(Sample::alternating);
        Ok(made(sample))
    })?;
    Ok(Loaded::whole("Gpt4All"))
}

/// The turns of a conversation; consecutive lines of one speaker are one turn.
fn turns(lines: Vec<Line>) -> anyhow::Result<Option<Vec<String>>> {
    if lines.first().is_none_or(|line| line.bot.is_some()) {
        return Ok(None);
    }
    let mut turns: Vec<String> = Vec::new();
    let mut last_is_bot = None;
    for line in lines {
        let said = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        if said(&line.user) && said(&line.bot) {
            bail!("a line of a conversation has both `User` and `Bot`, expected one of them");
        }
        let is_bot = line.user.is_none();
        let Some(text) = line.user.or(line.bot) else { continue };
        if !word_filter::accepts(&text) {
            return Ok(None);
        }
        let text = python::strip(&text);
        match turns.last_mut() {
            Some(turn) if last_is_bot == Some(is_bot) => {
                turn.push('\n');
                turn.push_str(text);
            }
            _ => turns.push(text.to_string()),
        }
        last_is_bot = Some(is_bot);
    }
    Ok(Some(turns))
}
