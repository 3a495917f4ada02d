//! The groups of keys that say how a run is watched and kept: evaluations, checkpoints, logs.
//!
//! What can be wrong between keys is checked in [`crate::config`]; here stands what each key is where it is left out.

use serde::{Deserialize, Serialize};

/// When and on how much the model is evaluated.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluateConfig {
    /// After every so many steps, and at the end.
    pub every: u64,
    /// Also before the first step.
    #[serde(default = "yes")]
    pub at_start: bool,
    /// When the run ends early because evaluations get no better; never, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<EarlyStopping>,
    /// Global batches in an evaluation. A validation shard is read from its start, to its end if this is left out; of
    /// a split's validation part each evaluation draws new documents, as Megatron-LM does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batches: Option<usize>,
}

/// When a run ends early.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopping {
    /// After so many evaluations in a row that were no better than the best before them.
    pub patience: u64,
    /// By how much a loss must be lower to be better.
    #[serde(default)]
    pub min_delta: f64,
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
    /// Whether the run is also saved at each evaluation with the lowest loss so far, and the best of these stays on disk
    /// besides the newest.
    pub keep_best: bool,
    /// Checkpoints of steps that this divides stay on disk as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_every: Option<u64>,
    /// How many MiB of its state a rank may copy, beyond the largest unit of its model, so that an update need not wait
    /// until what it overwrites is on the disk.
    pub buffer_mib: u64,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self { every: None, keep: 2, keep_every: None, keep_best: false, buffer_mib: 256 }
    }
}

/// What is said on the way. `metrics.jsonl` has every step whatever stands here.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoggingConfig {
    /// A line on the console after every so many steps.
    pub every: u64,
    /// What the hardware of all ranks together can compute in the run's precision, in 10^12 operations a second: 989 for
    /// an H100 in bf16, 312 for an A100. With it, metrics say which share is used (MFU).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_tflops: Option<f64>,
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
        Self { every: 1, peak_tflops: None, tensorboard: false, wandb: None }
    }
}

fn yes() -> bool {
    true
}
