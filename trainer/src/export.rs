//! A checkpoint -> a Hugging Face folder that transformers, vLLM and llama.cpp's converter open, proved before it gets
//! its name.
//!
//! Parameters go from the mapped checkpoint to the files some rows at a time. `export_report.json` says what was
//! compared ([`crate::proof`]) and what became of the tokens that the datamix added ([`crate::new_tokens`]).

use std::path::Path;

use anyhow::{Context, Result};
use cli::{BadInput, bail_input, print};
use fs_err as fs;
use serde::Serialize;
use serde_json::{Value, json};
use shards::Manifest;
use shards::atomic::{self, StagedFolder};
use shards::hash::{self, FileHash};
use tch::Kind;
use text::Tokenizer;

use crate::adapter;
use crate::chat::Chat;
use crate::checkpoint;
use crate::hf_tokenizer;
use crate::llama_config::LlamaConfig;
use crate::merged::Merged;
use crate::model_card::{Card, NOTICES};
use crate::new_tokens::{self, NewTokens};
use crate::proof::{self, Proof};
use crate::stored::Stored;
use crate::trained::Trained;
use crate::units::{ParamSpec, unit_specs};
use crate::weights::{self, Source};

/// What an export is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// [`Kind::BFloat16`] or [`Kind::Float`].
    pub kind: Kind,
    /// Where one file of weights ends and the next begins.
    pub max_shard_bytes: u64,
    /// Whether the rows that only fill up the vocabulary are left out.
    pub trim_vocab: bool,
    /// Whether a folder that is there already may be replaced.
    pub force: bool,
}

/// `export_report.json`.
#[derive(Serialize)]
struct Report {
    checkpoint: String,
    step: u64,
    dtype: String,
    parameters: i64,
    new_tokens: Option<NewTokens>,
    proof: Proof,
    files: Vec<FileHash>,
}

/// Exports a run's newest checkpoint, or a checkpoint.
pub fn export(from: &Path, out: &Path, options: &Options) -> Result<()> {
    check_target(out, options.force)?;
    let trained = Trained::find(from)?;
    let (stored, state) = checkpoint::open_weights(&trained.checkpoint)?;
    let weights = Weights::open(&trained, stored)?;
    let Trained { run, run_config, checkpoint, tokenizer, chat, mut config } = trained;
    if let (true, Some(tokenizer)) = (options.trim_vocab, &tokenizer) {
        config.vocab_size = tokenizer.vocab_size().into();
    } else if options.trim_vocab {
        bail_input!("`--vocab trim` needs a tokenizer, and the base model's folder has none");
    }
    // A text ends with the assistant's turn; the base's own end stays one too.
    if let Some(end) = chat.as_ref().and_then(|chat| chat.end) {
        config.eos_token_ids.retain(|id| *id != end);
        config.eos_token_ids.insert(0, end);
    }
    let specs = specs(&config);
    let sources = weights.sources(&specs);

    let staged = StagedFolder::create(out)?;
    let folder = staged.path();
    weights::write_folder(folder, &sources, options.kind, options.max_shard_bytes)?;
    write_json_files(&config, tokenizer.as_ref().zip(chat.as_ref()), options.kind, folder)?;
    let notices = copy_notices(&run_config.model.base, folder)?;
    let manifest = Manifest::of_shards(&run_config.data.train).bad_input()?;
    let dtype = if options.kind == Kind::BFloat16 { "bfloat16" } else { "float32" };
    let parameters = specs.iter().map(ParamSpec::numel).sum();
    let card = Card {
        name: &out.file_name().unwrap_or_default().to_string_lossy(),
        run: &run,
        config: &run_config,
        state: &state,
        manifest: manifest.as_ref(),
        model: &config,
        parameters,
        dtype,
        chat: chat.as_ref().filter(|chat| chat.end.is_some() || !chat.is_chatml()),
        notices: &notices,
    };
    atomic::write(&folder.join("README.md"), card.text()?.as_bytes())?;

    let proof = proof::prove(folder, &sources, &config, options.kind, tokenizer.as_ref())
        .context("the export failed, and nothing was left of it")?;
    let new_tokens = tokenizer
        .as_ref()
        .map(|tokenizer| new_tokens::measure(&run_config, state.step, tokenizer, &sources))
        .transpose()?;
    for remark in new_tokens.iter().flat_map(NewTokens::remarks) {
        print::note(format!("warning: {remark}"));
    }
    let report = Report {
        checkpoint: checkpoint.display().to_string(),
        step: state.step,
        dtype: dtype.to_string(),
        parameters,
        new_tokens,
        proof,
        files: hash::folder(folder)?,
    };
    atomic::write_json(&folder.join("export_report.json"), &report)?;
    if out.exists() {
        fs::remove_dir_all(out)?;
    }
    staged.commit()?;
    print::note(format!(
        "{}: step {}, {:.1} M parameters in {}, read back and compared: every tensor, and the logits of fixed prompts",
        out.display(),
        report.step,
        report.parameters as f64 / 1e6,
        report.dtype
    ));
    Ok(())
}

