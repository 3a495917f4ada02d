//! A configuration -> what its run would take: memory, operations, steps, time. No weights are needed and nothing is loaded.

use std::fmt::Write;

use anyhow::{Context, Result};
use clap::ValueEnum;
use cli::{BadInput, bail_input};
use shards::Manifest;
use shards::reader::PairReader;
use tch::Device;

use crate::config::{
    Config, DeviceChoice, LoraConfig, Offload, Precision, Recompute, TargetModule, TooLongRule,
    Zero,
};
use crate::documents;
use crate::fit;
use crate::flops::ModelFlops;
use crate::llama_config::LlamaConfig;
use crate::memory::Memory;
use crate::new_rows;
use crate::order::boundaries;
use crate::params::lora::Split;
use crate::run;
use crate::traffic::Traffic;
use crate::units::unit_specs;

/// What is known besides the configuration.
#[derive(Clone, Debug)]
pub struct Options {
    /// The processes that train.
    pub ranks: u32,
    /// The base's shape, where its folder is not there.
    pub shape: Option<LlamaConfig>,
    /// How many tokens a document has in the mean, where there are no shards.
    pub mean_tokens: Option<u32>,
    /// The memory of each rank's GPU, in GiB.
    pub gpu_memory: Option<f64>,
    /// The share of a GPU's peak that the model's operations get.
    pub utilisation: f64,
}

/// GPUs whose peak and memory are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Gpu {
    /// A100 with 80 GB
    #[value(name = "a100-80")]
    A100,
    /// H100 SXM
    H100,
    /// H200 SXM
    H200,
}

impl Gpu {
    const ALL: [Self; 3] = [Self::A100, Self::H100, Self::H200];

    fn name(self) -> &'static str {
        match self {
            Self::A100 => "A100-80",
            Self::H100 => "H100",
            Self::H200 => "H200",
        }
    }

    /// bf16 operations a second without sparsity, in NVIDIA's data sheets.
    fn peak(self) -> f64 {
        match self {
            Self::A100 => 312e12,
            Self::H100 | Self::H200 => 989e12,
        }
    }

    /// What the driver says of its memory, in GiB: less than the name by what error correction and the driver take.
    pub fn memory(self) -> f64 {
        match self {
            Self::A100 | Self::H100 => 79.1,
            Self::H200 => 139.8,
        }
    }
}

/// The share of a GPU's memory that a plan may fill: the rest is for CUDA's context, communication and fragments.
const USABLE: f64 = 0.93;

/// What a run does, as far as it is known.
struct Work {
    /// Documents that are trained on, if there are shards.
    documents: Option<usize>,
    steps: Option<u64>,
    /// In one pass over them, or in the run if there are no shards.
    tokens: u64,
    /// The squares of the documents' lengths, added up.
    squared: f64,
    /// How many passes are made.
    passes: f64,
}

/// The plan as text.
pub fn plan(config: &Config, options: &Options) -> Result<String> {
    let (model, mut remarks) = shape(config, options)?;
    fit::check_tensor(config, &model)?;
    fit::check_pipeline(config, &model)?;
    fit::check_layout(options.ranks as usize, "`--ranks`", &config.parallel)?;
    let work = work(config, options, &mut remarks)?;
    if config.offload == Offload::Optimizer {
        remarks
            .push("`offload: optimizer`: the CPU's part of each update is not in the time".into());
    }
    let mut text = String::new();
    let (trained, frozen) = parameters(config, &model);
    let millions = |it: i64| it as f64 / 1e6;
    writeln!(
        text,
        "{:.1} M parameters, {:.1} M of them trained",
        millions(trained + frozen),
        millions(trained)
    )?;
    text += &work.describe(config);
    text += &describe_work(config, &model, options, &work);
    let memory = memory(config, &model, i64::from(options.ranks));
    text += &describe_memory(config, &memory, options.ranks);
    text += &describe_traffic(config, &model, options.ranks, work.tokens_of_a_step(config));
    if let Some(gib) = options.gpu_memory {
        text += &fit(config, &model, options.ranks, gib);
    }
    for remark in remarks {
        writeln!(text, "note: {remark}")?;
    }
    Ok(text)
}

/// Trained parameters, and those that stay.
fn parameters(config: &Config, model: &LlamaConfig) -> (i64, i64) {
    let splits = unit_specs(model).into_iter().map(|it| Split::of(it, config.lora.as_ref()));
    splits.fold((0, 0), |(trained, frozen), it| {
        (trained + it.trained.numel(), frozen + it.frozen.numel())
    })
}

