//! A run's YAML -> a checked [`Config`].
//!
//! Every key is known or refused, with its place; `--set a.b=value` goes through the same door. What can be wrong
//! between two keys is checked here too, before anything is loaded; what concerns the data and the base model is
//! checked where those are opened. Paths are relative to the folder in which the program is started.

mod inputs;
mod compute;
mod lora;
mod objective;
mod watch;
mod settings;

pub use compute::*;
pub use inputs::*;
pub use lora::*;
pub use objective::*;
pub use watch::*;

use std::path::Path;

use anyhow::{Context, Result};
use cli::{BadInput, Yaml, bail_input};
use serde::{Deserialize, Serialize};

/// Everything that defines a run.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What is trained.
    pub model: ModelConfig,
    /// Trains adapters beside the model's matrices, in place of all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraConfig>,
    /// What it is trained on.
    pub data: DataConfig,
    /// How many documents an update sees, and how much of each.
    pub batch: BatchConfig,
    /// How many updates; either this or `epochs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// How often the run sees the training documents, in whole global batches; either this or `steps`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<f64>,
    /// Seeds the order of the documents; Megatron-LM's default.
    #[serde(default = "default_seed")]
    pub seed: u32,
    /// The kind of number that the model computes in; masters, gradients and optimizer state are always `f32`.
    #[serde(default)]
    pub precision: Precision,
    /// Whether activations are kept for the backward pass or computed again.
    #[serde(default)]
    pub recompute: Recompute,
    /// What is minimised.
    #[serde(default)]
    pub loss: LossConfig,
    /// What training adds to activations.
    #[serde(default)]
    pub noise: NoiseConfig,
    /// AdamW.
    pub optimizer: OptimizerConfig,
    /// How the learning rate moves.
    #[serde(default)]
    pub schedule: ScheduleConfig,
    /// When and on how much the model is evaluated; never, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluate: Option<EvaluateConfig>,
    /// After so many steps in a row whose loss or gradient was not finite, the run stops: it has diverged. No
    /// checkpoint is saved during such a row.
    #[serde(default = "default_stop_after_skipped")]
    pub stop_after_skipped: u64,
    /// Where the reference does otherwise than one would.
    #[serde(default)]
    pub compat: CompatConfig,
    /// When the run is saved.
    #[serde(default)]
    pub checkpoint: CheckpointConfig,
    /// What is said on the way.
    #[serde(default)]
    pub logging: LoggingConfig,
    /// How several processes share the work; of no account if there is one.
    #[serde(default)]
    pub parallel: ParallelConfig,
    /// Where the model computes.
    #[serde(default)]
    pub device: DeviceChoice,
    /// What is in CPU memory although the model computes on a GPU.
    #[serde(default)]
    pub offload: Offload,
    /// How many CPU threads compute; all cores, if left out. The numbers of a run can depend on it in the last bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<u16>,
}

fn default_seed() -> u32 {
    1234
}

fn default_stop_after_skipped() -> u64 {
    10
}

impl Config {
    /// Reads a file and lays `dotted.key=value` settings over it, values in YAML.
    pub fn read(path: &Path, settings: &[String]) -> Result<Self> {
        let file = Yaml::open(path).bad_input()?;
        let config: Self = if settings.is_empty() {
            file.parse().bad_input()?
        } else {
            let merged = settings::merge(&file, settings)?;
            match merged.parse() {
                Ok(config) => config,
                // A mistake in the file is shown where it is in the file, and not in the merged text.
                Err(error) => {
                    let alone: Self = file.parse().bad_input()?;
                    return Err(settings::blame(&file, settings, &alone, &error)?).bad_input();
                }
            }
        };
        config.check().with_context(|| path.display().to_string()).bad_input()?;
        Ok(config)
    }

    /// How many micro-batches make an update.
    pub fn micro_batches(&self) -> usize {
        self.batch.global / self.batch.micro
    }

