//! `orca-chat` and `bestofmegacode`: conversations that were joined from single instructions.
//!
//! Two schemas are published for orca, and the row says which it has: `conversation` is a list of items (orca-chat:
//! all of them are used), or `conversation` or `cluster` holds `samples` (orca-best: the first `rows_per_conv` of
//! them, one by default).

use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::config::FileNames;
use crate::config::sources::{BestOfMegacode, OrcaChat};
use crate::loaders::coerced::Text;
use crate::loaders::{Context, Loaded, Made};
use crate::sample::Sample;
use crate::source::repository;

/// `orca-chat`.
pub(crate) fn chat(keys: &OrcaChat, context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    #[derive(Deserialize)]
    struct Row {
        #[serde(alias = "cluster")]
        conversation: Turns<InputOutput>,
        instruction: Option<Text>,
    }
    let dataset = match &keys.hf_dataset_name {
        Some(name) => name.as_str(),
        None => default_dataset(),
    };
    // Only orca-chat has several files, of which the reference names one; in other folders all of the split count.
    let default_file = (dataset == ORCA_CHAT).then(|| vec!["orca-chat-gpt4.json".to_string()]);
    let named = keys.data_files.as_ref().map(|FileNames(names)| names.clone()).or(default_file);
    let files = context.files(dataset, named.as_deref(), "train")?;
    let rows_per_conv = keys.rows_per_conv.unwrap_or(1);
    context.each(&files, |row: Row| {
        let turns = row.conversation.take(rows_per_conv);
        let sample = Sample::dialogue(turns.map(|it| (it.input, it.output)));
        Ok(Made::Sample(sample.with_system(row.instruction.map(String::from))))
    })?;
    Ok(Loaded::whole("OrcaChat (orca-chat)"))
}

/// `bestofmegacode`.
pub(crate) fn megacode(keys: &BestOfMegacode, context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    #[derive(Deserialize)]
    struct Row {
        #[serde(alias = "cluster")]
        conversation: Turns<UserAssistant>,
    }
    let dataset = keys.hf_dataset_name.as_deref().unwrap_or("shahules786/megacode-best");
    let named = keys.data_files.as_ref().map(|FileNames(names)| names.as_slice());
    let files = context.files(dataset, named, "train")?;
    let rows_per_conv = keys.rows_per_conv.unwrap_or(1);
    context.each(&files, |row: Row| {
        let turns = row.conversation.take(rows_per_conv);
        Ok(Made::Sample(Sample::dialogue(turns.map(|it| (it.user, it.assistant)))))
    })?;
    Ok(Loaded::whole("BestOfMegacode (bestofmegacode)"))
}

const ORCA_BEST: &str = "shahules786/orca-best";
const ORCA_CHAT: &str = "shahules786/orca-chat";

/// The published run used orca-best; orca-chat is what the reference's main branch reads.
fn default_dataset() -> &'static str {
    if !repository::is_local(ORCA_BEST) && repository::is_local(ORCA_CHAT) {
        ORCA_CHAT
    } else {
        ORCA_BEST
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
    fn take(self, rows_per_conv: usize) -> impl Iterator<Item = T> {
        let (items, n) = match self {
            Self::All(items) => (items, usize::MAX),
            Self::Samples(items) => (items, rows_per_conv),
        };
        items.into_iter().take(n)
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
