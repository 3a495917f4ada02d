//! A configuration, a model's shape and a number of ranks -> the memory that a rank takes.
//!
//! What lies in flat buffers is exact: it is laid out here as [`crate::params`] and [`crate::gradients`] lay it out. What a pass
//! holds is an estimate, and an upper one: as if every row were as long as it may be and everything in it were learned.
//! It follows what autograd keeps of each operation of [`crate::model`].

use std::ops::Range;

use crate::config::{Config, LoraConfig, Offload, Precision, Zero};
use crate::llama_config::LlamaConfig;
use crate::params::lora::Split;
use crate::ranks::stage;
use crate::slots::slots;
use crate::units::{Share, UnitSpec, of_stage, unit_specs};

/// Bytes that a rank takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// What is trained, in fp32.
    pub masters: u64,
    /// What the model computes with, where that is not the masters.
    pub weights: u64,
    /// Of LoRA: what stays as it is.
    pub frozen: u64,
    /// Sums of gradients.
    pub gradients: u64,
    /// AdamW's two means.
    pub moments: u64,
    /// With `offload`: masters and means, which are in CPU memory then, and none of the above.
    pub host: u64,
    /// What the blocks keep for the way back. An estimate.
    pub activations: u64,
    /// What the largest step of a pass needs besides: gradients of a block's operations, or logits. An estimate.
    pub working: u64,
}

impl Memory {
    /// Of a rank, one of so many, laid out as `parallel` says; of the stage that takes most, if there are
    /// several. The head's logits are made for `chunk_tokens` at a time.
    pub fn of(config: &Config, model: &LlamaConfig, ranks: i64, chunk_tokens: i64) -> Self {
        let stages = 0..config.parallel.pipeline;
        let of_each = stages.map(|it| Self::of_stage(it, config, model, ranks, chunk_tokens));
        of_each.max_by_key(Self::total).unwrap_or_default()
    }

    /// The same, of a rank of this stage.
    pub fn of_stage(
        stage: usize,
        config: &Config,
        model: &LlamaConfig,
        ranks: i64,
        chunk_tokens: i64,
    ) -> Self {
        let units = units(stage, config, model);
        let ranks = ranks / tensor(config) / pipeline(config);
        let mut memory = State::of(config, model, ranks, &units).memory();
        let pass = Pass::of(stage, config, model, ranks, &units);
        let (activations, working) = pass.peak(config, model, chunk_tokens);
        memory.activations = bytes(activations);
        memory.working = bytes(working);
        memory
    }

    /// What lies in flat buffers on the device that computes, to the byte.
    pub fn state(&self) -> u64 {
        self.masters + self.weights + self.frozen + self.gradients + self.moments
    }

    /// All of it, but for what is in CPU memory with `offload`.
    pub fn total(&self) -> u64 {
        self.state() + self.activations + self.working
    }
}

/// How many ranks share each matrix.
pub(crate) fn tensor(config: &Config) -> i64 {
    i64::try_from(config.parallel.tensor).unwrap_or(i64::MAX)
}

/// How many stages there are.
pub(crate) fn pipeline(config: &Config) -> i64 {
    i64::try_from(config.parallel.pipeline).unwrap_or(i64::MAX)
}

/// How many ranks have the same part of what is sharded.
pub(crate) fn replicas(config: &Config) -> i64 {
    i64::try_from(config.parallel.replicate).unwrap_or(i64::MAX)
}

/// How many ranks share the places of a sequence where those are independent.
pub(crate) fn sequence(config: &Config) -> i64 {
    if config.parallel.sequence { tensor(config) } else { 1 }
}

/// What a rank of a stage holds of each unit.
pub(crate) fn units(number: usize, config: &Config, model: &LlamaConfig) -> Vec<Split> {
    let held = |mut unit: UnitSpec| {
        for param in &mut unit.params {
            match param.share {
                Share::Rows => param.held.size[0] /= tensor(config),
                Share::Columns => param.held.size[1] /= tensor(config),
                Share::Copy | Share::Summand => {}
            }
        }
        unit
    };
    let units: Vec<UnitSpec> = unit_specs(model).into_iter().map(held).collect();
    let stage = stage(number, config.parallel.pipeline, units.len());
    let units = of_stage(units, &stage, model.tie_word_embeddings);
    units.into_iter().map(|unit| Split::of(unit, config.lora.as_ref())).collect()
}

fn bytes(numbers: i64) -> u64 {
    numbers.unsigned_abs()
}

/// Bytes of a number that the model computes with, and of one of a master.
pub(crate) fn widths(config: &Config) -> (i64, i64) {
    match config.precision {
        Precision::Fp32 => (4, 4),
        Precision::Bf16 => (2, 4),
        Precision::Fp64 => (8, 8),
    }
}

/// The flat buffers.
struct State {
    zero: Zero,
    /// How many ranks share what is sharded.
    sharers: i64,
    compute: i64,
    master: i64,
    /// Whether masters and means are in CPU memory, and weights beside the masters in any case.
    offloads: bool,
    /// Whether the head's matrix is the embedding's.
    tied: bool,
    /// Of each unit, what is trained and what is not, padded.
    units: Vec<[i64; 2]>,
}