    /// What can be wrong between keys, or with a number alone.
    fn check(&self) -> Result<()> {
        let BatchConfig { global, micro, sequence_length } = self.batch;
        for (key, value) in [
            ("batch.global", global),
            ("batch.micro", micro),
            ("batch.sequence_length", sequence_length),
            ("loss.chunk_tokens", self.loss.chunk_tokens.unwrap_or(1)),
            ("checkpoint.keep", self.checkpoint.keep),
            ("parallel.pipeline", self.parallel.pipeline),
            ("parallel.tensor", self.parallel.tensor),
            ("parallel.replicate", self.parallel.replicate),
        ] {
            positive(key, value as u64)?;
        }
        positive("logging.every", self.logging.every)?;
        if let Some(peak) = self.logging.peak_tflops {
            above_zero("logging.peak_tflops", peak)?;
        }
        positive("stop_after_skipped", self.stop_after_skipped)?;
        for (key, every) in [
            ("checkpoint.every", self.checkpoint.every),
            ("checkpoint.keep_every", self.checkpoint.keep_every),
        ] {
            every.map_or(Ok(()), |every| positive(key, every))?;
        }
        if let Some(threads) = self.threads {
            positive("threads", u64::from(threads))?;
        }
        if !global.is_multiple_of(micro) {
            let (below, above) = (global - global % micro, global - global % micro + micro);
            let nearest = match below {
                0 => format!("{above} is the smallest global batch that it divides"),
                _ => format!("{below} and {above} are the nearest global batches that it divides"),
            };
            bail_input!(
                "`batch.global` is {global}, which `batch.micro`, {micro}, does not divide\nhint: {nearest}"
            );
        }
        match (self.steps, self.epochs) {
            (Some(_), Some(_)) => {
                bail_input!("both `steps` and `epochs` are given\nhint: keep one of the two")
            }
            (None, None) => bail_input!(
                "neither `steps` nor `epochs` is given\nhint: `epochs: 1` is a good start"
            ),
            (Some(steps), None) => positive("steps", steps)?,
            (None, Some(epochs)) => above_zero("epochs", epochs)?,
        }
        self.check_data()?;
        self.check_loss()?;
        self.check_noise()?;
        self.check_lora()?;
        self.check_parallel()?;
        self.check_optimizer()
    }

    fn check_parallel(&self) -> Result<()> {
        let ParallelConfig { pipeline, zero, replicate, .. } = self.parallel;
        if pipeline > 1 && zero.shards_gradients() {
            bail_input!(
                "`parallel.zero` is {}, and with `parallel.pipeline`, {pipeline}, it can be 0 or 1: what ranks send at 2 and 3 \
                 for every micro-batch would hold up all stages every time\n\
                 hint: set `parallel.zero` to 1; a stage has a part of weights and gradients as it is",
                u8::from(zero)
            );
        }
        if replicate > 1 && zero == Zero::Nothing {
            bail_input!(
                "`parallel.replicate` is {replicate}, but with `parallel.zero: 0` nothing is sharded: every rank has all of it as \
                 it is\nhint: leave `parallel.replicate` out, or set `parallel.zero` to 1, 2 or 3"
            );
        }
        Ok(())
    }

    fn check_data(&self) -> Result<()> {
        if let Some(split) = self.data.split {
            if self.data.validation.is_some() {
                bail_input!(
                    "both `data.validation` and `data.split` are given\n\
                     hint: validate either on a shard of its own or on a part of the training shard"
                );
            }
            let sum: f64 = split.iter().sum();
            if !sum.is_finite() || split.iter().any(|share| *share < 0.0) || split[0] <= 0.0 {
                bail_input!(
                    "`data.split` is {split:?}; it takes the shares of training, validation and test, none below 0 \
                     and the first above 0\nhint: the reference's is `[969, 30, 1]`"
                );
            }
        }
        let Some(evaluate) = &self.evaluate else {
            if self.checkpoint.keep_best {
                bail_input!(
                    "`checkpoint.keep_best` is on, but nothing is evaluated\nhint: say when with `evaluate.every`"
                );
            }
            return Ok(());
        };
        if let Some(EarlyStopping { patience, min_delta }) = evaluate.early_stopping {
            positive("evaluate.early_stopping.patience", patience)?;
            if !(min_delta >= 0.0 && min_delta.is_finite()) {
                bail_input!(
                    "`evaluate.early_stopping.min_delta` is {min_delta}, expected 0 or more"
                );
            }
        }
        positive("evaluate.every", evaluate.every)?;
        if let Some(batches) = evaluate.batches {
            positive("evaluate.batches", batches as u64)?;
        }
        match (&self.data.validation, self.data.split) {
            (None, None) => bail_input!(
                "`evaluate` is given, but there is nothing to evaluate on\n\
                 hint: name a shard in `data.validation`, or cut one off with `data.split: [969, 30, 1]`"
            ),
            (None, Some(_)) if evaluate.batches.is_none() => bail_input!(
                "`evaluate.batches` is missing: with `data.split`, each evaluation draws so many global batches"
            ),
            _ => Ok(()),
        }
    }

