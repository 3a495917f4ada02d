//! `orca-chat` and `bestofmegacode`: conversations that were joined from single instructions.
//!
//! Two schemas are published for orca, and the row says which it has: `conversation` is a list of items (orca-chat:
//! all of them are used), or `conversation` or `cluster` holds `samples` (orca-best: the first `rows_per_conv` of
//! them, one by default).

use std::fmt;
use std::path::Path;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::config::sources::{BestOfMegacode, OrcaChat};
use crate::config::{FileNames, Key};
use crate::loaders::coerced::Text;
use crate::loaders::{Context, Loaded, Made};
use crate::sample::Sample;
use crate::source::repository;

/// `orca-chat`.
pub(crate) fn chat(keys: &OrcaChat, context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    let named = keys.data_files.as_ref().and_then(Key::value);
    let dataset = match &keys.hf_dataset_name {
        Some(name) => name.as_str(),
        None => default_dataset(named),
    };
    // Only orca-chat has several files, of which the reference names one; in other folders all of the split count.
    let default_file = (dataset == ORCA_CHAT).then(|| FileNames::one("orca-chat-gpt4.json"));
    let named = Key::argument(keys.data_files.as_ref(), default_file);
    let files = context.files(dataset, named.as_ref(), "train")?;
    let rows_per_conv = Key::argument(keys.rows_per_conv.as_ref(), Some(1));
    context.each(&files, |row: Row<InputOutput>| {
        let turns = row.turns.take(rows_per_conv);
        let sample = Sample::dialogue(turns.map(|it| (it.input, it.output)));
        Ok(Made::Sample(sample.with_system(row.instruction.map(String::from))))
    })?;
    Ok(Loaded::whole("OrcaChat (orca-chat)"))
}

/// `bestofmegacode`.
pub(crate) fn megacode(keys: &BestOfMegacode, context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    let dataset = keys.hf_dataset_name.as_deref().unwrap_or("shahules786/megacode-best");
    let named = keys.data_files.as_ref().and_then(Key::value);
    let files = context.files(dataset, named, "train")?;
    let rows_per_conv = Key::argument(keys.rows_per_conv.as_ref(), Some(1));
    context.each(&files, |row: Row<UserAssistant>| {
        let turns = row.turns.take(rows_per_conv);
        Ok(Made::Sample(Sample::dialogue(turns.map(|it| (it.user, it.assistant)))))
    })?;
    Ok(Loaded::whole("BestOfMegacode (bestofmegacode)"))
}

const ORCA_BEST: &str = "shahules786/orca-best";
const ORCA_CHAT: &str = "shahules786/orca-chat";

/// The published run used orca-best; orca-chat is what the reference's main branch reads, and what has several files to
/// name.
fn default_dataset(named: Option<&FileNames>) -> &'static str {
    let has_named = |dataset: &&str| {
        let folder = Path::new(*dataset);
        named.is_some_and(|FileNames(names)| names.iter().all(|name| folder.join(name).is_file()))
    };
    let local = || [ORCA_BEST, ORCA_CHAT].into_iter().filter(|it| repository::is_local(it));
    local().find(has_named).or_else(|| local().next()).unwrap_or(ORCA_BEST)
}

/// A conversation.
#[derive(Deserialize)]
#[serde(try_from = "Fields<T>", bound = "T: Deserialize<'de>")]
struct Row<T> {
    turns: Turns<T>,
    instruction: Option<Text>,
}

/// The turns were published under two names. A table that has both columns has null in one of them.
#[derive(Deserialize)]
struct Fields<T> {
    conversation: Option<Turns<T>>,
    cluster: Option<Turns<T>>,
    instruction: Option<Text>,
}

impl<T> TryFrom<Fields<T>> for Row<T> {
    type Error = &'static str;

    fn try_from(fields: Fields<T>) -> Result<Self, Self::Error> {
        let turns = fields.conversation.or(fields.cluster).ok_or("missing field `conversation`")?;
        Ok(Self { turns, instruction: fields.instruction })
    }
}

#[derive(Deserialize)]
struct InputOutput {
    input: Text,
    output: Text,
}

#[derive(Deserialize)]
struct UserAssistant {
    #[serde(rename = "USER")]
    user: Text,
    #[serde(rename = "ASSISTANT")]
    assistant: Text,
}

/// The items of a row, in one of the two schemas.
enum Turns<T> {
    /// A list of items.
    All(Vec<T>),
    /// An object with `samples`.
    Samples(Vec<T>),
}

impl<T> Turns<T> {
    /// All items of a list, or the first ones of the samples.
    fn take(self, rows_per_conv: Option<usize>) -> impl Iterator<Item = T> {
        let (items, n) = match self {
            Self::All(items) => (items, None),
            Self::Samples(items) => (items, rows_per_conv),
        };
        items.into_iter().take(n.unwrap_or(usize::MAX))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Turns<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = Turns<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of turns, or an object with `samples`")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(items)).map(Turns::All)
            }

            fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Self::Value, A::Error> {
                #[derive(Deserialize)]
                struct Object<T> {
                    samples: Vec<T>,
                }
                let object = Object::deserialize(MapAccessDeserializer::new(object))?;
                Ok(Turns::Samples(object.samples))
            }
        }
        deserializer.deserialize_any(Either(std::marker::PhantomData))
    }
}