impl State {
    fn of(config: &Config, model: &LlamaConfig, ranks: i64, units: &[Split]) -> Self {
        let sharers = ranks / replicas(config);
        let zero = if sharers == 1 { Zero::Nothing } else { config.parallel.zero };
        let (compute, master) = widths(config);
        let padded = |it: &Split| [&it.trained, &it.frozen].map(|spec| spec.padded(ranks));
        let units = units.iter().map(padded).collect();
        let (offloads, tied) = (config.offload == Offload::Optimizer, model.tie_word_embeddings);
        Self { zero, sharers, compute, master, offloads, tied, units }
    }

    /// Of what is trained (0) or is not (1): all of it, and what slots take that units share.
    fn numbers(&self, which: usize) -> (i64, i64) {
        let slots = slots(self.units.len(), true, self.tied);
        let n_slots = slots.iter().max().map_or(0, |last| last + 1);
        let largest = |slot: usize| {
            let units = slots.iter().zip(&self.units).filter(|(it, _)| **it == slot);
            units.map(|(_, unit)| unit[which]).max().unwrap_or(0)
        };
        (self.units.iter().map(|unit| unit[which]).sum(), (0..n_slots).map(largest).sum())
    }

    fn memory(&self) -> Memory {
        let &Self { zero, sharers, compute, master, .. } = self;
        let ((trained, slots), (frozen, frozen_slots)) = (self.numbers(0), self.numbers(1));
        let part = if zero.shards_state() { trained / sharers } else { trained };
        // What is gathered is made of the masters then, unless these are in CPU memory.
        let beside = if self.offloads { part } else { 0 };
        let weights = match zero {
            // The model reads the masters themselves, if they are of its kind.
            Zero::Nothing if compute == master && !self.offloads => 0,
            Zero::Nothing => trained,
            Zero::State | Zero::Gradients => trained + beside,
            Zero::Weights => slots + beside,
        };
        let state = [master * part, 2 * master * part].map(bytes);
        let ([masters, moments], host) = match self.offloads {
            true => ([0, 0], state.iter().sum()),
            false => (state, 0),
        };
        Memory {
            masters,
            moments,
            host,
            weights: bytes(compute * weights),
            frozen: bytes(
                compute
                    * match zero {
                        Zero::Weights => frozen / sharers + frozen_slots,
                        _ => frozen,
                    },
            ),
            gradients: bytes(
                master * if zero.shards_gradients() { slots + trained / sharers } else { trained },
            ),
            activations: 0,
            working: 0,
        }
    }
}

/// What a pass holds.
struct Pass {
    /// Tokens of a micro-batch at most.
    tokens: i64,
    /// Bytes of a number that the model computes with.
    compute: i64,
    /// Bytes a token that a block keeps beside its input.
    block: i64,
    /// Bytes of a block's gradients before they are added to the sum.
    block_gradients: i64,
    /// Whether weights are gathered for each use, so that every unit runs again.
    again: bool,
    /// The units that are blocks of this rank's stage, and whether it has the head.
    blocks: Range<usize>,
    has_head: bool,
    /// How many micro-batches are under way in a stage of several.
    underway: i64,
}

impl Pass {
    fn of(
        number: usize,
        config: &Config,
        model: &LlamaConfig,
        ranks: i64,
        units: &[Split],
    ) -> Self {
        let (compute, _) = widths(config);
        let (stages, head) = (config.parallel.pipeline, units.len() - 1);
        let stage = stage(number, stages, units.len());
        let taken = config.micro_batches().div_ceil(usize::try_from(ranks).unwrap_or(1).max(1));
        let underway = if stages > 1 { taken.min(stages - number) } else { 1 };
        let micro = i64::try_from(config.batch.micro).unwrap_or(i64::MAX);
        let length = i64::try_from(config.batch.sequence_length).unwrap_or(i64::MAX);
        let held = |it: &Split| it.trained.params.iter().map(|it| it.held.numel()).sum::<i64>();
        let block = compute * units[1..head].iter().map(held).max().unwrap_or(0);
        Self {
            tokens: micro.saturating_mul(length),
            compute,
            block: kept_of_a_block(config, model),
            block_gradients: block,
            again: ranks > 1 && config.parallel.zero.shards_weights(),
            blocks: stage.start.max(1)..stage.end.min(head),
            has_head: stage.contains(&head),
            underway: i64::try_from(underway).unwrap_or(i64::MAX),
        }
    }