    fn check_optimizer(&self) -> Result<()> {
        let OptimizerConfig { lr, min_lr, betas, eps, weight_decay, clip_grad } = self.optimizer;
        above_zero("optimizer.lr", lr)?;
        if !(0.0..=lr).contains(&min_lr) {
            bail_input!(
                "`optimizer.min_lr` is {min_lr}, expected between 0 and `optimizer.lr`, {lr}"
            );
        }
        if betas.iter().any(|beta| !(0.0..1.0).contains(beta)) {
            bail_input!("`optimizer.betas` is {betas:?}, expected two numbers from 0 to below 1");
        }
        above_zero("optimizer.eps", eps)?;
        for (key, value) in [("weight_decay", weight_decay), ("clip_grad", clip_grad)] {
            if !(value >= 0.0 && value.is_finite()) {
                bail_input!("`optimizer.{key}` is {value}, expected 0 or more");
            }
        }
        let ScheduleConfig { kind, decay_steps, cooldown_steps, cooldown, .. } = self.schedule;
        decay_steps.map_or(Ok(()), |steps| positive("schedule.decay_steps", steps))?;
        if kind != ScheduleKind::WarmupStableDecay
            && (cooldown_steps.is_some() || cooldown != Cooldown::default())
        {
            bail_input!(
                "`schedule.cooldown` and `cooldown_steps` belong to another schedule\n\
                 hint: `schedule.kind: warmup_stable_decay` has a cooldown"
            );
        }
        cooldown_steps.map_or(Ok(()), |steps| positive("schedule.cooldown_steps", steps))
    }

    fn check_noise(&self) -> Result<()> {
        let NoiseConfig { dropout, lima_dropout, neftune_alpha } = self.noise;
        if !(0.0..1.0).contains(&dropout) {
            bail_input!("`noise.dropout` is {dropout}, expected from 0 to below 1");
        }
        if lima_dropout && dropout == 0.0 {
            bail_input!(
                "`noise.lima_dropout` is on, but `noise.dropout` is 0\n\
                 hint: `noise.dropout` is how much the last block drops; LIMA's models have 0.2 to 0.3"
            );
        }
        if !(neftune_alpha >= 0.0 && neftune_alpha.is_finite()) {
            bail_input!("`noise.neftune_alpha` is {neftune_alpha}, expected 0 or more");
        }
        Ok(())
    }

    fn check_lora(&self) -> Result<()> {
        let Some(LoraConfig { r, lora_alpha, lora_dropout, target_modules, .. }) = &self.lora
        else {
            return Ok(());
        };
        positive("lora.r", u64::from(*r))?;
        above_zero("lora.lora_alpha", *lora_alpha)?;
        if !(0.0..1.0).contains(lora_dropout) {
            bail_input!("`lora.lora_dropout` is {lora_dropout}, expected from 0 to below 1");
        }
        if target_modules.is_empty() {
            bail_input!(
                "`lora.target_modules` names no matrix\n\
                 hint: `[q_proj, v_proj]` is peft's choice for a Llama; `k_proj`, `o_proj`, `gate_proj`, `up_proj` and \
                 `down_proj` are the others"
            );
        }
        Ok(())
    }

    fn check_loss(&self) -> Result<()> {
        let LossConfig { train_on, weights, z_loss, label_smoothing, .. } = &self.loss;
        if train_on.is_some() && weights.is_some() {
            bail_input!(
                "both `loss.train_on` and `loss.weights` are given\n\
                 hint: `loss.weights: {{assistant: 1, user: 0.1}}` says both whose tokens count and how much"
            );
        }
        if train_on.as_ref().is_some_and(Vec::is_empty) {
            bail_input!("`loss.train_on` names nobody\nhint: `[assistant]` is the usual choice");
        }
        let role_weights = self.loss.role_weights();
        if role_weights.iter().any(|weight| !(*weight >= 0.0 && weight.is_finite())) {
            bail_input!("`loss.weights` has {role_weights:?}, expected no weight below 0");
        }
        if role_weights.iter().all(|weight| *weight == 0.0) {
            bail_input!(
                "`loss.weights` are all 0, so nothing is learned\nhint: `{{assistant: 1}}`"
            );
        }
        if !(*z_loss >= 0.0 && z_loss.is_finite()) {
            bail_input!(
                "`loss.z_loss` is {z_loss}, expected 0 or more\nhint: 1e-4 is a usual value"
            );
        }
        if !(0.0..1.0).contains(label_smoothing) {
            bail_input!("`loss.label_smoothing` is {label_smoothing}, expected from 0 to below 1");
        }
        Ok(())
    }
}

