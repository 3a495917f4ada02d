//! One line of an export: a whole tree, or a single message.
//!
//! Files hold trees (`message_tree_id`, `prompt` with nested `replies`) or messages (`message_id`); the Hugging Face
//! datasets hold messages, a tree's depth first. Which one a row is, its fields say.

use std::borrow::Cow;
use std::fmt;

use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::loaders::coerced::{Flag, Real, Text, Whole};

/// The only state of a tree that is used.
pub const READY: &str = "ready_for_export";

/// A row.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Fields")]
pub enum Row {
    /// A tree with all its messages.
    Tree {
        /// Its name.
        id: String,
        /// Whether it is finished.
        state: Option<String>,
        /// Its messages; a tree that is not ready may have none.
        prompt: Option<Node>,
    },
    /// A message of a tree of which the others are rows of their own.
    Message {
        /// The state of its tree.
        tree_state: Option<String>,
        /// The message before it.
        parent_id: Option<String>,
        /// The message; its `replies` are rows of their own.
        node: Node,
    },
}

/// A message with the replies to it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Node {
    /// Its name.
    pub message_id: Text,
    /// What it says.
    pub text: Text,
    /// `prompter` or `assistant`.
    pub role: Text,
    /// Its language.
    pub lang: Option<Text>,
    /// Whether reviewers let it pass.
    pub review_result: Option<Flag>,
    /// Whether it was taken back.
    pub deleted: Option<Flag>,
    /// Whether a model wrote it.
    pub synthetic: Option<Flag>,
    /// Its place among its siblings, from 0.
    pub rank: Option<Whole>,
    /// What reviewers thought of it.
    pub labels: Option<Labels>,
    /// Messages that follow it.
    pub replies: Option<Vec<Node>>,
}

/// All fields that a row of either kind may have.
#[derive(Deserialize)]
struct Fields {
    message_tree_id: Option<Text>,
    tree_state: Option<Text>,
    prompt: Option<Node>,
    message_id: Option<Text>,
    parent_id: Option<Text>,
    text: Option<Text>,
    role: Option<Text>,
    lang: Option<Text>,
    review_result: Option<Flag>,
    deleted: Option<Flag>,
    synthetic: Option<Flag>,
    rank: Option<Whole>,
    labels: Option<Labels>,
}

impl TryFrom<Fields> for Row {
    type Error = String;

    fn try_from(fields: Fields) -> Result<Self, String> {
        let plain = |text: Option<Text>| text.map(|Text(text)| text);
        let state = plain(fields.tree_state);
        if let Some(message_id) = fields.message_id {
            let needed = |value: Option<Text>, field: &str| {
                value
                    .ok_or_else(|| format!("missing field `{field}` of message `{}`", message_id.0))
            };
            let node = Node {
                text: needed(fields.text, "text")?,
                role: needed(fields.role, "role")?,
                lang: fields.lang,
                review_result: fields.review_result,
                deleted: fields.deleted,
                synthetic: fields.synthetic,
                rank: fields.rank,
                labels: fields.labels,
                replies: None,
                message_id,
            };
            return Ok(Self::Message {
                tree_state: state,
                parent_id: plain(fields.parent_id),
                node,
            });
        }
        let Some(Text(id)) = fields.message_tree_id else {
            return Err(
                "missing field `message_tree_id` (a tree) or `message_id` (a message)".into()
            );
        };
        if fields.prompt.is_none() && state.as_deref() == Some(READY) {
            return Err(format!("missing field `prompt` of the tree `{id}`"));
        }
        Ok(Self::Tree { id, state, prompt: fields.prompt })
    }
}

/// The labels that reviewers gave, by name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Labels(Vec<(String, Option<f64>)>);

impl Labels {
    /// A label's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|(known, _)| known == name).and_then(|(_, value)| *value)
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Labels;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("labels by name, or lists of names and values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
                // In files, the key is a label's name; in datasets, the keys are `name` and `value`, with lists of the same
                // length.
                let mut labels = Vec::new();
                let (mut names, mut values) = (Vec::new(), Vec::new());
                while let Some(key) = map.next_key::<String>()? {
                    match map.next_value()? {
                        Label::Value(value) => labels.push((key, value)),
                        Label::List(list) if key == "name" => names = list,
                        Label::List(list) if key == "value" => values = list,
                        Label::List(_) | Label::Other => {}
                    }
                }
                for (name, value) in names.iter().filter_map(Value::as_str).zip(values) {
                    let value = Option::<Real>::deserialize(value).map_err(A::Error::custom)?;
                    labels.push((name.to_owned(), value.map(|Real(value)| value)));
                }
                Ok(Labels(labels))
            }
        }
        deserializer.deserialize_map(Either)
    }
}

/// What stands under a key of the labels.
enum Label {
    /// Of one label, its value, which may be null.
    Value(Option<f64>),
    /// The names of all labels, or their values.
    List(Vec<Value>),
    /// Nothing that is used.
    Other,
}

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsLabel;
        impl<'de> Visitor<'de> for AsLabel {
            type Value = Label;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a label, or a list")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut label: A) -> Result<Label, A::Error> {
                let mut value = None;
                while let Some(key) = label.next_key::<Cow<'de, str>>()? {
                    if key == "value" {
                        value = label.next_value::<Option<Real>>()?.map(|Real(value)| value);
                    } else {
                        label.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Label::Value(value))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Label, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Label::List)
            }

            fn visit_str<E>(self, _: &str) -> Result<Label, E> {
                Ok(Label::Other)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Label, E> {
                Ok(Label::Other)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Label, E> {
                Ok(Label::Other)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Label, E> {
                Ok(Label::Other)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Label, E> {
                Ok(Label::Other)
            }

            fn visit_unit<E>(self) -> Result<Label, E> {
                Ok(Label::Other)
            }
        }
        deserializer.deserialize_any(AsLabel)
    }
}
