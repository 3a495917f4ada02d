//! A Hugging Face folder -> the same model in another kind of number or in other files, without training.
//!
//! Safetensors or PyTorch pickles come in, safetensors go out, some rows at a time. `config.json` keeps every field that
//! has nothing to do with that; all other small files are copied.

use std::path::Path;

use anyhow::{Context, Result};
use cli::{BadInput, bail_input, print};
use fs_err as fs;
use serde_json::{Value, json};
use shards::atomic::{self, StagedFolder};
use tch::Kind;

use crate::export::{self, Options};
use crate::llama_config::LlamaConfig;
use crate::params::ParamSpec;
use crate::proof;
use crate::stored::Stored;
use crate::weights;

const EMBEDDING: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";

/// Converts a folder. A tied head is only accepted where it shall be untied: then it becomes a copy of the embedding.
pub fn convert(from: &Path, out: &Path, options: &Options, untie: bool) -> Result<()> {
    export::check_target(out, options.force)?;
    let path = from.join("config.json");
    let text = fs::read_to_string(&path)
        .with_context(|| format!("`{}` is not the folder of a model", from.display()))
        .bad_input()?;
    let mut json: Value =
        serde_json::from_str(&text).with_context(|| path.display().to_string()).bad_input()?;
    let tied = json["tie_word_embeddings"].as_bool().unwrap_or(false);
    if tied && untie {
        json["tie_word_embeddings"] = json!(false);
    }
    let config =
        LlamaConfig::from_json(&json).with_context(|| path.display().to_string()).bad_input()?;
    let mut stored = Stored::open_folder(from).bad_input()?;
    if tied && stored.shape(HEAD).is_none() {
        stored.alias(HEAD, EMBEDDING);
    }
    let specs = export::specs(&config);
    weights::check(&stored, specs.iter())
        .with_context(|| from.display().to_string())
        .bad_input()?;
    if options.kind == Kind::BFloat16
        && specs.iter().any(|spec| stored.kind(&spec.name) == Some(Kind::Half))
    {
        print::note(
            "warning: the weights are in float16, which bfloat16 rounds; `--dtype f32` keeps every number",
        );
    }

    let sources = export::sources(&stored, &specs);
    let staged = StagedFolder::create(out)?;
    let folder = staged.path();
    weights::write_folder(folder, &sources, options.kind, options.max_shard_bytes)?;
    let dtype = if options.kind == Kind::BFloat16 { "bfloat16" } else { "float32" };
    for key in ["torch_dtype", "dtype"] {
        json[key] = json!(dtype);
    }
    atomic::write_json(&folder.join("config.json"), &json)?;
    copy_small_files(from, folder)?;
    let proof = proof::prove(folder, &sources, &config, options.kind, None)
        .context("the conversion failed, and nothing was left of it")?;
    atomic::write_json(&folder.join("convert_report.json"), &json!({"proof": proof}))?;
    if out.exists() {
        fs::remove_dir_all(out)?;
    }
    staged.commit()?;
    let parameters: i64 = specs.iter().map(ParamSpec::numel).sum();
    print::note(format!(
        "{}: {:.1} M parameters in {dtype}, read back and compared",
        out.display(),
        parameters as f64 / 1e6
    ));
    Ok(())
}

/// Tokenizer, templates, licences, cards: all that is neither weights nor what was written already.
pub(crate) fn copy_small_files(from: &Path, folder: &Path) -> Result<()> {
    let weights = ["safetensors", "bin", "pth", "pt", "gguf", "h5", "msgpack"];
    for entry in fs::read_dir(from)? {
        let (path, name) = {
            let entry = entry?;
            (entry.path(), entry.file_name())
        };
        let shown = name.to_string_lossy();
        let is_weights =
            path.extension().is_some_and(|it| weights.iter().any(|known| it == *known));
        let is_index = shown.ends_with(".index.json");
        let written = folder.join(&name).exists() || shown.ends_with("_report.json");
        if !path.is_file() || is_weights || is_index || written || shown.starts_with('.') {
            continue;
        }
        if fs::metadata(&path)?.len() > 1 << 28 {
            bail_input!("`{}` is no small file: move it away first", path.display());
        }
        atomic::write(&folder.join(&name), &fs::read(&path)?)?;
    }
    Ok(())
}
