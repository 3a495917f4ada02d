//! The groups of keys that say what is minimised and how: the loss, noise, the optimizer, the schedule.
//!
//! What can be wrong between keys is checked in [`crate::config`]; here stands what each key is where it is left out.

use serde::{Deserialize, Serialize};
use shards::Role;

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

fn default_betas() -> [f64; 2] {
    [0.9, 0.999]
}

fn default_eps() -> f64 {
    1e-8
}

fn default_clip_grad() -> f64 {
    1.0
}
