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
    /// What becomes of a document with more than `batch.sequence_length` tokens.
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

/// The kind of number that the model computes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    Fp32,
    /// bfloat16 with `f32` norms, softmax and loss.
    Bf16,
    /// 64-bit floats, masters and gradients too: slow, and exact enough to tell a mistake from rounding. For proofs.
    Fp64,
}

/// How several processes, the ranks, share the work.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ParallelConfig {
    /// What is sharded over the ranks, in place of each of them having all of it.
    pub zero: Zero,
    /// In which kind of number gradients travel between ranks. They are added up in fp32 in any case.
    pub reduce: Wire,
    /// How many seconds a rank waits for the others before it gives up.
    pub timeout: u64,
    /// Compares each call between ranks before it starts: slow, and finds out why a run hangs.
    pub check_calls: bool,
}

impl Default for ParallelConfig {
    fn default() -> Self {
        Self { zero: Zero::default(), reduce: Wire::default(), timeout: 600, check_calls: false }
    }
}

/// What is sharded over the ranks (ZeRO's stages): each adds to the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Zero {
    /// `0`: nothing.
    Nothing,
    /// `1`: masters and the optimizer's state.
    #[default]
    State,
    /// `2`: gradients too. They are added up over the ranks after every micro-batch: more is sent.
    Gradients,
    /// `3`: weights too. They are gathered for every use: more is sent still, and activations are computed again.
    Weights,
}

impl Zero {
    /// Whether a rank has only a part of masters and optimizer state.
    pub fn shards_state(self) -> bool {
        self >= Self::State
    }

    /// Whether a rank has only a part of the gradients.
    pub fn shards_gradients(self) -> bool {
        self >= Self::Gradients
    }

    /// Whether a rank has only a part of the weights.
    pub fn shards_weights(self) -> bool {
        self >= Self::Weights
    }
}

impl TryFrom<u8> for Zero {
    type Error = String;

    fn try_from(stage: u8) -> Result<Self, String> {
        match stage {
            0 => Ok(Self::Nothing),
            1 => Ok(Self::State),
            2 => Ok(Self::Gradients),
            3 => Ok(Self::Weights),
            other => Err(format!("{other} is no stage of ZeRO, expected 0, 1, 2 or 3")),
        }
    }
}

impl From<Zero> for u8 {
    fn from(zero: Zero) -> Self {
        zero as u8
    }
}

/// In which kind of number gradients travel between ranks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Wire {
    /// 32-bit floats.
    #[default]
    Fp32,
    /// bfloat16: half the bytes. Each rank's gradient is rounded once.
    Bf16,
}

/// Which units keep their activations for the backward pass, and which compute them again: `none`, `all`, `every_2`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Recompute {
    /// All keep them.
    #[default]
    None,
    /// Each unit keeps what goes into it and runs again: less memory, about a third more time, the same bits.
    All,
    /// Every so-manieth block runs again, the others keep theirs.
    Every(NonZeroU32),
}

impl Recompute {
    /// Whether a unit, counted from the embedding at 0, runs again.
    pub fn again(self, unit: usize) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Every(n) => unit.is_multiple_of(n.get() as usize),
        }
    }
}

impl TryFrom<String> for Recompute {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "none" => Ok(Self::None),
            "all" => Ok(Self::All),
            other => {
                let n = other.strip_prefix("every_").and_then(|n| n.parse().ok());
                n.map(Self::Every).ok_or_else(|| {
                    format!("`{other}` is not how to recompute: expected `none`, `all` or `every_2` (or another number)")
                })
            }
        }
    }
}

impl From<Recompute> for String {
    fn from(recompute: Recompute) -> Self {
        match recompute {
            Recompute::None => "none".into(),
            Recompute::All => "all".into(),
            Recompute::Every(n) => format!("every_{n}"),
        }
    }
}

/// What is minimised.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossConfig {
    /// What the sum of the token losses is divided by.
    pub normalize: Normalize,
    /// Whose tokens are learned, all with the same weight; the assistant's, if neither this nor `weights` is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_on: Option<Vec<Speaker>>,
    /// How much the tokens of each role count; instead of `train_on`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<RoleWeights>,
    /// Whether the header of a turn, `<|im_start|>assistant` and its newline, is learned.
    pub header: bool,
    /// Whether the end of a turn, `<|im_end|>` and its newline, is learned.
    pub end_token: bool,
    /// Times the mean square of the logarithm of the softmax's denominator is added to the loss; 0 is off.
    pub z_loss: f64,
    /// The share of a label's probability that is spread over the whole vocabulary; 0 is off.
    pub label_smoothing: f64,
    /// Which places go through the final norm and the head. The numbers are the same.
    pub head: HeadPlaces,
    /// How many tokens' logits are held at a time; what suits the model and the device, if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunk_tokens: Option<usize>,
}

