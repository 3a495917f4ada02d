//! A checkpoint -> a Hugging Face folder that transformers opens, read back and compared before it gets its name.

use std::path::Path;

use anyhow::{Result, bail};
use cli::{BadInput, bail_input, print};
use fs_err as fs;
use serde::Serialize;
use serde_json::json;
use shards::atomic::{self, StagedFolder};
use shards::hash::{self, FileHash, sha256};
use tch::{Device, Kind, Tensor};

use crate::checkpoint;
use crate::hf_tokenizer;
use crate::params::ParamSpec;
use crate::trained::Trained;
use crate::weights::{self, Stored};

/// What an export is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// [`Kind::BFloat16`] or [`Kind::Float`].
    pub kind: Kind,
    /// Where one file of weights ends and the next begins.
    pub max_shard_bytes: u64,
    /// Whether a folder that is there already may be replaced.
    pub force: bool,
}

/// `export_report.json`: what was written, and that it was read back the same.
#[derive(Serialize)]
struct Report {
    checkpoint: String,
    step: u64,
    dtype: String,
    parameters: i64,
    /// SHA-256 of each tensor's bytes, equal in the trained model and in the files.
    tensors: Vec<TensorHash>,
    files: Vec<FileHash>,
}

#[derive(Serialize)]
struct TensorHash {
    name: String,
    shape: Vec<i64>,
    sha256: String,
}

/// Exports a run's newest checkpoint, or a checkpoint.
pub fn export(from: &Path, out: &Path, options: &Options) -> Result<()> {
    check_target(out, options.force)?;
    let trained = Trained::find(from)?;
    let (model, state) = trained.model(Device::Cpu)?;
    let Trained { checkpoint, tokenizer, mut config } = trained;

    let staged = StagedFolder::create(out)?;
    let tensors = weights::parameters(&model);
    weights::write_folder(staged.path(), &tensors, options.kind, options.max_shard_bytes)?;
    if let Some(tokenizer) = &tokenizer {
        hf_tokenizer::write(tokenizer, config.max_position_embeddings, staged.path())?;
        // A text ends with the assistant's turn; the base's own end stays one too.
        if let Some(end) = hf_tokenizer::turn_end(tokenizer) {
            config.eos_token_ids.retain(|id| *id != end);
            config.eos_token_ids.insert(0, end);
        }
    } else {
        print::note("warning: the base model's folder has no tokenizer, so the export has none");
    }
    atomic::write_json(&staged.path().join("config.json"), &config.to_json(options.kind))?;
    let pad = tokenizer.as_ref().and_then(|it| it.pad_id().or(it.special_id("<PAD>")));
    let generation = json!({
        "bos_token_id": config.bos_token_id,
        "eos_token_id": config.eos_token_ids,
        "pad_token_id": pad,
    });
    atomic::write_json(&staged.path().join("generation_config.json"), &generation)?;

    let report = Report {
        checkpoint: checkpoint.display().to_string(),
        step: state.step,
        dtype: if options.kind == Kind::BFloat16 { "bfloat16" } else { "float32" }.to_string(),
        parameters: model.numel(),
        tensors: compare(staged.path(), &tensors, options.kind)?,
        files: hash::folder(staged.path())?,
    };
    atomic::write_json(&staged.path().join("export_report.json"), &report)?;
    if out.exists() {
        fs::remove_dir_all(out)?;
    }
    staged.commit()?;
    print::note(format!(
        "{}: step {}, {:.1} M parameters in {}, read back and compared",
        out.display(),
        report.step,
        report.parameters as f64 / 1e6,
        report.dtype
    ));
    Ok(())
}

/// A folder with something in it is only replaced when that is asked for, and when it is a model's.
fn check_target(out: &Path, force: bool) -> Result<()> {
    if out.is_file() {
        bail_input!("`--out` is `{}`, a file, and an export needs a folder", out.display());
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

/// Opens the folder as a stranger would and compares every tensor with the trained one, converted.
fn compare(folder: &Path, tensors: &[(ParamSpec, Tensor)], kind: Kind) -> Result<Vec<TensorHash>> {
    let stored = Stored::open_folder(folder)?;
    if stored.names().count() != tensors.len() {
        bail!("the export has {} tensors, expected {}", stored.names().count(), tensors.len());
    }
    let mut hashes = Vec::with_capacity(tensors.len());
    for (spec, trained) in tensors {
        let read = stored.tensor(&spec.name)?;
        let same_form = read.kind() == kind && read.size() == spec.shape;
        let found = sha256(&weights::bytes(&read));
        if !same_form || found != sha256(&weights::bytes(&trained.to_kind(kind))) {
            bail!(
                "`{}` was read back otherwise than it was trained: nothing is exported",
                spec.name
            );
        }
        hashes.push(TensorHash {
            name: spec.name.clone(),
            shape: spec.shape.clone(),
            sha256: found,
        });
    }
    Ok(hashes)
}
