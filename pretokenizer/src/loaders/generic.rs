//! `messages`, `sharegpt`, `instructions` and `text`: sources whose columns the datamix names.

use anyhow::bail;
use serde_json::{Map, Value};
use shards::Role;
use text::{Conversation, Message};

use crate::config::generic::{Chat, Common, Instructions, Languages, PlainTexts, Speaker};
use crate::language::Language;
use crate::loaders::{Context, Loaded, Made};
use crate::python;
use crate::sample::Sample;
use crate::source::{BadField, locations};

type Row = Map<String, Value>;

/// `messages` and `sharegpt`: a list of messages per row.
pub(crate) fn chat(keys: &Chat, context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    load(&keys.common, context, |row| {
        let list = column(row, &keys.messages)?;
        let list =
            list.as_array().ok_or_else(|| wrong(&keys.messages, list, "a list of messages"))?;
        if !is_within(list.len(), keys.min_messages, keys.max_messages) {
            return Ok(Made::Dropped("number of messages"));
        }
        let mut conversation = Conversation { system: keys.common.system(row)?, messages: vec![] };
        for (i, message) in list.iter().enumerate() {
            let at = format!("{}[{i}]", keys.messages);
            let fields = message.as_object().ok_or_else(|| wrong(&at, message, "an object"))?;
            let speaker = field(fields, &at, &keys.role)?;
            let name = speaker
                .as_str()
                .ok_or_else(|| wrong(&format!("{at}.{}", keys.role), speaker, "a text"))?;
            let role = match keys.roles.get(name) {
                Some(Speaker::Drop) => return Ok(Made::Dropped("a role that the datamix drops")),
                Some(Speaker::Role(role)) => *role,
                None => {
                    let known: Vec<_> = keys.roles.keys().map(|it| format!("`{it}`")).collect();
                    bail!(
                        "field `{at}.{}`: the role `{name}` is none of {}\nhint: say what it is, such as `roles: {{{name}: context}}`; \
                         `drop` leaves such rows out",
                        keys.role,
                        known.join(", ")
                    );
                }
            };
            let text =
                content(field(fields, &at, &keys.content)?, &format!("{at}.{}", keys.content))?;
            match role {
                Role::System if i == 0 => conversation.system = Some(text),
                role => conversation.messages.push(Message::new(role, text)),
            }
        }
        if conversation.messages.is_empty() {
            return Ok(Made::Dropped("no messages"));
        }
        let length = conversation.messages.iter().map(|message| python::len(&message.text)).sum();
        Ok(keys.common.made(length, Sample::Conversation(conversation)))
    })
}

/// `instructions`: a question and an answer per row.
pub(crate) fn instructions(
    keys: &Instructions,
    context: &mut Context<'_>,
) -> anyhow::Result<Loaded> {
    load(&keys.common, context, |row| {
        let mut question = text(row, &keys.prompt)?;
        if let Some(input) = &keys.input {
            let input = optional_text(row, input)?.unwrap_or_default();
            if !input.is_empty() {
                question = question + &keys.separator + &input;
            }
        }
        let answer = text(row, &keys.response)?;
        if python::strip(&question).is_empty() || python::strip(&answer).is_empty() {
            return Ok(Made::Dropped("empty"));
        }
        let length = python::len(&question) + python::len(&answer);
        let sample = Sample::dialogue([(question, answer)]);
        Ok(keys.common.made(length, sample.with_system(keys.common.system(row)?)))
    })
}

/// `text`: a text per row, for language modelling.
pub(crate) fn texts(keys: &PlainTexts, context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    load(&keys.common, context, |row| {
        let text = text(row, &keys.text)?;
        if text.is_empty() {
            return Ok(Made::Dropped("empty"));
        }
        Ok(keys.common.made(python::len(&text), Sample::Text(keys.role, text)))
    })
}

fn load(
    keys: &Common,
    context: &mut Context<'_>,
    make: impl Fn(&Row) -> anyhow::Result<Made> + Sync,
) -> anyhow::Result<Loaded> {
    let files = locations::files(&keys.path, keys.config.as_deref(), &keys.split)?;
    context.each(&files, |row: Row| {
        if let Some(Languages::Column(name, languages)) = &keys.languages {
            let language = optional_text(&row, name)?;
            if language.is_none_or(|language| !languages.contains(&language)) {
                return Ok(Made::Dropped("another language"));
            }
        }
        let made = make(&row)?;
        if let Some(Languages::Detected(languages)) = &keys.languages
            && let Made::Sample(sample) = &made
        {
            match Language::of(sample.texts()) {
                None => return Ok(Made::Dropped("no language to be seen")),
                Some(language) if !languages.contains(&language) => {
                    return Ok(Made::Dropped("another language"));
                }
                Some(_) => {}
            }
        }
        Ok(made)
    })?;
    Ok(Loaded::whole(&keys.name))
}

impl Common {
    /// The system message of a row: its own, else the datamix's.
    fn system(&self, row: &Row) -> anyhow::Result<Option<String>> {
        let own = match &self.system_column {
            Some(name) => optional_text(row, name)?,
            None => None,
        };
        Ok(own.filter(|text| !text.is_empty()).or_else(|| self.default_system.clone()))
    }

    fn made(&self, n_chars: usize, sample: Sample) -> Made {
        match is_within(n_chars, self.min_chars, self.max_chars) {
            true => Made::Sample(sample),
            false => Made::Dropped("number of characters"),
        }
    }
}

fn is_within(n: usize, min: Option<usize>, max: Option<usize>) -> bool {
    min.is_none_or(|min| min <= n) && max.is_none_or(|max| n <= max)
}

/// A column that must be there.
fn column<'r>(row: &'r Row, name: &str) -> anyhow::Result<&'r Value> {
    row.get(name).ok_or_else(|| {
        let there: Vec<_> = row.keys().map(|key| format!("`{key}`")).collect();
        let there = there.join(", ");
        let what = format!("there is no column `{name}`\nhint: the columns there are: {there}");
        BadField::Missing(what).into()
    })
}

/// A field of a message that must be there.
fn field<'r>(message: &'r Row, at: &str, name: &str) -> anyhow::Result<&'r Value> {
    message.get(name).ok_or_else(|| {
        let there: Vec<_> = message.keys().map(|key| format!("`{key}`")).collect();
        let there = there.join(", ");
        let what = format!("`{at}` has no field `{name}`\nhint: the fields there are: {there}");
        BadField::Missing(what).into()
    })
}

fn text(row: &Row, name: &str) -> anyhow::Result<String> {
    content(column(row, name)?, name)
}

/// A column's text; null and no such column are no text.
fn optional_text(row: &Row, name: &str) -> anyhow::Result<Option<String>> {
    row.get(name).filter(|value| !value.is_null()).map(|value| content(value, name)).transpose()
}

/// A text, or OpenAI's list of parts that are texts.
fn content(value: &Value, at: &str) -> anyhow::Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Array(parts) => {
            let texts = parts.iter().enumerate().map(|(i, part)| {
                let text = part.as_str().or_else(|| part["text"].as_str());
                text.ok_or_else(|| {
                    wrong(&format!("{at}[{i}]"), part, "a text or a part of type text")
                })
            });
            texts.collect()
        }
        other => Err(wrong(at, other, "a text")),
    }
}

fn wrong(at: &str, value: &Value, expected: &str) -> anyhow::Error {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    BadField::Wrong(format!("field `{at}`: found {found}, expected {expected}")).into()
}
