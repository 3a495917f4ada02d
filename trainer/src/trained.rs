//! A run's folder -> its newest checkpoint, and the tokenizer that the model was trained with.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cli::{BadInput, Yaml, bail_input, print};
use fs_err as fs;
use shards::Manifest;
use tch::{Device, Kind};
use text::Tokenizer;

use crate::chat::Chat;
use crate::checkpoint;
use crate::config::{Config, Zero};
use crate::hf_tokenizer;
use crate::llama_config::LlamaConfig;
use crate::origin;
use crate::params::Model;
use crate::ranks::Mesh;
use crate::weights;

/// A trained model on disk.
#[derive(Debug)]
pub struct Trained {
    /// The run's folder.
    pub run: PathBuf,
    /// The run's configuration.
    pub run_config: Config,
    /// The checkpoint.
    pub checkpoint: PathBuf,
    /// The base's tokenizer with the special tokens that the shards were made with; none if the base has none.
    pub tokenizer: Option<Tokenizer>,
    /// How it is spoken to: the template of the shards; none without a tokenizer.
    pub chat: Option<Chat>,
    /// The model's shape.
    pub config: LlamaConfig,
}

impl Trained {
    /// Finds it: a run's newest checkpoint, or the checkpoint that is given.
    pub fn find(from: &Path) -> Result<Self> {
        let (run, checkpoint) = resolve(from)?;
        let config = LlamaConfig::read(&checkpoint)?;
        let run_config: Config =
            Yaml::open(&run.join("config.yaml")).and_then(|yaml| yaml.parse()).bad_input()?;
        let tokenizer = tokenizer(&run_config, &config)?;
        let chat = tokenizer.as_ref().map(|it| Chat::of_shards(&run_config.data.train, it));
        Ok(Self { chat: chat.transpose()?, tokenizer, run, run_config, checkpoint, config })
    }

    /// Reads the weights, in `f32`; of an adapter's run, those of its base too.
    pub fn model(&self, device: Device) -> Result<Model> {
        let (stored, _) = checkpoint::open_weights(&self.checkpoint)?;
        let lora = self.run_config.lora.as_ref();
        let (alone, config) = (Mesh::alone(), self.config.clone());
        let mut model = Model::sharded(config, lora, Kind::Float, device, &alone, Zero::Nothing);
        if lora.is_some() {
            self.check_base()?;
            weights::load_frozen(&self.run_config.model.base, &mut model)?;
        }
        weights::fill(&stored, &weights::parameters(&model))
            .with_context(|| self.checkpoint.display().to_string())
            .bad_input()?;
        model.refresh()?;
        Ok(model)
    }
}

impl Trained {
    /// An adapter means something only with the base that it was trained on.
    pub fn check_base(&self) -> Result<()> {
        let record = checkpoint::open(&self.checkpoint)?;
        let changed = origin::base_differences(record.origin(), &self.run_config)?;
        if changed.is_empty() {
            return Ok(());
        }
        bail_input!(
            "`{}` is an adapter, trained on another base: {}\nhint: put back the base model that was there",
            self.checkpoint.display(),
            changed.join(", ")
        )
    }
}

/// The checkpoint that is meant: the one that is given, or a run's newest, if it has any.
pub fn checkpoint(from: &Path) -> Result<Option<PathBuf>> {
    if checkpoint::is_checkpoint(from) {
        return Ok(Some(from.to_owned()));
    }
    if let Some(remark) = checkpoint::cut_short(from)? {
        print::note(format!("warning: {remark}"));
    }
    checkpoint::latest(from)
}

/// A run's folder and one of its checkpoints.
fn resolve(from: &Path) -> Result<(PathBuf, PathBuf)> {
    let Some(checkpoint) = checkpoint(from)? else {
        bail_input!(
            "`{}` is neither a checkpoint nor a run with one\n\
             hint: give the folder that `trainer train --out` wrote, or one in its `checkpoints`",
            from.display()
        )
    };
    if checkpoint != from {
        return Ok((from.to_owned(), checkpoint));
    }
    let absolute = fs::canonicalize(from)?;
    let run = absolute.parent().and_then(Path::parent);
    let run = run.context("a checkpoint lies in a run's folder").bad_input()?;
    Ok((run.to_owned(), checkpoint))
}

fn tokenizer(config: &Config, model: &LlamaConfig) -> Result<Option<Tokenizer>> {
    let base = &config.model.base;
    if !base.exists() {
        bail_input!(
            "the run's base model `{}` is not there, and the tokenizer lies in its folder\n\
             hint: paths in a configuration are relative to the folder in which the run was started: go there",
            base.display()
        );
    }
    let Some(file) = hf_tokenizer::file(base) else { return Ok(None) };
    let tokenizer = match Manifest::of_shards(&config.data.train).bad_input()? {
        Some(manifest) => {
            Tokenizer::reopen(&file, &manifest.tokenizer.special_tokens).bad_input()?
        }
        None => hf_tokenizer::open_folder(base).bad_input()?,
    };
    if i64::from(tokenizer.vocab_size()) > model.vocab_size {
        bail_input!(
            "`{}` has {} tokens, but the model has {} rows",
            file.display(),
            tokenizer.vocab_size(),
            model.vocab_size
        );
    }
    Ok(Some(tokenizer))
}
