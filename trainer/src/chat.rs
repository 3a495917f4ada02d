//! How one speaks to a trained model: the template of its prompts, and the token that ends an answer.
//!
//! Shards of a Jinja template have its source beside them, `chat_template.jinja`, and the special tokens that it was given,
//! `special_tokens_map.json`; their manifest has the variables and the date. Without such a file shards are ChatML.

use std::collections::BTreeMap;
use std::path::Path;

use cli::{BadInput, bail_input};
use serde_json::Value;
use shards::{Manifest, Role, hash, manifest};
use text::chatml::{self, TURN_END};
use text::{
    ChatTemplate, Conversation, Header, Template, TemplateError, TemplateFile, Tokenizer, Turn,
};

/// [`text::chatml`] as transformers' Jinja: an empty system message makes no turn.
const CHATML: &str = "{% for message in messages %}\
    {% if message['role'] != 'system' or message['content'] %}\
    {{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}\
    {% endif %}{% endfor %}\
    {% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/// The template of a model.
#[derive(Debug)]
pub struct Chat {
    template: Template,
    /// Jinja, which needs nothing but what transformers gives it.
    pub source: String,
    /// `bos_token`, `eos_token` and their like, as the template was given them; none of ChatML, which names none.
    pub special_tokens: BTreeMap<String, Value>,
    /// The token that ends an answer; `None` if the template has none.
    pub end: Option<u32>,
}

impl Chat {
    /// ChatML.
    pub fn chatml(tokenizer: &Tokenizer) -> Self {
        Self {
            template: Template::ChatMl(Header::Trained),
            source: CHATML.into(),
            special_tokens: BTreeMap::new(),
            end: tokenizer.special_id(TURN_END),
        }
    }

    /// The template that shards were made with; `prefix` is that of one of their splits.
    pub fn of_shards(prefix: &Path, tokenizer: &Tokenizer) -> anyhow::Result<Self> {
        let path = prefix.parent().unwrap_or(Path::new("")).join(manifest::CHAT_TEMPLATE);
        if !path.exists() {
            return Ok(Self::chatml(tokenizer));
        }
        let file = TemplateFile::read(&path, None).bad_input()?;
        let Some(manifest) = Manifest::of_shards(prefix).bad_input()? else {
            return Self::jinja(file, &BTreeMap::new(), None, tokenizer);
        };
        if hash::sha256(file.source.as_bytes()) != manifest.template_sha256 {
            bail_input!(
                "`{}` is not the template of the shards: their manifest has another SHA-256\nhint: put it back, or build the shards again",
                path.display()
            );
        }
        let variables = manifest.config["chat_template_variables"].as_object();
        let variables = variables.into_iter().flatten();
        let variables = variables.map(|(name, value)| (name.clone(), value.clone())).collect();
        let date = manifest.config["chat_template_date"].as_str().map(str::parse).transpose();
        let date = date.map_err(|error| {
            anyhow::anyhow!("`chat_template_date` in the manifest of the shards: {error}")
        })?;
        Self::jinja(file, &variables, date, tokenizer)
    }

    /// The template of a Hugging Face folder; ChatML, if it has none and the tokenizer has its tokens.
    pub fn of_folder(folder: &Path, tokenizer: &Tokenizer) -> anyhow::Result<Self> {
        match TemplateFile::read(folder, None) {
            Ok(file) if file.source == CHATML => Ok(Self::chatml(tokenizer)),
            Ok(file) => Self::jinja(file, &BTreeMap::new(), None, tokenizer),
            Err(TemplateError::NoTemplate(_)) if tokenizer.special_id(TURN_END).is_some() => {
                Ok(Self::chatml(tokenizer))
            }
            Err(TemplateError::NoTemplate(_)) => bail_input!(
                "`{}` has no chat template, and its tokenizer no `{TURN_END}`: nobody knows how to speak to this model\n\
                 hint: give it a `chat_template.jinja`",
                folder.display()
            ),
            Err(error) => Err(error).bad_input(),
        }
    }

    fn jinja(
        mut file: TemplateFile,
        variables: &BTreeMap<String, Value>,
        date: Option<chrono::NaiveDate>,
        tokenizer: &Tokenizer,
    ) -> anyhow::Result<Self> {
        for (name, id) in [("bos_token", tokenizer.bos_id()), ("eos_token", tokenizer.eos_id())] {
            if let Some(token) = id.and_then(|id| tokenizer.id_to_piece(id)) {
                file.special_tokens.entry(name.into()).or_insert_with(|| token.into());
            }
        }
        let template =
            ChatTemplate::compile(&file, variables, date, Header::Trained).bad_input()?;
        let template = Template::Jinja(Box::new(template));
        Ok(Self {
            end: end(&template, tokenizer),
            template,
            source: with_variables(&file.source, variables),
            special_tokens: file.special_tokens,
        })
    }

    /// Whether it is ChatML.
    pub fn is_chatml(&self) -> bool {
        matches!(self.template, Template::ChatMl(_))
    }

    /// What the model is given to answer a conversation.
    pub fn prompt(&self, conversation: &Conversation) -> anyhow::Result<String> {
        let turns: Vec<Turn<'_>> = chatml::turns(conversation).collect();
        self.template.prompt(&turns).bad_input()
    }
}

/// The first special token behind what an assistant says.
fn end(template: &Template, tokenizer: &Tokenizer) -> Option<u32> {
    let answer = "!";
    let rendered = template.render(&[(Role::User, "?"), (Role::Assistant, answer)]).ok()?;
    let behind = &rendered.text[rendered.text.rfind(answer)? + answer.len()..];
    let token = tokenizer.special_strings(behind).next()?;
    Some(tokenizer.special_tokens()[token].1)
}

/// A source that sets its variables itself. The line end behind a block is Jinja's, so the source begins as before.
fn with_variables(source: &str, variables: &BTreeMap<String, Value>) -> String {
    let set =
        variables.iter().map(|(name, value)| format!("{{% set {name} = {} %}}\n", literal(value)));
    set.chain([source.to_owned()]).collect()
}

/// A value as Jinja writes it.
fn literal(value: &Value) -> String {
    let list = |items: Vec<String>| items.join(", ");
    match value {
        Value::Null => "none".into(),
        Value::Array(items) => format!("[{}]", list(items.iter().map(literal).collect())),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| {
                format!("{}: {}", Value::from(name.as_str()), literal(value))
            };
            format!("{{{}}}", list(fields.iter().map(field).collect()))
        }
        value => value.to_string(),
    }
}
