//! A base model with random weights, of any shape: for demonstrations and tests, and for training from scratch.

use std::path::Path;

use anyhow::{Context, Result};
use clap::ValueEnum;
use cli::{BadInput, bail_input, print};
use shards::atomic::{self, StagedFolder};
use tch::{Device, Kind};
use text::Tokenizer;

use crate::chat::Chat;
use crate::hf_tokenizer;
use crate::llama_config::{LlamaConfig, RopeScaling};
use crate::params::Model;
use crate::weights;

/// Writes a Hugging Face folder with a model of this shape, and with the tokenizer if one is given.
///
/// Matrices are drawn from N(0, `initializer_range`), norms are 1, as transformers initialises a Llama; the same seed
/// gives the same bytes.
pub fn init(
    config: LlamaConfig,
    seed: i64,
    tokenizer: Option<&Tokenizer>,
    out: &Path,
) -> Result<()> {
    config.check().bad_input()?;
    if out.exists() {
        bail_input!(
            "`{}` is there already\nhint: remove it, or give another folder",
            out.display()
        );
    }
    let model = random(config, seed)?;
    let staged = StagedFolder::create(out)?;
    weights::write_folder(staged.path(), &weights::sources(&model), Kind::Float, u64::MAX)?;
    if let Some(tokenizer) = tokenizer {
        let (chat, most) = (Chat::chatml(tokenizer), model.config.max_position_embeddings);
        hf_tokenizer::write(tokenizer, &chat, most, staged.path())?;
    }
    atomic::write_json(&staged.path().join("config.json"), &model.config.to_json(Kind::Float))?;
    staged.commit()?;
    print::note(format!(
        "{}: a random Llama, {:.1} M parameters, {} rows of vocabulary",
        out.display(),
        model.numel() as f64 / 1e6,
        model.config.vocab_size
    ));
    Ok(())
}

/// The shapes of known models.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Preset {
    /// CodeLlama 7B
    #[value(name = "codellama-7b")]
    Codellama7b,
    /// CodeLlama 13B
    #[value(name = "codellama-13b")]
    Codellama13b,
    /// CodeLlama 34B
    #[value(name = "codellama-34b")]
    Codellama34b,
}

impl Preset {
    /// The shape, as `config.json` of the published models has it; vocabulary and token ids are the tokenizer's.
    #[must_use]
    pub fn shape(self) -> LlamaConfig {
        let [hidden_size, intermediate_size, layers, heads, kv_heads] = match self {
            Self::Codellama7b => [4096, 11008, 32, 32, 32],
            Self::Codellama13b => [5120, 13824, 40, 40, 40],
            Self::Codellama34b => [8192, 22016, 48, 64, 8],
        };
        LlamaConfig {
            vocab_size: 32016,
            hidden_size,
            intermediate_size,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            num_key_value_heads: kv_heads,
            head_dim: 128,
            max_position_embeddings: 16384,
            rms_norm_eps: 1e-5,
            rope_theta: 1e6,
            rope_scaling: RopeScaling::Default,
            tie_word_embeddings: false,
            initializer_range: 0.02,
            bos_token_id: Some(1),
            eos_token_ids: vec![2],
        }
    }
}

/// A model with random weights.
pub fn random(config: LlamaConfig, seed: i64) -> Result<Model> {
    let mut model = Model::zeros(config, Kind::Float, Device::Cpu);
    let deviation = model.config.initializer_range;
    {
        let _no_grad = tch::no_grad_guard();
        tch::manual_seed(seed);
        for (spec, mut master) in weights::parameters(&model) {
            let _ = if spec.decay { master.normal_(0.0, deviation) } else { master.fill_(1.0) };
        }
    }
    model.refresh()?;
    Ok(model)
}

/// How many rows embedding and head need for a tokenizer, filled up to a multiple.
pub fn rows(tokenizer: &Tokenizer, multiple: u32) -> Result<i64> {
    let rows = tokenizer.vocab_size().checked_next_multiple_of(multiple);
    Ok(rows.context("a vocabulary of more than 2^32 rows").bad_input()?.into())
}
