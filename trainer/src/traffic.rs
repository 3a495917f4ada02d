//! A configuration, a model's shape and a number of ranks -> the bytes that a rank sends to others in a step.
//!
//! What gradients and weights take is exact where every update has as many micro-batches as the configuration says; rows that
//! are packed are fewer. What hidden states take grows with the tokens, padding left out. Bytes are those of a ring
//! ([`torch_ext::Entry::bytes`]).

use crate::config::{Config, Wire, Zero};
use crate::llama_config::LlamaConfig;
use crate::memory::{pipeline, replicas, sequence, tensor, units, widths};
use crate::params::lora::Split;
use crate::ranks::stage;
use crate::slots::slots;

/// Bytes that a rank sends in a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Gradients, to those that share what is sharded.
    pub gradients: u64,
    /// Weights, to the same.
    pub weights: u64,
    /// Gradients, to the other replicas.
    pub replicas: u64,
    /// Hidden states and their gradients, to those that share each matrix. An estimate.
    pub tensor: u64,
    /// The same, to other stages. An estimate.
    pub stages: u64,
}

impl Traffic {
    /// Of a rank, one of so many, laid out as `parallel` says, of the stage that sends most. An update has so many tokens.
    pub fn of(config: &Config, model: &LlamaConfig, ranks: i64, tokens: f64) -> Self {
        let stages = 0..config.parallel.pipeline;
        let of_each = stages.map(|it| Self::of_stage(it, config, model, ranks, tokens));
        of_each.max_by_key(Self::total).unwrap_or_default()
    }

    /// The same, of a rank of this stage.
    pub fn of_stage(
        number: usize,
        config: &Config,
        model: &LlamaConfig,
        ranks: i64,
        tokens: f64,
    ) -> Self {
        let units = units(number, config, model);
        let ranks = ranks / tensor(config) / pipeline(config);
        let parts = Parts::of(config, model, ranks, &units);
        let stage = stage(number, config.parallel.pipeline, units.len());
        let blocks = stage.start.max(1)..stage.end.min(units.len() - 1);
        let again = |unit: &usize| config.recompute.again(*unit) || parts.zero.shards_weights();
        let again = blocks.clone().filter(again).count() as f64;
        // How often the hidden states of all places go round, if there are ranks to share them.
        let blocks = blocks.len() as f64;
        let embedding = if stage.start == 0 { 2.0 } else { 0.0 };
        // Gathered before the head; of the gradient, the places at which something is learned: all of them at most.
        let head = match config.parallel.sequence {
            _ if stage.end < units.len() => 0.0,
            true => 3.0,
            false => 2.0,
        };
        let ends = embedding + head;
        let often = match config.parallel.sequence {
            // Gathered before each half of a block and scattered after it, and the same on the way back; what is made again leaves
            // out the last.
            true => 8.0 * blocks + 3.0 * again + ends,
            // One sum takes as much as both.
            false => 8.0 * blocks + 2.0 * again + ends,
        };
        let (compute, _) = widths(config);
        let hidden = tokens / ranks as f64 * (model.hidden_size * compute) as f64;
        let (sharers, sequence) = (tensor(config) as f64, sequence(config) as f64);
        let neighbours = match config.parallel.pipeline {
            1 => 0.0,
            stages if number == 0 || number + 1 == stages => 1.0,
            _ => 2.0,
        };
        Self {
            tensor: whole(often * hidden * (sharers - 1.0) / sharers),
            stages: whole(neighbours * hidden / sequence),
            ..parts.traffic()
        }
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        self.gradients + self.weights + self.replicas + self.tensor + self.stages
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes of a step")]
fn whole(bytes: f64) -> u64 {
    bytes.round() as u64
}

/// What is sharded.
struct Parts {
    zero: Zero,
    /// How many ranks share it, and how many have the same part.
    sharers: i64,
    replicas: i64,
    /// How many micro-batches a rank takes of an update.
    rounds: i64,
    /// Bytes of a number: as gradients travel, as they are kept, and as weights are.
    wire: i64,
    master: i64,
    compute: i64,
    /// Of each unit, what is trained and what is not, padded.
    units: Vec<[i64; 2]>,
    slots: Vec<usize>,
}

impl Parts {
    fn of(config: &Config, model: &LlamaConfig, ranks: i64, units: &[Split]) -> Self {
        let (replicas, (compute, master)) = (replicas(config), widths(config));
        let sharers = ranks / replicas;
        let zero = if sharers == 1 { Zero::Nothing } else { config.parallel.zero };
        let micro_batches = i64::try_from(config.micro_batches()).unwrap_or(i64::MAX);
        let padded = |it: &Split| [&it.trained, &it.frozen].map(|spec| spec.padded(ranks));
        Self {
            zero,
            sharers,
            replicas,
            rounds: (micro_batches + ranks - 1) / ranks,
            wire: if config.parallel.reduce == Wire::Bf16 { 2 } else { master },
            master,
            compute,
            units: units.iter().map(padded).collect(),
            slots: slots(units.len(), true, model.tie_word_embeddings),
        }
    }

    fn traffic(&self) -> Traffic {
        let &Self { zero, sharers, replicas, rounds, wire, master, compute, .. } = self;
        let trained: i64 = self.units.iter().map(|unit| unit[0]).sum();
        // Of what goes round, each of so many sends all but its own.
        let round = |bytes: i64, ranks: i64| (bytes / ranks * (ranks - 1)).unsigned_abs();
        let sums = if zero.shards_gradients() { rounds } else { 1 };
        let back = if zero.shards_state() { 0 } else { master * trained };
        let weights = match zero {
            Zero::Nothing => 0,
            Zero::State | Zero::Gradients => trained,
            Zero::Weights => self.gathered(0, true) + self.gathered(1, false),
        };
        Traffic {
            gradients: round(sums * wire * trained, sharers) + round(back, sharers),
            weights: round(compute * weights, sharers),
            replicas: round((wire + master) * trained / sharers, replicas),
            ..Traffic::default()
        }
    }

    /// How many numbers are gathered in a step of what is trained (0) or is not (1): the walk of [`crate::backward`] over
    /// units in slots. What an update changed is gathered anew.
    fn gathered(&self, which: usize, updated: bool) -> i64 {
        let head = self.units.len() - 1;
        let lowest = self.units.iter().position(|unit| unit[0] > 0).unwrap_or(head);
        let mut held = vec![None; self.units.len()];
        let mut step = || {
            let mut gathered = 0;
            let mut enter = |unit: usize| {
                let slot = &mut held[self.slots[unit]];
                if self.units[unit][which] > 0 && *slot != Some(unit) {
                    *slot = Some(unit);
                    gathered += self.units[unit][which];
                }
            };
            for _ in 0..self.rounds {
                (0..=head).chain((lowest..=head).rev()).for_each(&mut enter);
            }
            if updated {
                held.fill(None);
            }
            gathered
        };
        // What is there since the step before is not gathered.
        step();
        step()
    }
}
