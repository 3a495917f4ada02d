//! Where a chat template stands, as transformers looks for it: source, and the special tokens that it may name.
//!
//! | given | template | special tokens |
//! |---|---|---|
//! | a folder | its `chat_template.jinja`, else the `chat_template` of its `tokenizer_config.json`, else of its `chat_template.json` | `tokenizer_config.json` and `special_tokens_map.json` there |
//! | a `*.json` file | its `chat_template` | that file, and `special_tokens_map.json` beside it |
//! | any other file | all of it | `tokenizer_config.json` and `special_tokens_map.json` beside it |
//!
//! A `chat_template` may be a list of named ones; without a name, `default` is meant. A folder's
//! `additional_chat_templates/NAME.jinja` is one, too.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde_json::Value;

/// A template that is not compiled yet.
#[derive(Debug, Clone, PartialEq)]
pub struct TemplateFile {
    /// The file that the source stands in.
    pub file: PathBuf,
    /// Jinja.
    pub source: String,
    /// What the template may name: `bos_token`, `eos_token` and their like.
    pub special_tokens: BTreeMap<String, Value>,
}

/// Why there is no template.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// A file could not be read; the message names it.
    #[error(transparent)]
    Read(#[from] io::Error),

    /// There is no such file.
    #[error("{}: there is no such file or folder\nhint: give a `.jinja` file, a `tokenizer_config.json`, or a model's folder", .0.display())]
    Missing(PathBuf),

    /// A JSON file is none.
    #[error("{}: not JSON: {what}", file.display())]
    NotJson {
        /// The file.
        file: PathBuf,
        /// What the parser met.
        what: String,
    },

    /// The file or folder has none.
    #[error("{}: there is no chat template in it\nhint: give a `.jinja` file, or a `tokenizer_config.json` with `chat_template`", .0.display())]
    NoTemplate(PathBuf),

    /// None of this name.
    #[error("{}: there is no chat template with the name `{name}`\nhint: the names there are: {}", file.display(), there.join(", "))]
    NoSuchName {
        /// The file.
        file: PathBuf,
        /// The name that was asked for.
        name: String,
        /// The names that would do.
        there: Vec<String>,
    },

    /// It is no Jinja.
    #[error("{}: the chat template cannot be compiled: {what}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// What the compiler met, with the line of the template.
        what: String,
    },
}

/// The name of the template that is meant where none is named.
const DEFAULT: &str = "default";

impl TemplateFile {
    /// Finds the template of this name.
    pub fn read(path: &Path, name: Option<&str>) -> Result<Self, TemplateError> {
        if !path.exists() {
            return Err(TemplateError::Missing(path.into()));
        }
        let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
        let config = if path.extension().is_some_and(|it| it == "json") {
            path.to_path_buf()
        } else {
            folder.join("tokenizer_config.json")
        };
        let mut special_tokens = BTreeMap::new();
        for file in [&config, &folder.join("special_tokens_map.json")] {
            if let Some(json) = json(file)? {
                special_tokens.extend(tokens(&json));
            }
        }
        let (file, source) =
            if path.is_dir() { in_folder(path, name)? } else { in_file(path, name)? };
        Ok(Self { file, source, special_tokens })
    }
}

fn in_folder(folder: &Path, name: Option<&str>) -> Result<(PathBuf, String), TemplateError> {
    let own = match name.unwrap_or(DEFAULT) {
        DEFAULT => folder.join("chat_template.jinja"),
        name => folder.join("additional_chat_templates").join(format!("{name}.jinja")),
    };
    if own.is_file() {
        return Ok((own.clone(), fs::read_to_string(own)?));
    }
    let mut error = TemplateError::NoTemplate(folder.into());
    for file in ["tokenizer_config.json", "chat_template.json"].map(|it| folder.join(it)) {
        if file.is_file() {
            match in_file(&file, name) {
                Err(not_there @ TemplateError::NoSuchName { .. }) => error = not_there,
                Err(TemplateError::NoTemplate(_)) => {}
                found => return found,
            }
        }
    }
    Err(error)
}

fn in_file(file: &Path, name: Option<&str>) -> Result<(PathBuf, String), TemplateError> {
    if file.extension().is_none_or(|it| it != "json") {
        return Ok((file.into(), fs::read_to_string(file)?));
    }
    let none = || TemplateError::NoTemplate(file.into());
    let json = json(file)?.ok_or_else(none)?;
    match &json["chat_template"] {
        Value::String(source) if name.is_none_or(|name| name == DEFAULT) => {
            Ok((file.into(), source.clone()))
        }
        Value::String(_) => Err(no_such_name(file, name, vec![DEFAULT.into()])),
        Value::Array(list) => {
            let named = |it: &Value| {
                Some((it["name"].as_str()?.to_owned(), it["template"].as_str()?.to_owned()))
            };
            let list: Vec<(String, String)> = list.iter().filter_map(named).collect();
            let found = list.iter().find(|(it, _)| *it == name.unwrap_or(DEFAULT));
            match found {
                Some((_, source)) => Ok((file.into(), source.clone())),
                None => Err(no_such_name(file, name, list.into_iter().map(|(it, _)| it).collect())),
            }
        }
        _ => Err(none()),
    }
}

fn no_such_name(file: &Path, name: Option<&str>, there: Vec<String>) -> TemplateError {
    TemplateError::NoSuchName {
        file: file.into(),
        name: name.unwrap_or(DEFAULT).into(),
        there: there.into_iter().map(|it| format!("`{it}`")).collect(),
    }
}

fn json(file: &Path) -> Result<Option<Value>, TemplateError> {
    if !file.is_file() {
        return Ok(None);
    }
    serde_json::from_slice(&fs::read(file)?)
        .map(Some)
        .map_err(|error| TemplateError::NotJson { file: file.into(), what: error.to_string() })
}

/// `bos_token` and everything else that is called a token; each is a text, or an object that has one.
fn tokens(json: &Value) -> BTreeMap<String, Value> {
    let fields = json.as_object().into_iter().flatten();
    let tokens = fields.filter_map(|(key, value)| {
        let text = value.as_str().or_else(|| value["content"].as_str())?;
        key.ends_with("_token").then(|| (key.clone(), Value::from(text)))
    });
    tokens.collect()
}
