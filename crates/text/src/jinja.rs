//! Jinja as transformers runs it over a chat: its options, functions and filters, and Python's methods on values.
//!
//! | of transformers | here |
//! |---|---|
//! | `trim_blocks`, `lstrip_blocks`, loop controls | the same |
//! | `raise_exception(text)` | [`Refusal::Raised`] |
//! | `tojson` with `ensure_ascii`, `indent`, `separators`, `sort_keys` | the same text |
//! | `{% generation %}` | marks around what the block prints |
//! | `strftime_now(format)` | the date that the caller names: a document must not depend on the day on which it is made. Without a date there is no such function, and templates that ask for it first take their own |
//! | variables | `messages`, `add_generation_prompt`, `tools` and `documents` (none), and what the caller gives: special tokens and the like |

use std::collections::BTreeMap;
use std::sync::LazyLock;

use chrono::NaiveDate;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Rest, Serde};
use minijinja::{Environment, Error, ErrorKind, State, UndefinedBehavior, Value, context};
use minijinja_contrib::pycompat::unknown_method_callback;
use regex::{Captures, Regex};

use crate::marks::GENERATED;
use crate::python_json::{self, Style};

/// The work that a template may do for one conversation, about as many instructions as it has steps to take: a second of it,
/// where real templates take some hundred instructions. What needs more would probably never end.
const FUEL: u64 = 1_000_000;

/// As much again for every message: even one that looks at all others can be made something of.
const FUEL_OF_MESSAGE: u64 = 20_000;

/// The bytes that one instruction's fuel may handle are 64, and a text is copied a few times: 32 times may be enough.
const BYTES_OF_FUEL: u64 = 2;

/// A compiled template.
#[derive(Debug)]
pub(crate) struct Jinja {
    environment: Environment<'static>,
    /// Whether it says itself what the model generates.
    pub(crate) has_generation: bool,
}

/// Why a template makes no text of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The template's own `raise_exception`.
    #[error("the chat template refuses the conversation: {0}")]
    Raised(String),
    /// The template failed.
    #[error("the chat template fails: {0}")]
    Failed(String),
    /// A message does not show up in the text.
    #[error("the chat template leaves out the text of message {message}, of the {role}")]
    LeftOut {
        /// Which message, counted from 1; a system message counts.
        message: usize,
        /// Whose it is.
        role: shards::Role,
    },
    /// It cannot be told which part of the text belongs to which message.
    #[error(
        "the chat template mixes message {message} with the next one: it cannot be told where one ends"
    )]
    Mixed {
        /// Which message, counted from 1; a system message counts.
        message: usize,
    },
    /// A message has characters by which messages are found in the text.
    #[error(
        "message {message} has a noncharacter from U+FDD0 to U+FDE3, which no text should have"
    )]
    Noncharacter {
        /// Which message, counted from 1; a system message counts.
        message: usize,
    },
}

impl Refusal {
    /// A few words without the particulars, to count by.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Raised(_) => "refused by the chat template",
            Self::Failed(_) => "the chat template fails",
            Self::LeftOut { .. } => "left out by the chat template",
            Self::Mixed { .. } => "mixed up by the chat template",
            Self::Noncharacter { .. } => "noncharacters",
        }
    }
}

/// Carries a `raise_exception` through the library's errors.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

impl Jinja {
    /// Compiles a template; the message says where it is wrong.
    pub(crate) fn compile(
        source: &str,
        variables: &BTreeMap<String, serde_json::Value>,
        date: Option<NaiveDate>,
    ) -> Result<Self, String> {
        let (source, has_generation) = with_generation_as_filter(source);
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.expect("the delimiters are Jinja's own"));
        environment.set_undefined_behavior(UndefinedBehavior::Lenient);
        environment.set_unknown_method_callback(method);
        environment.add_filter("tojson", to_json);
        environment.add_filter(GENERATION, |text: String| {
            format!("{}{text}{}", GENERATED[0], GENERATED[1])
        });
        environment.add_function("raise_exception", |message: Value| -> Result<Value, Error> {
            let raised = Raised(message.to_string());
            Err(Error::new(ErrorKind::InvalidOperation, raised.0.clone()).with_source(raised))
        });
        if let Some(date) = date {
            environment.add_function("strftime_now", move |format: String| strftime(date, &format));
        }
        for name in ["tools", "documents"] {
            environment.add_global(name, Value::from(()));
        }
        for (name, value) in variables {
            environment.add_global(name.clone(), Value::from(Serde(value.clone())));
        }
        environment.add_template_owned(NAME, source).map_err(|error| said(&error))?;
        Ok(Self { environment, has_generation })
    }

    /// The text of some messages, with the marks that stand in them.
    pub(crate) fn render(
        &self,
        messages: &[Value],
        add_generation_prompt: bool,
    ) -> Result<String, Refusal> {
        // What is cloned are a few references.
        let mut environment = self.environment.clone();
        environment.set_fuel(Some(fuel(messages)));
        let template = environment.get_template(NAME).expect("it was added when compiled");
        let messages = Value::from(messages.to_vec());
        template.render(context! { messages, add_generation_prompt }).map_err(|error| {
            let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
            while let Some(error) = cause {
                if let Some(Raised(message)) = error.downcast_ref::<Raised>() {
                    return Refusal::Raised(message.clone());
                }
                cause = error.source();
            }
            Refusal::Failed(said(&error))
        })
    }
}