/// The model's shape, with rows for new tokens as far as they are known.
fn shape(config: &Config, options: &Options) -> Result<(LlamaConfig, Vec<String>)> {
    let base = &config.model.base;
    let mut remarks = Vec::new();
    let mut model = match &options.shape {
        Some(shape) => shape.clone(),
        None if base.join("config.json").exists() => LlamaConfig::read(base)?,
        None => bail_input!(
            "`model.base` is `{}`, and there is no `config.json`\n\
             hint: a plan needs no weights, but it needs the shape: put that one file there, or name a known model \
             with `--preset`",
            base.display()
        ),
    };
    if config.model.new_rows.is_some() {
        match Manifest::of_shards(&config.data.train).ok().flatten() {
            Some(_) => {
                model.vocab_size = new_rows::rows(&config.model, &model, &config.data.train)?
            }
            None => remarks.push(format!(
                "there are no shards `{}` with a manifest: rows for new tokens are not counted",
                config.data.train.display()
            )),
        }
    }
    Ok((model, remarks))
}

/// What there is to do.
fn work(config: &Config, options: &Options, remarks: &mut Vec<String>) -> Result<Work> {
    let most = config.batch.sequence_length as u64;
    if !config.data.train.with_file_name(index_name(config)).exists() {
        let mean = options.mean_tokens.map_or(most, u64::from);
        let why = if options.mean_tokens.is_some() {
            "as `--mean-tokens` says"
        } else {
            "the most that it can have; `--mean-tokens` tells better"
        };
        remarks.push(format!(
            "there are no shards `{}`: every document is counted with {mean} tokens, {why}",
            config.data.train.display()
        ));
        let documents = config.steps.unwrap_or(0) * config.batch.global as u64;
        return Ok(Work {
            documents: None,
            steps: config.steps,
            tokens: documents * mean,
            squared: documents as f64 * (mean * mean) as f64,
            passes: 1.0,
        });
    }
    let shard = PairReader::open(&config.data.train).bad_input()?;
    let lengths = (0..shard.len()).map(|it| shard.document(it).len() as u64);
    let dropped = |length: &u64| config.data.too_long == TooLongRule::Drop && *length > most + 1;
    let read: Vec<u64> =
        lengths.filter(|length| !dropped(length)).map(|length| length.min(most)).collect();
    let steps = documents::steps(config, read.len())?;
    let train = config.data.split.map_or(read.len(), |split| boundaries(read.len(), split)[1]);
    // Which documents a split takes is drawn; they are as long as all are.
    let share = train as f64 / read.len().max(1) as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a number of tokens"
    )]
    let tokens = (read.iter().sum::<u64>() as f64 * share).round() as u64;
    Ok(Work {
        documents: Some(train),
        steps: Some(steps),
        tokens,
        squared: read.iter().map(|it| (it * it) as f64).sum::<f64>() * share,
        passes: steps as f64 * config.batch.global as f64 / train.max(1) as f64,
    })
}

fn index_name(config: &Config) -> String {
    format!("{}-text.idx", config.data.train.file_name().unwrap_or_default().to_string_lossy())
}

impl Work {
    /// Floating-point operations of the whole run.
    fn flops(&self, flops: ModelFlops) -> f64 {
        flops.of_tokens(self.tokens as f64, self.squared) * self.passes
    }

    /// In the mean.
    fn tokens_of_a_step(&self, config: &Config) -> f64 {
        match self.steps {
            Some(steps) if steps > 0 => self.tokens as f64 * self.passes / steps as f64,
            // No document has more.
            _ => (config.batch.global * config.batch.sequence_length) as f64,
        }
    }

    fn describe(&self, config: &Config) -> String {
        let steps = match self.steps {
            Some(steps) => format!("{steps} steps of {} documents", config.batch.global),
            None => format!("steps of {} documents, as many as `epochs` make", config.batch.global),
        };
        match self.documents {
            Some(documents) => format!(
                "{steps}: {:.2} passes over {documents} documents, {} tokens a pass\n",
                self.passes, self.tokens
            ),
            None if self.steps.is_some() => format!("{steps}: {} tokens\n", self.tokens),
            None => format!("{steps}\n"),
        }
    }
}

