//! The groups of keys that say what is trained, on what, and how much of it at a time.
//!
//! What can be wrong between keys is checked in [`crate::config`]; here stands what each key is where it is left out.

use std::num::NonZeroU32;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What is trained.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// A Hugging Face folder with a Llama: `config.json` and safetensors.
    pub base: PathBuf,
    /// How the base gets rows for tokens that it does not have; left out, shards with such tokens are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_rows: Option<NewRows>,
}

/// Rows of embedding and head for tokens that the base does not have.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NewRows {
    /// What a new row begins as.
    pub fill: Fill,
    /// The rows are filled up to a multiple of this; a multiple of 8 or 16 suits GPUs.
    #[serde(default = "default_multiple")]
    pub multiple: NonZeroU32,
}

/// What a new row of embedding and head begins as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fill {
    /// The mean of the base's rows.
    Mean,
    /// The base's last row, as Megatron-LLM's converter does.
    CopyLast,
    /// Normally distributed numbers about 0 with the base's `initializer_range`, from the run's seed.
    Normal,
}

/// What the model is trained on.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Prefix of the training shard: `<folder>/<name>-train` for `<name>-train-text.bin` and its companions.
    pub train: PathBuf,
    /// Prefix of a validation shard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<PathBuf>,
    /// Shares of the training shard for training, validation and test, as Megatron-LM cuts them; instead of a
    /// validation shard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<[f64; 3]>,
    /// What rows are filled up with, if not the `<PAD>` of the manifest. It changes no number: padding is masked by
    /// its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pad_id: Option<u32>,
    /// How documents are laid out in rows.
    #[serde(default)]
    pub rows: RowLayout,
    /// What becomes of a document with more than `batch.sequence_length` + 1 tokens: the last one is predicted, not read.
    #[serde(default)]
    pub too_long: TooLongRule,
}

/// How documents are laid out in rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RowLayout {
    /// A document a row, filled up to the longest of its micro-batch, as the reference does it.
    #[default]
    Padded,
    /// Several documents a row, each attending to itself alone, and nothing filled up. An update sees the same
    /// documents and has the same loss and gradient; it has fewer rows.
    Packed,
}

/// What becomes of a document with more tokens than a row takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TooLongRule {
    /// Its end is cut off, as the reference does it.
    #[default]
    Truncate,
    /// It is left out, as if the shard did not have it.
    Drop,
    /// The run is refused.
    Error,
}

/// How many documents an update sees, and how much of each.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BatchConfig {
    /// Documents in an update, however they are laid out in rows.
    pub global: usize,
    /// Rows that the model sees at a time: with padded rows as many documents. `loss.normalize: micro_batch` takes the
    /// means of so many documents, also where rows are packed.
    pub micro: usize,
    /// Tokens of a document that the model reads at most, and places in a packed row.
    pub sequence_length: usize,
}

fn default_multiple() -> NonZeroU32 {
    NonZeroU32::MIN
}
