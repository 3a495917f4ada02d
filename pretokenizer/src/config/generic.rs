//! The keys of `messages`, `sharegpt`, `instructions` and `text`, checked.

use std::collections::BTreeMap;

use shards::Role;

use crate::config::key;
use crate::config::sources::{Messages, PromptResponse, Text};
use crate::language::Language;

/// What all of them have.
#[derive(Debug, Clone, PartialEq)]
pub struct Common {
    /// The name in statistics and messages.
    pub name: String,
    /// Where the rows are.
    pub path: Vec<String>,
    /// Which configuration of a dataset that has several.
    pub config: Option<String>,
    /// The split of a folder or dataset.
    pub split: String,
    /// The column with the system message.
    pub system_column: Option<String>,
    /// The system message of rows that have none.
    pub default_system: Option<String>,
    /// The languages that are used.
    pub languages: Option<Languages>,
    /// Fewer characters than this, and the row is left out.
    pub min_chars: Option<usize>,
    /// More characters than this, and the row is left out.
    pub max_chars: Option<usize>,
}

/// The languages of a source that are used.
#[derive(Debug, Clone, PartialEq)]
pub enum Languages {
    /// Those of which this column has one of these names.
    Column(String, Vec<String>),
    /// Those that their texts are guessed to be in.
    Detected(Vec<Language>),
}

/// What becomes of a message with some role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// It has this role.
    Role(Role),
    /// Its row is left out.
    Drop,
}

/// A list of messages per row.
#[derive(Debug, Clone, PartialEq)]
pub struct Chat {
    /// What all have.
    pub common: Common,
    /// The column with the list.
    pub messages: String,
    /// The field of a message that says who speaks.
    pub role: String,
    /// The field with the text.
    pub content: String,
    /// What the roles in the file are.
    pub roles: BTreeMap<String, Speaker>,
    /// Fewer messages than this, and the row is left out.
    pub min_messages: Option<usize>,
    /// More messages than this, and the row is left out.
    pub max_messages: Option<usize>,
}

/// A question and an answer per row.
#[derive(Debug, Clone, PartialEq)]
pub struct Instructions {
    /// What all have.
    pub common: Common,
    /// The column with the question.
    pub prompt: String,
    /// A column with what the question is about.
    pub input: Option<String>,
    /// What stands between the two.
    pub separator: String,
    /// The column with the answer.
    pub response: String,
}

/// A text per row.
#[derive(Debug, Clone, PartialEq)]
pub struct PlainTexts {
    /// What all have.
    pub common: Common,
    /// The column with the text.
    pub text: String,
    /// The role of all of it.
    pub role: Role,
}

/// The columns of a kind of chat, and its words for the roles.
struct Schema {
    messages: &'static str,
    role: &'static str,
    content: &'static str,
    roles: &'static [(&'static str, Role)],
}

const OPENAI: Schema = Schema {
    messages: "messages",
    role: "role",
    content: "content",
    roles: &[
        ("system", Role::System),
        ("developer", Role::System),
        ("user", Role::User),
        ("assistant", Role::Assistant),
    ],
};

const SHARE_GPT: Schema = Schema {
    messages: "conversations",
    role: "from",
    content: "value",
    roles: &[
        ("system", Role::System),
        ("human", Role::User),
        ("user", Role::User),
        ("gpt", Role::Assistant),
        ("chatgpt", Role::Assistant),
        ("bing", Role::Assistant),
        ("bard", Role::Assistant),
        ("assistant", Role::Assistant),
    ],
};

/// Reads the keys of a source; the message says which of them is missing or wrong.
macro_rules! common {
    ($keys:ident, $system:expr) => {{
        let (system_column, default_system) = $system;
        Common {
            name: $keys.name.clone().ok_or("`name` is missing: statistics need one")?,
            path: $keys
                .path
                .clone()
                .ok_or("`path` is missing: a file, a pattern, a folder or a dataset")?
                .0,
            config: $keys.config.clone(),
            split: $keys.split.clone().unwrap_or_else(|| "train".into()),
            system_column,
            default_system,
            languages: Languages::of(
                $keys.lang.as_ref(),
                $keys.lang_column.as_ref(),
                $keys.detect_lang.unwrap_or(false),
            )?,
            min_chars: $keys.min_chars,
            max_chars: $keys.max_chars,
        }
    }};
}