impl Default for LossConfig {
    fn default() -> Self {
        Self {
            normalize: Normalize::default(),
            train_on: None,
            weights: None,
            header: true,
            end_token: true,
            z_loss: 0.0,
            label_smoothing: 0.0,
            head: HeadPlaces::default(),
            chunk_tokens: None,
        }
    }
}

impl LossConfig {
    /// How much the tokens of each role count, by the role's number.
    pub fn role_weights(&self) -> [f32; Role::ALL.len()] {
        let weights = self.weights.clone().unwrap_or_else(|| {
            let learned = |speaker| {
                let speakers = self.train_on.as_deref().unwrap_or(&[Speaker::Assistant]);
                Some(f32::from(u8::from(speakers.contains(&speaker))))
            };
            RoleWeights {
                system: learned(Speaker::System),
                user: learned(Speaker::User),
                assistant: learned(Speaker::Assistant),
                context: learned(Speaker::Context),
                others: 0.0,
            }
        });
        Role::ALL.map(|role| weights.of(role))
    }
}

/// How much the tokens of each role count.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoleWeights {
    /// Instructions to the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<f32>,
    /// The human.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<f32>,
    /// The model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assistant: Option<f32>,
    /// A text that an answer rests on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<f32>,
    /// Whoever is not named: Megatron-LLM's `--scalar_loss_mask`.
    pub others: f32,
}

impl RoleWeights {
    fn of(&self, role: Role) -> f32 {
        let own = match role {
            Role::System => self.system,
            Role::User => self.user,
            Role::Assistant => self.assistant,
            Role::Context => self.context,
        };
        own.unwrap_or(self.others)
    }
}

/// Which places go through the final norm and the head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HeadPlaces {
    /// Those at which something is learned, gathered: as much less work as there is less to learn.
    #[default]
    Learned,
    /// All at which there is a token: no work saved.
    All,
}

/// Where the reference does otherwise than one would.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct CompatConfig {
    /// The rows by which embedding and head are filled up beyond the vocabulary of the shards take part in the softmax,
    /// as Megatron-LM's do. Left alone, they have no probability.
    pub padded_logits: bool,
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

/// What training adds to activations; evaluations add nothing. Each draw is a function of `seed`, the step and where in
/// the model it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct NoiseConfig {
    /// Probability that a number is dropped: of the embedding's output, and of what attention and MLP add to it.
    pub dropout: f64,
    /// LIMA's dropout: none on the embedding, and in the blocks from none in the first to `dropout` in the last.
    pub lima_dropout: bool,
    /// NEFTune: uniform noise on the embedding's output, this much over the square root of the document's tokens times
    /// the hidden size. 5 to 15 are usual; 0 is off.
    pub neftune_alpha: f64,
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
    /// With `warmup_stable_decay`: how many updates the decay takes, up to `decay_steps`; a tenth of those, if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cooldown_steps: Option<u64>,
    /// With `warmup_stable_decay`: the shape of the decay.
    pub cooldown: Cooldown,
}

/// The shape of the schedule after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleKind {
    /// Half a cosine down to `min_lr`.
    #[default]
    Cosine,
    /// A straight line down to `min_lr`.
    Linear,
    /// No decay.
    Constant,
    /// With the square root of the warm-up's length over the number of the update; never below `min_lr`.
    InverseSquareRoot,
    /// The highest rate, and at the end a decay to `min_lr`.
    #[serde(alias = "wsd")]
    WarmupStableDecay,
}

/// The shape of the decay at the end of `warmup_stable_decay`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cooldown {
    /// A straight line.
    #[default]
    Linear,
    /// Half a cosine.
    Cosine,
    /// `2 * 0.5^x - 1`.
    Exponential,
    /// `1 - sqrt(x)`.
    MinusSqrt,
}

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
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self { every: None, keep: 2, keep_every: None, keep_best: false }
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

fn yes() -> bool {
    true
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