fn describe_work(config: &Config, model: &LlamaConfig, options: &Options, work: &Work) -> String {
    let Some(steps) = work.steps else { return String::new() };
    let all = work.flops(ModelFlops::of(model, config.lora.as_ref()));
    let mut text = format!("{:.3e} operations a step, {all:.3e} in all\n", all / steps as f64);
    // A pass forward is a third of the operations; one that is made again is not the model's.
    let again = match config.recompute {
        _ if data_ranks(config, options.ranks) > 1 && config.parallel.zero.shards_weights() => 1.0,
        Recompute::None => 0.0,
        Recompute::All => 1.0,
        Recompute::Every(n) => 1.0 / f64::from(n.get()),
    };
    let waited = bubble(config, options.ranks);
    if waited > 0.0 {
        let share = 100.0 * waited / (1.0 + waited);
        text += &format!(
            "{} stages wait for each other {share:.1} % of the time\n",
            config.parallel.pipeline
        );
    }
    let times = Gpu::ALL.map(|gpu| {
        let seconds = all * (1.0 + again / 3.0) * (1.0 + waited)
            / (gpu.peak() * options.utilisation * f64::from(options.ranks));
        format!("{} on {}", duration(seconds), gpu.name())
    });
    let gpus = if options.ranks == 1 { String::new() } else { format!("{} times ", options.ranks) };
    text += &format!(
        "estimated time in bf16 at {:.0} % of the peak: {gpus}{}\n",
        100.0 * options.utilisation,
        times.join(", ")
    );
    text
}

/// What part of the time in which all micro-batches are computed stages wait besides: `(p - 1) / m` with 1F1B.
fn bubble(config: &Config, ranks: u32) -> f64 {
    let m = config.micro_batches().div_ceil(data_ranks(config, ranks).max(1));
    (config.parallel.pipeline - 1) as f64 / m.max(1) as f64
}

fn duration(seconds: f64) -> String {
    match seconds {
        ..120.0 => format!("{seconds:.0} s"),
        ..7200.0 => format!("{:.0} min", seconds / 60.0),
        ..172_800.0 => format!("{:.1} h", seconds / 3600.0),
        _ => format!("{:.1} days", seconds / 86400.0),
    }
}

/// The memory of a rank; where the model computes decides how many logits are held.
fn memory(config: &Config, model: &LlamaConfig, ranks: i64) -> Memory {
    let device = if config.device == DeviceChoice::Cpu { Device::Cpu } else { Device::Cuda(0) };
    Memory::of(config, model, ranks, run::chunk_tokens(config, model, device))
}

/// The ranks that see different documents.
fn data_ranks(config: &Config, ranks: u32) -> usize {
    ranks as usize / config.parallel.tensor / config.parallel.pipeline
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / (1_u64 << 30) as f64
}

fn describe_memory(config: &Config, memory: &Memory, ranks: u32) -> String {
    let &Memory { masters, weights, frozen, gradients, moments, host, .. } = memory;
    let &Memory { activations, working, .. } = memory;
    let zero = if data_ranks(config, ranks) == 1 { 0 } else { u8::from(config.parallel.zero) };
    let tensor = match config.parallel.tensor {
        1 => String::new(),
        tensor => format!(" and tensor parallelism {tensor}"),
    };
    let stages = match config.parallel.pipeline {
        1 => String::new(),
        stages => format!(", of the one of {stages} stages that takes most"),
    };
    let replicas = match config.parallel.replicate {
        1 => String::new(),
        replicas => format!(" in {replicas} replicas"),
    };
    let mut text = format!(
        "memory of each of {ranks} ranks at ZeRO {zero}{replicas}{tensor}{stages}, in GiB:\n"
    );
    if ranks == 1 {
        text = "memory, in GiB:\n".to_string();
    }
    for (name, bytes, what) in [
        ("masters", masters, ""),
        ("weights", weights, ""),
        ("frozen weights", frozen, ""),
        ("gradients", gradients, ""),
        ("optimizer", moments, ""),
        ("activations", activations, "  estimate, at most"),
        ("a unit's work, or logits", working, "  estimate, at most"),
        ("in all", memory.total(), "  and the process itself, with CUDA up to 1"),
        ("in CPU memory", host, "  masters and optimizer: `offload`"),
    ] {
        if bytes > 0 {
            text += &format!("  {name:<25}{:>9.2}{what}\n", gib(bytes));
        }
    }
    text
}

/// What a rank sends, in 10^9 bytes.
fn describe_traffic(config: &Config, model: &LlamaConfig, ranks: u32, tokens: f64) -> String {
    let traffic = Traffic::of(config, model, i64::from(ranks), tokens);
    let Traffic { gradients, weights, replicas, tensor, stages } = traffic;
    let parts = [
        ("gradients", gradients),
        ("weights", weights),
        ("gradients to replicas", replicas),
        ("hidden states to who shares its matrices (estimate)", tensor),
        ("hidden states to other stages (estimate)", stages),
    ];
    let parts = parts.iter().filter(|(_, bytes)| *bytes > 0);
    let parts: Vec<String> =
        parts.map(|(what, bytes)| format!("{:.2} {what}", *bytes as f64 / 1e9)).collect();
    match parts[..] {
        [] => String::new(),
        _ => format!("sent by a rank in a step, in GB: {}\n", parts.join(", ")),
    }
}