impl Languages {
    fn of(
        lang: Option<&key::Languages>,
        column: Option<&String>,
        is_detected: bool,
    ) -> Result<Option<Self>, String> {
        match (lang, column, is_detected) {
            (None, None, false) => Ok(None),
            (Some(lang), Some(column), false) => {
                Ok(Some(Self::Column(column.clone(), lang.0.clone())))
            }
            (Some(lang), None, true) => {
                let languages = lang.0.iter().map(|name| Language::named(name));
                let languages = languages.collect::<Result<_, _>>();
                languages.map(|it| Some(Self::Detected(it))).map_err(|what| format!("`lang`: {what}"))
            }
            (_, Some(_), true) => Err("`lang_column` and `detect_lang` do not go together: a column says the language, or it is guessed".into()),
            (None, Some(_), false) => {
                Err("`lang_column` needs `lang`, such as `lang: [en, de]`".into())
            }
            (None, None, true) => {
                Err("`detect_lang` needs `lang`, such as `lang: [en, de]`".into())
            }
            (Some(_), None, false) => Err("`lang` needs `lang_column`, the column that says the language, or `detect_lang: true`".into()),
        }
    }
}

impl Chat {
    /// Of OpenAI's schema.
    pub fn messages(keys: &Messages) -> Result<Self, String> {
        Self::of(keys, &OPENAI)
    }

    /// Of ShareGPT's schema.
    pub fn share_gpt(keys: &Messages) -> Result<Self, String> {
        Self::of(keys, &SHARE_GPT)
    }

    fn of(keys: &Messages, schema: &Schema) -> Result<Self, String> {
        let or =
            |key: &Option<String>, default: &str| key.clone().unwrap_or_else(|| default.into());
        let mut roles: BTreeMap<String, Speaker> = schema
            .roles
            .iter()
            .map(|(name, role)| ((*name).to_owned(), Speaker::Role(*role)))
            .collect();
        for (name, role) in keys.roles.iter().flatten() {
            let speaker = match role.as_str() {
                "drop" => Speaker::Drop,
                role => Speaker::Role(role_named(role)?),
            };
            roles.insert(name.clone(), speaker);
        }
        Ok(Self {
            common: common!(keys, (keys.system.clone(), keys.default_system.clone())),
            messages: or(&keys.messages, schema.messages),
            role: or(&keys.role, schema.role),
            content: or(&keys.content, schema.content),
            roles,
            min_messages: keys.min_messages,
            max_messages: keys.max_messages,
        })
    }
}

impl Instructions {
    /// Checks the keys.
    pub fn of(keys: &PromptResponse) -> Result<Self, String> {
        Ok(Self {
            common: common!(keys, (keys.system.clone(), keys.default_system.clone())),
            prompt: keys.prompt.clone().unwrap_or_else(|| "instruction".into()),
            input: keys.input.clone(),
            separator: keys.separator.clone().unwrap_or_else(|| "\n\n".into()),
            response: keys.response.clone().unwrap_or_else(|| "output".into()),
        })
    }
}

impl PlainTexts {
    /// Checks the keys.
    pub fn of(keys: &Text) -> Result<Self, String> {
        Ok(Self {
            common: common!(keys, (None, None)),
            text: keys.text.clone().unwrap_or_else(|| "text".into()),
            role: keys.role.as_deref().map_or(Ok(Role::Assistant), role_named)?,
        })
    }
}

fn role_named(name: &str) -> Result<Role, String> {
    let role = Role::ALL.into_iter().find(|role| role.name() == name);
    role.ok_or_else(|| format!("`{name}` is no role: expected `system`, `user`, `assistant`, `context`, or in `roles` also `drop`"))
}