/// The weights of a checkpoint: as they were trained, or an adapter with its base.
enum Weights {
    Whole(Stored),
    Merged(Box<Merged>),
}

impl Weights {
    fn open(trained: &Trained, stored: Stored) -> Result<Self> {
        let Some(lora) = &trained.run_config.lora else {
            weights::check(&stored, specs(&trained.config).iter()).bad_input()?;
            return Ok(Self::Whole(stored));
        };
        trained.check_base()?;
        let base = Stored::open_folder(&trained.run_config.model.base).bad_input()?;
        let merged = Merged::open(base, stored, str::to_owned, lora, &trained.config)?;
        Ok(Self::Merged(Box::new(merged)))
    }

    fn sources<'a>(&'a self, specs: &'a [ParamSpec]) -> Vec<Source<'a>> {
        match self {
            Self::Whole(stored) => sources(stored, specs),
            Self::Merged(merged) => merged.sources(specs),
        }
    }
}

/// Writes the adapter alone, as peft has it, with the tokenizer that it was trained with.
pub fn export_adapter(from: &Path, out: &Path, force: bool) -> Result<()> {
    // An adapter may be replaced by another one.
    if !(force && out.join(adapter::CONFIG).exists()) {
        check_target(out, force)?;
    }
    let trained = Trained::find(from)?;
    let Some(lora) = &trained.run_config.lora else {
        bail_input!(
            "`--adapter`: `{}` has trained the whole model and no adapter\n\
             hint: leave `--adapter` out to export the model",
            from.display()
        );
    };
    let (stored, state) = checkpoint::open_weights(&trained.checkpoint)?;
    let staged = StagedFolder::create(out)?;
    let folder = staged.path();
    adapter::write(folder, lora, &trained.run_config.model.base, &stored)
        .context("the export failed, and nothing was left of it")?;
    if let (Some(tokenizer), Some(chat)) = (&trained.tokenizer, &trained.chat) {
        hf_tokenizer::write(tokenizer, chat, trained.config.max_position_embeddings, folder)?;
    }
    if out.exists() {
        fs::remove_dir_all(out)?;
    }
    staged.commit()?;
    print::note(format!(
        "{}: the adapter after step {}, read back and compared; its base is `{}`",
        out.display(),
        state.step,
        trained.run_config.model.base.display()
    ));
    Ok(())
}

/// Every parameter of a model of this shape, in order.
pub(crate) fn specs(config: &LlamaConfig) -> Vec<ParamSpec> {
    unit_specs(config).into_iter().flat_map(|unit| unit.params).collect()
}

/// Stored parameters, cut to these shapes.
pub(crate) fn sources<'a>(stored: &'a Stored, specs: &'a [ParamSpec]) -> Vec<Source<'a>> {
    specs.iter().map(|spec| Source::stored(stored, &spec.name, spec.shape.clone())).collect()
}

/// `config.json`, `generation_config.json` and the tokenizer's files.
fn write_json_files(
    config: &LlamaConfig,
    tokenizer: Option<(&Tokenizer, &Chat)>,
    kind: Kind,
    folder: &Path,
) -> Result<()> {
    if let Some((tokenizer, chat)) = tokenizer {
        hf_tokenizer::write(tokenizer, chat, config.max_position_embeddings, folder)?;
    } else {
        print::note("warning: the base model's folder has no tokenizer, so the export has none");
    }
    let pad = tokenizer.and_then(|(it, _)| it.pad_id().or(it.special_id("<PAD>")));
    let mut json = config.to_json(kind);
    json["pad_token_id"] = json!(pad);
    atomic::write_json(&folder.join("config.json"), &json)?;
    let generation: Value = json!({
        "bos_token_id": config.bos_token_id,
        "eos_token_id": config.eos_token_ids,
        "pad_token_id": pad,
    });
    Ok(atomic::write_json(&folder.join("generation_config.json"), &generation)?)
}

/// The base's licences go where its weights go.
fn copy_notices(base: &Path, folder: &Path) -> Result<Vec<&'static str>> {
    let mut copied = Vec::new();
    for name in NOTICES {
        let from = base.join(name);
        if from.is_file() {
            atomic::write(&folder.join(name), &fs::read(&from)?)?;
            copied.push(name);
        }
    }
    Ok(copied)
}

/// A folder with something in it is only replaced when that is asked for, and when it is a model's.
pub(crate) fn check_target(out: &Path, force: bool) -> Result<()> {
    if out.is_file() {
        bail_input!("`--out` is `{}`, a file, and a model needs a folder", out.display());
    }
    if !out.exists() || fs::read_dir(out).bad_input()?.next().is_none() {
        return Ok(());
    }
    if !force {
        bail_input!(
            "`{}` is there already\nhint: give another folder, or `--force` to replace it",
            out.display()
        );
    }
    if !out.join("config.json").exists() || checkpoint::is_checkpoint(out) {
        bail_input!(
            "`{}` holds something else than an exported model, so `--force` does not replace it\n\
             hint: give another folder",
            out.display()
        );
    }
    Ok(())
}