/// Whether it fits, and what to change where it does not.
fn fit(config: &Config, model: &LlamaConfig, ranks: u32, available: f64) -> String {
    let usable = USABLE * available;
    let needed = |config: &Config, ranks: u32| gib(memory(config, model, i64::from(ranks)).total());
    let now = needed(config, ranks);
    if now <= usable {
        return format!("it fits: {now:.1} of {available:.1} GiB\n");
    }
    let mut text =
        format!("it does not fit: {now:.1} GiB, and {usable:.1} of {available:.1} can be used\n");
    // One change after the other, each on top of those before it.
    let mut changed = config.clone();
    let mut said = Vec::new();
    let mut last = now;
    let mut try_it = |changed: &Config, ranks: u32, what: String, text: &mut String| -> bool {
        let needs = needed(changed, ranks);
        if needs >= last {
            return false;
        }
        last = needs;
        said.push(what);
        let fits = if needs <= usable { ": fits" } else { "" };
        *text += &format!("  with {}: {needs:.1} GiB{fits}\n", said.join(", "));
        needs <= usable
    };
    if config.precision != Precision::Bf16 {
        changed.precision = Precision::Bf16;
        if try_it(&changed, ranks, "`precision: bf16`".into(), &mut text) {
            return text;
        }
    }
    changed.recompute = Recompute::All;
    if try_it(&changed, ranks, "`recompute: all`".into(), &mut text) {
        return text;
    }
    // With stages it is 0 or 1.
    let stages = config.parallel.pipeline;
    if data_ranks(config, ranks) > 1 && stages == 1 {
        for zero in [Zero::Gradients, Zero::Weights] {
            if zero > config.parallel.zero {
                changed.parallel.zero = zero;
                let what = format!("`parallel.zero: {}`", u8::from(zero));
                if try_it(&changed, ranks, what, &mut text) {
                    return text;
                }
            }
        }
    }
    if config.parallel.replicate > 1 {
        changed.parallel.replicate = 1;
        if try_it(&changed, ranks, "`parallel.replicate: 1`".into(), &mut text) {
            return text;
        }
    }
    if config.batch.micro > 1 {
        changed.batch.micro = 1;
        if try_it(&changed, ranks, "`batch.micro: 1`".into(), &mut text) {
            return text;
        }
    }
    let mut sharded = changed.clone();
    sharded.parallel.zero = if stages == 1 { Zero::Weights } else { Zero::State };
    // A rank without a micro-batch has nothing to do.
    let tensor = config.parallel.tensor;
    let together = stages * tensor;
    let most = u32::try_from(sharded.micro_batches() * together).unwrap_or(u32::MAX);
    let more = std::iter::successors(Some(ranks.next_power_of_two() * 2), |it| it.checked_mul(2));
    let more = more.take_while(|ranks| *ranks <= most);
    let more = more.filter(|ranks| (*ranks as usize).is_multiple_of(together));
    match more.map(|ranks| (ranks, needed(&sharded, ranks))).find(|(_, needs)| *needs <= usable) {
        Some((ranks, needs)) => {
            let zero = u8::from(sharded.parallel.zero);
            text += &format!(
                "  with all of that, `parallel.zero: {zero}` and {ranks} ranks: {needs:.1} GiB: fits\n"
            );
        }
        None if stages > 1 => text += "  no number of ranks makes it fit with so many stages\n",
        None => text += "  no number of ranks makes it fit\n",
    }
    if config.lora.is_none() && config.offload == Offload::None {
        let offloads = Config { offload: Offload::Optimizer, ..changed.clone() };
        let there = memory(&offloads, model, i64::from(ranks));
        let (needs, host) = (gib(there.total()), gib(there.host));
        let fits = if needs <= usable { ": fits" } else { "" };
        text += &format!(
            "  with `offload: optimizer` in place of more ranks: {needs:.1} GiB, and {host:.1} of CPU memory{fits}\n"
        );
    }
    if config.lora.is_none() && tensor == 1 {
        let target_modules = TargetModule::ALL.to_vec();
        changed.lora = Some(LoraConfig { r: 16, target_modules, ..LoraConfig::default() });
        let needs = needed(&changed, ranks);
        let fits = if needs <= usable { ": fits" } else { "" };
        text += &format!(
            "  with LoRA (`lora: {{r: 16, ...}}` on all matrices) in place of more ranks: {needs:.1} GiB{fits}\n"
        );
    }
    text
}

/// Prints the plan.
pub fn print(config: &Config, options: &Options) -> Result<()> {
    cli::print::result(plan(config, options)?).context("writing the plan")
}