    /// The bytes that units keep, and those that come to it, where both together are most.
    fn peak(&self, config: &Config, model: &LlamaConfig, chunk_tokens: i64) -> (i64, i64) {
        let Self { blocks, has_head, .. } = self;
        let &Self { tokens, compute, block, block_gradients, again, underway, .. } = self;
        let (hidden, inner) = (model.hidden_size, model.intermediate_size / tensor(config));
        let x = tokens * hidden * compute / sequence(config);
        let kept = |unit: usize| {
            let runs_again = again || config.recompute.again(unit);
            x + if runs_again { 0 } else { tokens * block }
        };
        // Inputs and what else is kept of the blocks up to this one, and the last block's output.
        let up_to = |unit: usize| (blocks.start..=unit).map(kept).sum::<i64>() + x;
        let chunk = tokens.min(chunk_tokens);
        let all = up_to(blocks.end - 1);
        let mut most = (all, if *has_head { self.head(config, model, chunk) } else { 0 });
        for unit in blocks.clone() {
            // The MLP's gradients while the block still holds everything, or all gradients of its weights at the end.
            let begins =
                2 * tokens * inner * compute + block_gradients.min(hidden * inner * compute);
            let ends = block_gradients + 4 * x - tokens * block;
            let working = x + begins.max(ends) + (tokens * block + x - kept(unit));
            if up_to(unit) + working > most.0 + most.1 {
                most = (up_to(unit), working);
            }
        }
        // The other micro-batches that are under way, and what comes from one neighbour and goes to another.
        let between = if config.parallel.pipeline > 1 { 2 * x } else { 0 };
        (most.0 + (underway - 1) * all, most.1 + between)
    }

    /// The head's part: hidden states through the final norm, logits of a chunk, and their gradients.
    fn head(&self, config: &Config, model: &LlamaConfig, chunk: i64) -> i64 {
        let &Self { tokens, compute, .. } = self;
        let x = tokens * model.hidden_size * compute;
        let wide = if compute == 2 { 2 * x } else { 0 };
        let vocab = model.vocab_size / tensor(config);
        let trains_head = config.lora.as_ref().is_none_or(|lora| lora.saves("lm_head"));
        let gradient = if compute == 2 && trains_head {
            // Rounded before it is added to the sum in fp32.
            vocab * model.hidden_size * compute
        } else {
            0
        };
        let logits = chunk * vocab * (compute + compute.max(4)) + gradient;
        // Gathered places, what the norm keeps, what it gives, gradients of that; then those of the norm's input, in fp32.
        3 * x + wide + x + logits.max(3 * x + 2 * wide)
    }
}

/// Bytes a token that autograd keeps of a block, beside the block's input.
fn kept_of_a_block(config: &Config, model: &LlamaConfig) -> i64 {
    let (compute, _) = widths(config);
    let mixed = config.precision == Precision::Bf16;
    let (tensor, sequence) = (tensor(config), sequence(config));
    let (hidden, inner) = (model.hidden_size, model.intermediate_size / tensor);
    let q = model.num_attention_heads * model.head_dim / tensor;
    let kv = model.num_key_value_heads * model.head_dim / tensor;
    let lora = config.lora.as_ref();
    // What an adapter reads with numbers dropped is another tensor, counted below.
    let reads = |lora: &LoraConfig, module: &str| lora.targets(module) && lora.lora_dropout == 0.0;
    let trains = |module: &str| lora.is_none_or(|lora| reads(lora, module));
    let any = |modules: &[&str]| i64::from(modules.iter().any(|it| trains(it)));
    // A norm keeps its input in fp32, which is another tensor in bf16; normed numbers, if its weight is trained; and what
    // it gives is kept by those matrices that are trained, or that adapters read with.
    let norm = |of: &[&str]| {
        let wide = if mixed { 4 } else { 0 };
        (wide + compute * (i64::from(lora.is_none()) + any(of))) * hidden
    };
    // The second norm's input is the block's own, kept in fp32 only.
    let between = if mixed && tensor == 1 { 0 } else { compute * hidden };
    let norms = norm(&["q_proj", "k_proj", "v_proj"]) + norm(&["gate_proj", "up_proj"]) + between;
    // Where ranks share matrices, summands of both outputs, and both inputs brought together from all places.
    let joined = match (tensor, sequence) {
        (1, _) => 0,
        (_, 1) => 2 * compute * hidden,
        _ => 4 * compute * hidden,
    };
    let norms = norms / sequence + joined;
    // Queries, keys, values, what attention gives, and the logarithm of each head's denominator.
    let attention = compute * (2 * q + 2 * kv) + 4 * model.num_attention_heads / tensor;
    // The gate, its SiLU, the other branch, and their product.
    let mlp = compute * inner * (3 + any(&["down_proj"]));
    let noise = if config.noise.dropout > 0.0 { 2 * compute * hidden } else { 0 };
    let adapters = lora.map_or(0, |lora| {
        let inputs = |module: &str| match module {
            "o_proj" => q,
            "down_proj" => inner,
            _ => hidden,
        };
        let of = |module: &str| {
            // What goes into the second matrix; with dropout, which numbers are dropped, and what then goes into the first.
            let dropped = if lora.lora_dropout > 0.0 { 2 * inputs(module) } else { 0 };
            compute * (i64::from(lora.r) + dropped)
        };
        lora.target_modules.iter().map(|it| of(it.name())).sum()
    });
    norms + attention + mlp + noise + adapters
}
