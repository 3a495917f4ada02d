//! A Hugging Face folder and an adapter of peft's -> the merged model as a Hugging Face folder.
//!
//! Some rows are in memory at a time, whatever the model's size. `config.json` keeps every field of the base's but the
//! kind of number and, where the adapter brings its own embedding and head, their rows. A tokenizer that lies in the
//! adapter's folder takes the place of the base's.

use std::path::Path;

use anyhow::{Context, Result};
use cli::{BadInput, bail_input, print};
use fs_err as fs;
use serde_json::{Value, json};
use shards::atomic::{self, StagedFolder};
use tch::Kind;

use crate::adapter;
use crate::convert;
use crate::export::{self, Options};
use crate::llama_config::LlamaConfig;
use crate::merged::Merged;
use crate::proof;
use crate::stored::Stored;
use crate::units::ParamSpec;
use crate::weights;

/// Merges an adapter into its base.
pub fn merge(base: &Path, from: &Path, out: &Path, options: &Options) -> Result<()> {
    export::check_target(out, options.force)?;
    let lora = adapter::read_config(from)?;
    let mut config = LlamaConfig::read(base)?;
    let stored = Stored::open_files(&[from.join(adapter::WEIGHTS)]).bad_input()?;
    let rows = |module: &str| Some(stored.shape(&adapter::peft_name(module))?[0]);
    match [rows("model.embed_tokens.weight"), rows("lm_head.weight")] {
        [Some(embedding), Some(head)] if embedding == head => config.vocab_size = embedding,
        saved => {
            if let Some(rows) = saved.into_iter().flatten().find(|it| *it != config.vocab_size) {
                bail_input!(
                    "`{}` has an embedding or a head of {rows} rows, and `{}` has {} rows\n\
                     hint: an adapter with more rows than its base brings both, embedding and head",
                    from.display(),
                    base.display(),
                    config.vocab_size
                );
            }
        }
    }
    let merged = Merged::open(
        Stored::open_folder(base).bad_input()?,
        stored,
        adapter::peft_name,
        &lora,
        &config,
    )
    .with_context(|| format!("merging `{}` into `{}`", from.display(), base.display()))?;
    let specs = export::specs(&config);
    let sources = merged.sources(&specs);

    let staged = StagedFolder::create(out)?;
    let folder = staged.path();
    weights::write_folder(folder, &sources, options.kind, options.max_shard_bytes)?;
    let mut json: Value = serde_json::from_str(&fs::read_to_string(base.join("config.json"))?)?;
    let dtype = if options.kind == Kind::BFloat16 { "bfloat16" } else { "float32" };
    for key in ["torch_dtype", "dtype"] {
        json[key] = json!(dtype);
    }
    json["vocab_size"] = json!(config.vocab_size);
    atomic::write_json(&folder.join("config.json"), &json)?;
    copy_tokenizer(from, folder)?;
    convert::copy_small_files(base, folder)?;
    let proof = proof::prove(folder, &sources, &config, options.kind, None)
        .context("merging failed, and nothing was left of it")?;
    atomic::write_json(&folder.join("merge_report.json"), &json!({"proof": proof}))?;
    if out.exists() {
        fs::remove_dir_all(out)?;
    }
    staged.commit()?;
    let parameters: i64 = specs.iter().map(ParamSpec::numel).sum();
    print::note(format!(
        "{}: {:.1} M parameters in {dtype}, merged with {} and compared",
        out.display(),
        parameters as f64 / 1e6,
        from.display()
    ));
    Ok(())
}

/// The files of a tokenizer, as far as the adapter's folder has them.
fn copy_tokenizer(from: &Path, folder: &Path) -> Result<()> {
    for name in [
        "tokenizer.model",
        "tokenizer.json",
        "tokenizer_config.json",
        "added_tokens.json",
        "special_tokens_map.json",
        "chat_template.jinja",
        "generation_config.json",
    ] {
        let path = from.join(name);
        if path.is_file() {
            atomic::write(&folder.join(name), &fs::read(&path)?)?;
        }
    }
    Ok(())
}