fn positive(key: &str, value: u64) -> Result<()> {
    if value == 0 {
        bail_input!("`{key}` is 0, expected at least 1");
    }
    Ok(())
}

fn above_zero(key: &str, value: f64) -> Result<()> {
    if !(value > 0.0 && value.is_finite()) {
        bail_input!("`{key}` is {value}, expected more than 0");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const RUN: &str = "\
model: {base: base}
data: {train: shards/demo-train, split: [969, 30, 1]}
batch: {global: 64, micro: 2, sequence_length: 512}
steps: 100
optimizer: {lr: 1.0e-3}
";

    fn read(text: &str, settings: &[&str]) -> Result<Config> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.yaml");
        fs_err::write(&path, text).unwrap();
        let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
        let shown = |error: anyhow::Error| {
            anyhow::anyhow!(
                format!("{error:#}").replace(&format!("{}/", folder.path().display()), "")
            )
        };
        Config::read(&path, &settings).map_err(shown)
    }

    #[track_caller]
    fn check(settings: &[&str], expected: &Expect) {
        expected.assert_eq(&read(RUN, settings).unwrap_err().to_string());
    }

    #[test]
    fn settings_replace_values_and_make_groups() {
        let config =
            read(RUN, &["optimizer.betas=[0.9, 0.95]", "evaluate.every=5", "evaluate.batches=1"])
                .unwrap();
        assert_eq!(config.optimizer.betas, [0.9, 0.95]);
        assert_eq!(
            config.evaluate,
            Some(EvaluateConfig {
                every: 5,
                at_start: true,
                early_stopping: None,
                batches: Some(1)
            })
        );
        assert_eq!(config.seed, 1234);
    }

    #[test]
    fn a_configuration_that_does_not_add_up_is_refused_with_both_numbers() {
        check(
            &["batch.micro=3"],
            &expect![[r#"
                run.yaml: `batch.global` is 64, which `batch.micro`, 3, does not divide
                hint: 63 and 66 are the nearest global batches that it divides"#]],
        );
        check(
            &["epochs=2"],
            &expect![[r#"
                run.yaml: both `steps` and `epochs` are given
                hint: keep one of the two"#]],
        );
        check(
            &["optimizer.min_lr=0.1"],
            &expect![
                "run.yaml: `optimizer.min_lr` is 0.1, expected between 0 and `optimizer.lr`, 0.001"
            ],
        );
        check(
            &["parallel.zero=3", "parallel.pipeline=2"],
            &expect![[r#"
                run.yaml: `parallel.zero` is 3, and with `parallel.pipeline`, 2, it can be 0 or 1: what ranks send at 2 and 3 for every micro-batch would hold up all stages every time
                hint: set `parallel.zero` to 1; a stage has a part of weights and gradients as it is"#]],
        );
        check(
            &["parallel={zero: 0, replicate: 2}"],
            &expect![[r#"
                run.yaml: `parallel.replicate` is 2, but with `parallel.zero: 0` nothing is sharded: every rank has all of it as it is
                hint: leave `parallel.replicate` out, or set `parallel.zero` to 1, 2 or 3"#]],
        );
        check(
            &["evaluate.every=10"],
            &expect![
                "run.yaml: `evaluate.batches` is missing: with `data.split`, each evaluation draws so many global batches"
            ],
        );
    }

    #[test]
    fn a_mistyped_setting_is_named_with_the_key_that_was_meant() {
        check(
            &["optimizer.lrr=1"],
            &expect![[r#"
                --set optimizer.lrr=1: unknown key `lrr`
                hint: did you mean `lr`?"#]],
        );
        check(
            &["evaluate.batches=1", "evaluate.every=5", "lr=1", "seed=7"],
            &expect![[r#"
                --set lr=1: unknown key `lr`
                hint: did you mean `optimizer.lr`?"#]],
        );
        check(
            &["seed=7", "batch.micro=many"],
            &expect![
                "--set batch.micro=many: this is not a value of the expected type, a whole number, not negative"
            ],
        );
        check(
            &["seed"],
            &expect![[r#"
            `--set seed` has no `=`
            hint: write `--set optimizer.lr=1e-5`"#]],
        );
        check(&["seed.x=1"], &expect!["--set seed.x=1: expected a single value"]);
    }

    #[test]
    fn a_mistake_in_the_file_is_shown_in_the_file_also_when_something_is_set() {
        let text = RUN.replace("steps", "stepps");
        let error = read(&text, &["seed=1"]).unwrap_err().to_string();
        assert!(error.starts_with("run.yaml:4:1: unknown key `stepps`"), "{error}");
    }
}
