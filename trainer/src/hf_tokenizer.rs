//! A tokenizer <-> its files in a Hugging Face folder, with the special tokens at the ids that were trained.
//!
//! | file | for |
//! |---|---|
//! | `tokenizer.model` | SentencePiece's own; llama.cpp's converter and this program read it |
//! | `tokenizer.json` | transformers and vLLM; encodes between special tokens as the pretokenizer did |
//! | `tokenizer_config.json` | special tokens and the chat template |
//! | `special_tokens_map.json`, `added_tokens.json` | the same for older readers |

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fs_err as fs;
use serde_json::{Map, Value, json};
use shards::atomic;
use text::Tokenizer;

use crate::chat::Chat;

const MODEL: &str = "tokenizer.model";
const JSON: &str = "tokenizer.json";
const CONFIG: &str = "tokenizer_config.json";

/// The tokenizer file in a model's folder, if it has one.
pub fn file(folder: &Path) -> Option<PathBuf> {
    [MODEL, JSON].map(|name| folder.join(name)).into_iter().find(|path| path.exists())
}

/// Opens the tokenizer in a model's folder, with the special tokens that its configuration names.
pub fn open_folder(folder: &Path) -> Result<Tokenizer> {
    let Some(file) = file(folder) else {
        bail!(
            "`{}` has neither `{MODEL}` nor `{JSON}`\nhint: copy the base model's tokenizer into it",
            folder.display()
        );
    };
    let config = folder.join(CONFIG);
    let mut special = Vec::new();
    if config.exists() {
        let json: Value = serde_json::from_str(&fs::read_to_string(&config)?)
            .with_context(|| config.display().to_string())?;
        let added = json["added_tokens_decoder"].as_object();
        for (id, token) in added.into_iter().flatten() {
            let id: u32 =
                id.parse().with_context(|| format!("{}: the id `{id}`", config.display()))?;
            let token = token["content"].as_str().context("an added token without `content`")?;
            special.push((token.to_string(), id));
        }
        special.sort_by_key(|(_, id)| *id);
        // A base's own `<unk>` stands there too, but it is no special token of ours: typed, it is text.
        special.retain(|(token, _)| token != "<unk>");
    }
    Ok(Tokenizer::reopen(&file, &special)?)
}

/// Writes the files of a tokenizer into a folder, with the template that its model is spoken to.
pub fn write(tokenizer: &Tokenizer, chat: &Chat, max_length: i64, folder: &Path) -> Result<()> {
    let file = tokenizer.model_file();
    if file.extension().is_some_and(|extension| extension == "model") {
        atomic::write(&folder.join(MODEL), &fs::read(file)?)?;
    }
    atomic::write_json(&folder.join(JSON), &tokenizer.to_json())?;

    let mut special = tokenizer.special_tokens().to_vec();
    special.sort_by_key(|(_, id)| *id);
    let decoder: Map<String, Value> = special
        .iter()
        .map(|(token, id)| {
            let token = json!({
                "content": token, "lstrip": false, "normalized": false, "rstrip": false,
                "single_word": false, "special": true,
            });
            (id.to_string(), token)
        })
        .collect();
    let named = names(tokenizer, chat);
    let mut config = json!({
        // The class that takes `tokenizer.json` as it is. Llama's own class would build another normalizer.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": false,
        "add_eos_token": false,
        "clean_up_tokenization_spaces": false,
        "model_max_length": max_length,
        "added_tokens_decoder": decoder,
        "chat_template": chat.source,
    });
    for (name, token) in &named {
        config[*name] = json!(token);
    }
    atomic::write_json(&folder.join(CONFIG), &config)?;
    atomic::write_json(&folder.join("special_tokens_map.json"), &json!(named))?;
    let own = [tokenizer.bos_id(), tokenizer.eos_id(), tokenizer.pad_id(), tokenizer.unk_id()];
    let added = special.iter().filter(|(_, id)| !own.contains(&Some(*id)));
    let added: BTreeMap<&str, u32> = added.map(|(token, id)| (token.as_str(), *id)).collect();
    Ok(atomic::write_json(&folder.join("added_tokens.json"), &json!(added))?)
}

/// transformers' names for some special tokens. A Jinja template has those that it was trained with, since it may write
/// them; of ChatML, a text ends where an assistant's turn does.
fn names(tokenizer: &Tokenizer, chat: &Chat) -> BTreeMap<&'static str, String> {
    let piece = |id: Option<u32>| id.and_then(|id| tokenizer.id_to_piece(id)).map(String::from);
    let eos = chat.end.filter(|_| chat.is_chatml()).or(tokenizer.eos_id());
    let pad = tokenizer.pad_id().or(tokenizer.special_id("<PAD>"));
    let named = [
        ("bos_token", piece(tokenizer.bos_id())),
        ("eos_token", piece(eos)),
        ("pad_token", piece(pad)),
    ];
    let given = |name: &str| chat.special_tokens.get(name)?.as_str().map(String::from);
    let named = named.into_iter().map(|(name, token)| (name, given(name).or(token)));
    named.filter_map(|(name, token)| Some((name, token?))).collect()
}
