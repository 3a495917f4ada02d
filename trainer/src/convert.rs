//! A Hugging Face folder, Meta's own files or a checkpoint -> the same model as a Hugging Face folder, in another kind of
//! number or in other files, without training.
//!
//! Safetensors, PyTorch pickles or a checkpoint's parts come in, safetensors go out, some rows at a time. `config.json`
//! keeps every field that has nothing to do with that; all other small files of a folder are copied. A checkpoint has no
//! such files: what its run began with is not looked at, so that one converts wherever it lies, and
//! [`export`] is what makes a whole folder of it.

use std::path::Path;

use anyhow::{Context, Result};
use cli::{BadInput, bail_input, print};
use fs_err as fs;
use serde_json::{Value, json};
use shards::atomic::{self, StagedFolder};
use tch::Kind;

use crate::checkpoint;
use crate::export::{self, Options};
use crate::llama_config::LlamaConfig;
use crate::meta::{self, Meta};
use crate::proof;
use crate::stored::Stored;
use crate::trained;
use crate::units::{EMBEDDING, HEAD, ParamSpec};
use crate::weights;

/// A model on disk.
struct Found {
    /// Its `config.json`.
    json: Value,
    stored: Stored,
    /// After how many steps it was saved, if it is a checkpoint.
    step: Option<u64>,
}

/// Converts a folder, a checkpoint or a run's newest one. A tied head stays one, or is untied: then it becomes a copy of the
/// embedding.
pub fn convert(from: &Path, out: &Path, options: &Options, untie: bool) -> Result<()> {
    export::check_target(out, options.force)?;
    let Found { mut json, mut stored, step } = find(from)?;
    let mut config =
        LlamaConfig::from_json(&json).with_context(|| from.display().to_string()).bad_input()?;
    weights::check(&stored, export::specs(&config).iter())
        .with_context(|| from.display().to_string())
        .bad_input()?;
    if untie {
        if !config.tie_word_embeddings {
            bail_input!("`--untie`: the model in `{}` has a head of its own", from.display());
        }
        config.tie_word_embeddings = false;
        json["tie_word_embeddings"] = json!(false);
        stored.alias(HEAD, EMBEDDING);
    }
    let specs = export::specs(&config);
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
    if step.is_none() {
        copy_small_files(from, folder)?;
    }
    let proof = proof::prove(folder, &sources, &config, options.kind, None)
        .context("the conversion failed, and nothing was left of it")?;
    let report = json!({"from": from, "step": step, "dtype": dtype, "proof": proof});
    atomic::write_json(&folder.join("convert_report.json"), &report)?;
    if out.exists() {
        fs::remove_dir_all(out)?;
    }
    staged.commit()?;
    let parameters: i64 = specs.iter().map(ParamSpec::numel).sum();
    let (of_step, without) = match step {
        Some(step) => (
            format!("step {step}, "),
            "\nwithout a tokenizer, which a checkpoint has none of: `trainer export` writes the whole folder",
        ),
        None => (String::new(), ""),
    };
    print::note(format!(
        "{}: {of_step}{:.1} M parameters in {dtype}, read back and compared{without}",
        out.display(),
        parameters as f64 / 1e6
    ));
    Ok(())
}

/// Opens a Hugging Face folder, Meta's own, a checkpoint, or a run's newest checkpoint.
fn find(from: &Path) -> Result<Found> {
    let config = |folder: &Path| -> Result<Value> {
        let path = folder.join("config.json");
        let json = serde_json::from_str(&fs::read_to_string(&path)?);
        json.with_context(|| path.display().to_string())
    };
    if from.join("config.json").is_file() && !checkpoint::is_checkpoint(from) {
        let (json, stored) = (config(from).bad_input()?, Stored::open_folder(from).bad_input()?);
        return Ok(Found { json, stored, step: None });
    }
    if meta::is_meta(from) {
        let Meta { config, stored, remark } = Meta::open(from).bad_input()?;
        print::note(remark);
        return Ok(Found { json: config.to_json(Kind::Float), stored, step: None });
    }
    let Some(checkpoint) = trained::checkpoint(from)? else {
        bail_input!(
            "`{}` is neither the folder of a Hugging Face model nor one of Meta's, nor a checkpoint, nor a run with one",
            from.display()
        )
    };
    let record = checkpoint::open(&checkpoint)?;
    if !record.config()["lora"].is_null() {
        bail_input!(
            "`{}` is an adapter's (`lora`): the weights of its base are not in it, and nothing else is read here\n\
             hint: `trainer export`, which knows the run's base, writes the merged model",
            checkpoint.display()
        );
    }
    let [stored, ..] = checkpoint::tensors(&checkpoint, &record).bad_input()?;
    Ok(Found { json: config(&checkpoint)?, stored, step: Some(record.state().step) })
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
