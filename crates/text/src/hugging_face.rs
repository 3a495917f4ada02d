//! A Hugging Face `tokenizer.json`, through the `tokenizers` crate: the general door, at that crate's speed.
//!
//! Which strings are listed as special is a [`Rule`]:
//! - the reference's `FalconTokenizer`: the `additional_special_tokens` named in `special_tokens_map.json` or else
//!   `tokenizer_config.json` beside the file, then the extra tokens; and none at all when no extra tokens are asked for.
//!   A text is cut at them, and what stands between is encoded on its own;
//! - the file's own: the added tokens that it calls special, then the extra tokens. A text is encoded as a whole.
//!
//! Nothing is put around a text: no `<s>`, no `</s>`.

use std::path::Path;

use fs_err as fs;
use serde::Deserialize;
use tokenizers::{AddedToken, Tokenizer};

use crate::error::Error;

/// Which strings are listed as special, and whether texts are cut at them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// The reference's.
    Falcon,
    /// The file's own.
    Own,
}

/// The library's tokenizer and what we keep of its vocabulary.
#[derive(Debug)]
pub(crate) struct HuggingFace {
    pub(crate) tokenizer: Tokenizer,
    pub(crate) rule: Rule,
    /// The string of each id; empty where the vocabulary has a hole.
    pub(crate) tokens: Vec<String>,
    /// Special tokens in the order of registration.
    pub(crate) special: Vec<(String, u32)>,
    pub(crate) bos: Option<u32>,
    pub(crate) eos: Option<u32>,
    pub(crate) pad: Option<u32>,
    pub(crate) unknown: Option<u32>,
}

impl HuggingFace {
    pub(crate) fn read(file: &Path, extra: &[String], rule: Rule) -> Result<Self, Error> {
        let json = fs::read(file)?;
        let refused = |source: tokenizers::Error| Error::NotHuggingFace {
            file: file.into(),
            what: source.to_string(),
        };
        let mut tokenizer = Tokenizer::from_bytes(json).map_err(refused)?;
        let named = NamedTokens::beside(file)?;
        let special: Vec<String> = match rule {
            Rule::Falcon if extra.is_empty() => Vec::new(),
            Rule::Falcon => {
                let named = named.additional_special_tokens.unwrap_or_default();
                named.into_iter().map(String::from).collect()
            }
            Rule::Own => {
                let mut added: Vec<_> = tokenizer.get_added_tokens_decoder().into_iter().collect();
                added.sort_by_key(|(id, _)| *id);
                let special = added.into_iter().filter(|(_, token)| token.special);
                special.map(|(_, token)| token.content).collect()
            }
        };
        let extra: Vec<String> =
            extra.iter().filter(|token| !special.contains(token)).cloned().collect();
        // Those of the file keep what it says about white space around them.
        let n_there = if rule == Rule::Own { special.len() } else { 0 };
        let special: Vec<String> = [special, extra].concat();
        let new = special[n_there..].iter().map(|token| AddedToken::from(token.clone(), true));
        let new: Vec<_> = new.collect();
        tokenizer.add_special_tokens(new).map_err(refused)?;
        let id = |token: &str| tokenizer.token_to_id(token).expect("a registered token has an id");
        let special = special
            .into_iter()
            .map(|token| (id(&token), token))
            .map(|(id, token)| (token, id))
            .collect();
        let n_tokens = tokenizer.get_vocab_size(true);
        let ids = 0..u32::try_from(n_tokens).expect("ids are 32 bits wide");
        let tokens = ids.map(|id| tokenizer.id_to_token(id).unwrap_or_default()).collect();
        let named_id = |token: Option<NamedToken>| tokenizer.token_to_id(&String::from(token?));
        let (bos, eos) = (named_id(named.bos_token), named_id(named.eos_token));
        let (pad, unknown) = (named_id(named.pad_token), named_id(named.unk_token));
        Ok(Self { tokens, special, bos, eos, pad, unknown, tokenizer, rule })
    }

    /// The file again, with the extra tokens in it.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let json = self.tokenizer.to_string(false).expect("a tokenizer that was loaded is stored");
        serde_json::from_str(&json).expect("the library writes JSON")
    }

    /// Each id with the bytes of the text that it came from.
    pub(crate) fn encode_with_offsets(
        &self,
        text: &str,
    ) -> impl Iterator<Item = (u32, usize, usize)> + use<> {
        let encoding = self.tokenizer.encode(text, false);
        let encoding = encoding.expect("a tokenizer that was loaded encodes any text");
        let (ids, offsets) = (encoding.get_ids().to_vec(), encoding.get_offsets().to_vec());
        ids.into_iter().zip(offsets).map(|(id, (start, end))| (id, start, end))
    }

    pub(crate) fn encode(&self, text: &str, ids: &mut Vec<u32>) {
        let encoding = self.tokenizer.encode_fast(text, false);
        ids.extend_from_slice(
            encoding.expect("a tokenizer that was loaded encodes any text").get_ids(),
        );
    }
}

/// Decodes ids one by one.
#[derive(Debug)]
pub(crate) struct HuggingFaceDecoder<'t> {
    engine: &'t HuggingFace,
    /// All ids so far: a decoder may look at any of them, so each step decodes them all.
    ids: Vec<u32>,
    /// How many bytes of their text were given out.
    n_shown: usize,
}

impl<'t> HuggingFaceDecoder<'t> {
    pub(crate) fn new(engine: &'t HuggingFace) -> Self {
        Self { engine, ids: Vec::new(), n_shown: 0 }
    }

    /// The text that this id completes.
    pub(crate) fn push(&mut self, id: u32) -> String {
        self.ids.push(id);
        let text = self.text();
        // The library shows an incomplete character as U+FFFD.
        if text.ends_with(char::REPLACEMENT_CHARACTER) { String::new() } else { self.show(&text) }
    }

    pub(crate) fn finish(&mut self) -> String {
        let text = self.text();
        self.show(&text)
    }

    fn show(&mut self, text: &str) -> String {
        let new = text.get(self.n_shown..).unwrap_or_default().to_owned();
        self.n_shown = text.len();
        new
    }

    fn text(&self) -> String {
        self.engine
            .tokenizer
            .decode(&self.ids, false)
            .expect("a tokenizer that was loaded decodes its ids")
    }
}

/// What `special_tokens_map.json` and `tokenizer_config.json` say alike.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NamedTokens {
    additional_special_tokens: Option<Vec<NamedToken>>,
    bos_token: Option<NamedToken>,
    eos_token: Option<NamedToken>,
    pad_token: Option<NamedToken>,
    unk_token: Option<NamedToken>,
}

/// A token by its text, or as an object that has one.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum NamedToken {
    Text(String),
    Object { content: String },
}

impl From<NamedToken> for String {
    fn from(token: NamedToken) -> Self {
        match token {
            NamedToken::Text(text) | NamedToken::Object { content: text } => text,
        }
    }
}

impl NamedTokens {
    fn beside(tokenizer: &Path) -> Result<Self, Error> {
        let files = ["special_tokens_map.json", "tokenizer_config.json"]
            .map(|name| tokenizer.with_file_name(name));
        let Some(file) = files.into_iter().find(|file| file.exists()) else {
            return Ok(Self::default());
        };
        serde_json::from_slice(&fs::read(&file)?)
            .map_err(|source| Error::NotHuggingFace { file, what: source.to_string() })
    }
}