/// The work that a template may do for these messages. It depends on nothing else: what is refused on one machine is refused
/// on all.
fn fuel(messages: &[Value]) -> u64 {
    let n_bytes = |message: &Value| {
        let content = message.get_attr("content").ok();
        content.and_then(|it| it.as_str().map(str::len)).unwrap_or(0) as u64
    };
    let of_messages = messages.iter().map(|it| FUEL_OF_MESSAGE + n_bytes(it) / BYTES_OF_FUEL);
    FUEL + of_messages.sum::<u64>()
}

const NAME: &str = "the chat template";
const GENERATION: &str = "_generation";

/// An error of the library with its line.
fn said(error: &Error) -> String {
    let what = match error.kind() {
        ErrorKind::OutOfFuel => "it takes more steps than a template should ever need".into(),
        kind => error.detail().map_or_else(|| kind.to_string(), String::from),
    };
    let hint = match error.kind() {
        ErrorKind::OutOfFuel => {
            "\nhint: look for a loop in it that has no end, or far too many turns"
        }
        ErrorKind::UnknownFunction if what.contains("strftime_now") => {
            "\nhint: it asks for the day: name one with `chat_template_date: YYYY-MM-DD`"
        }
        _ => "",
    };
    match error.line() {
        Some(line) => format!("line {line}: {what}{hint}"),
        None => format!("{what}{hint}"),
    }
}

/// `{% generation %}` is a block of transformers' own; a filter block has the same extent and the same white space.
fn with_generation_as_filter(source: &str) -> (String, bool) {
    static TAG: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}")
            .expect("the pattern is written here")
    });
    let replaced = TAG.replace_all(source, |tag: &Captures<'_>| match tag.get(2) {
        None => format!("{{%{} filter {GENERATION} {}%}}", &tag[1], &tag[3]),
        Some(_) => format!("{{%{} endfilter {}%}}", &tag[1], &tag[3]),
    });
    let has_generation = replaced != source;
    (replaced.into_owned(), has_generation)
}

/// Python's methods on texts, lists and dictionaries: the library's, and a few that it lacks.
fn method(
    state: &mut State<'_, '_>,
    value: &Value,
    name: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    let argument = arguments.first().and_then(Value::as_str).unwrap_or_default();
    match (value.as_str(), name) {
        (Some(text), "removeprefix") => {
            Ok(Value::from(text.strip_prefix(argument).unwrap_or(text)))
        }
        (Some(text), "removesuffix") => {
            Ok(Value::from(text.strip_suffix(argument).unwrap_or(text)))
        }
        (Some(text), "partition" | "rpartition") => {
            let (from_left, by) = (name == "partition", argument);
            let found = if from_left { text.split_once(by) } else { text.rsplit_once(by) };
            Ok(texts(match found {
                Some((before, after)) => vec![before, by, after],
                None if from_left => vec![text, "", ""],
                None => vec!["", "", text],
            }))
        }
        (Some(text), "rsplit") if arguments.first().is_some_and(|by| by.as_str().is_some()) => {
            let limit = arguments.get(1).and_then(Value::as_i64).unwrap_or(-1);
            let mut parts: Vec<&str> = match usize::try_from(limit) {
                Ok(limit) => text.rsplitn(limit + 1, argument).collect(),
                Err(_) => text.rsplit(argument).collect(),
            };
            parts.reverse();
            Ok(texts(parts))
        }
        _ => unknown_method_callback(state, value, name, arguments),
    }
}

fn texts(texts: Vec<&str>) -> Value {
    texts.into_iter().map(String::from).collect()
}

/// `tojson` as transformers replaces it: `json.dumps` with its arguments.
fn to_json(value: Value, places: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let argument = |place: usize, name: &str| -> Result<Option<Value>, Error> {
        let value = match places.get(place) {
            Some(value) => Some(value.clone()),
            None => named.get::<Option<Value>>(name)?,
        };
        Ok(value.filter(|value| !value.is_none()))
    };
    let ascii = argument(0, "ensure_ascii")?.is_some_and(|it| it.is_true());
    let indent = argument(1, "indent")?.and_then(|it| it.as_usize());
    let separators = argument(2, "separators")?
        .map(|pair| pair.try_iter().map(|items| items.map(|it| it.to_string()).collect::<Vec<_>>()))
        .transpose()?;
    let sorted = argument(3, "sort_keys")?.is_some_and(|it| it.is_true());
    named.assert_all_used()?;
    let mut style = Style::of_dumps(indent, ascii);
    if let Some([item, key]) = separators.as_deref() {
        (style.item_separator, style.key_separator) = (item.clone(), key.clone());
    }
    let mut json = serde_json::to_value(&value)
        .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    if sorted {
        json.sort_all_objects();
    }
    Ok(Value::from_safe_string(python_json::text(&json, &style)))
}

fn strftime(date: NaiveDate, format: &str) -> Result<String, Error> {
    use std::fmt::Write;
    let mut text = String::new();
    write!(text, "{}", date.and_time(chrono::NaiveTime::MIN).format(format)).map_err(|_| {
        Error::new(ErrorKind::InvalidOperation, format!("`{format}` is no format of a date"))
    })?;
    Ok(text)
}
