//! The groups of a run's keys, and what a key is where it is left out.
//!
//! What can be wrong between keys is checked in [`crate::config`]; here stands what each key is.

use std::num::NonZeroU32;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use shards::Role;

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
}

/// How many documents an update sees, and how much of each.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BatchConfig {
    /// Documents in an update.
    pub global: usize,
    /// Documents that the model sees at a time.
    pub micro: usize,
    /// Tokens of a document that the model reads at most.
    pub sequence_length: usize,
}

/// The kind of number that the model computes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    Fp32,
    /// bfloat16 with `f32` norms, softmax and loss.
    Bf16,
}

/// Whether activations are kept for the backward pass or computed again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Recompute {
    /// Keep them all.
    #[default]
    None,
    /// Keep what goes into each unit and run the unit again: less memory, about a third more time, the same bits.
    All,
}

/// What is minimised.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossConfig {
    /// What the sum of the token losses is divided by.
    pub normalize: Normalize,
    /// Whose tokens are learned.
    pub train_on: Vec<Speaker>,
    /// How many tokens' logits are held at a time; what suits the model and the device, if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunk_tokens: Option<usize>,
}

impl Default for LossConfig {
    fn default() -> Self {
        let train_on = vec![Speaker::Assistant];
        Self { normalize: Normalize::default(), train_on, chunk_tokens: None }
    }
}

/// What the sum of the token losses is divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalize {
    /// The number of supervised tokens in the step: every token weighs the same.
    #[default]
    Tokens,
    /// The supervised tokens of its micro-batch, and then the number of micro-batches: Megatron-LM's mean of means,
    /// in which a token of a short answer weighs more.
    MicroBatch,
}

/// A role, as the configuration names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Speaker {
    /// [`Role::System`]
    System,
    /// [`Role::User`]
    User,
    /// [`Role::Assistant`]
    Assistant,
    /// [`Role::Context`]
    Context,
}

impl From<Speaker> for Role {
    fn from(speaker: Speaker) -> Self {
        match speaker {
            Speaker::System => Self::System,
            Speaker::User => Self::User,
            Speaker::Assistant => Self::Assistant,
            Speaker::Context => Self::Context,
        }
    }
}

/// AdamW. Weight decay is decoupled and leaves norms alone.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerConfig {
    /// The highest learning rate.
    pub lr: f64,
    /// The learning rate at the end of the schedule.
    #[serde(default)]
    pub min_lr: f64,
    /// Decay of the running means of gradient and squared gradient; PyTorch's default.
    #[serde(default = "default_betas")]
    pub betas: [f64; 2],
    /// Added to the denominator; PyTorch's default.
    #[serde(default = "default_eps")]
    pub eps: f64,
    /// Share of a matrix that an update at learning rate 1 would take away.
    #[serde(default)]
    pub weight_decay: f64,
    /// The gradient's largest global norm; Megatron-LM's default. `0` turns clipping off.
    #[serde(default = "default_clip_grad")]
    pub clip_grad: f64,
}

/// How the learning rate moves.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleConfig {
    /// The shape after the warm-up.
    pub kind: ScheduleKind,
    /// Updates until the highest rate; the first update has rate 0 if there are any.
    pub warmup_steps: u64,
    /// Update at which `min_lr` is reached; the last one, if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decay_steps: Option<u64>,
}

/// The shape of the schedule after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleKind {
    /// Half a cosine down to `min_lr`.
    #[default]
    Cosine,
    /// A straight line down to `min_lr`.
    Linear,
    /// No decay.
    Constant,
}

/// When and on how much the model is evaluated.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluateConfig {
    /// After every so many steps, and at the end.
    pub every: u64,
    /// Global batches in an evaluation. A validation shard is read from its start, to its end if this is left out; of
    /// a split's validation part each evaluation draws new documents, as Megatron-LM does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batches: Option<usize>,
}

/// When the run is saved. It is always saved at its end and when it is interrupted.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointConfig {
    /// After every so many steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
    /// How many of the newest checkpoints stay on disk.
    pub keep: usize,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self { every: None, keep: 2 }
    }
}

/// What is said on the way. `metrics.jsonl` has every step whatever stands here.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoggingConfig {
    /// A line on the console after every so many steps.
    pub every: u64,
    /// Whether an event file for TensorBoard is written, in `tensorboard` of the run's folder.
    pub tensorboard: bool,
    /// Whether an offline run of Weights & Biases is written, in `wandb` of the run's folder; `wandb sync` uploads it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wandb: Option<WandbConfig>,
}

/// How the run stands in Weights & Biases.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WandbConfig {
    /// The project.
    pub project: String,
    /// The user or team; the one who uploads, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity: Option<String>,
    /// The run's name; that of its folder, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A group of runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// A sentence about the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// Labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

impl Default for LoggingConfig {
    fn default() -> Self {
        Self { every: 1, tensorboard: false, wandb: None }
    }
}

/// Where the model computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChoice {
    /// The first GPU if there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The first GPU; an error if there is none.
    Cuda,
}

fn default_multiple() -> NonZeroU32 {
    NonZeroU32::MIN
}

fn default_betas() -> [f64; 2] {
    [0.9, 0.999]
}

fn default_eps() -> f64 {
    1e-8
}

fn default_clip_grad() -> f64 {
    1.0
}
