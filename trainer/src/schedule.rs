//! (settings, update) -> learning rate.
//!
//! Megatron-LM's `OptimizerParamScheduler`, counted in updates from 0: the rate rises from 0 in a straight line during
//! the warm-up, so that the first update has rate 0; then it falls from the end of the warm-up to the end of the decay
//! and stays at the lowest rate.

use std::f64::consts::PI;

use crate::config::{OptimizerConfig, ScheduleConfig, ScheduleKind};

/// A learning rate for every update.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    kind: ScheduleKind,
    lr: f64,
    min_lr: f64,
    warmup: u64,
    decay: u64,
}

impl Schedule {
    /// The schedule of a run of `steps` updates.
    pub fn new(schedule: &ScheduleConfig, optimizer: &OptimizerConfig, steps: u64) -> Self {
        Self {
            kind: schedule.kind,
            lr: optimizer.lr,
            min_lr: optimizer.min_lr,
            warmup: schedule.warmup_steps,
            decay: schedule.decay_steps.unwrap_or(steps),
        }
    }

    /// The learning rate of an update, the first being update 0.
    pub fn lr(&self, update: u64) -> f64 {
        let Self { kind, lr, min_lr, warmup, decay } = *self;
        // The order of the operations is Megatron's, so that the rates are equal to the last bit.
        if warmup > 0 && update <= warmup {
            return lr * update as f64 / warmup as f64;
        }
        if kind == ScheduleKind::Constant {
            return lr;
        }
        if update > decay {
            return min_lr;
        }
        let done = (update - warmup) as f64 / (decay - warmup) as f64;
        let share = match kind {
            ScheduleKind::Cosine => 0.5 * ((PI * done).cos() + 1.0),
            ScheduleKind::Linear => 1.0 - done,
            ScheduleKind::Constant => 1.0,
        };
        min_lr + share * (lr - min_lr)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Numbers {
        rates: Vec<Golden>,
    }

    /// Rates that transformers' schedulers gave.
    #[derive(Deserialize)]
    struct Golden {
        kind: ScheduleKind,
        steps: u64,
        warmup: u64,
        lr: f64,
        rates: Vec<f64>,
    }

    fn schedule(
        kind: ScheduleKind,
        [lr, min_lr]: [f64; 2],
        warmup_steps: u64,
        decay_steps: u64,
    ) -> Schedule {
        let (betas, eps, weight_decay, clip_grad) = ([0.9, 0.999], 1e-8, 0.0, 1.0);
        let optimizer = OptimizerConfig { lr, min_lr, betas, eps, weight_decay, clip_grad };
        let schedule = ScheduleConfig { kind, warmup_steps, decay_steps: Some(decay_steps) };
        Schedule::new(&schedule, &optimizer, decay_steps)
    }

    #[test]
    fn rates_are_those_of_transformers() {
        let numbers: Numbers =
            serde_json::from_str(include_str!("../tests/golden/numbers.json")).unwrap();
        assert_eq!(numbers.rates.len(), 4);
        for Golden { kind, steps, warmup, lr, rates } in numbers.rates {
            let schedule = schedule(kind, [lr, 0.0], warmup, steps);
            for (update, expected) in (0..).zip(rates) {
                let found = schedule.lr(update);
                // The order of the operations differs there: the last bits may.
                assert!(
                    (found - expected).abs() <= 1e-15,
                    "{kind:?}, update {update}: {found} and {expected}"
                );
            }
        }
    }

    #[test]
    fn the_first_update_has_rate_0_and_what_follows_the_decay_the_lowest() {
        for kind in [ScheduleKind::Cosine, ScheduleKind::Linear] {
            let schedule = schedule(kind, [1.0, 0.1], 5, 20);
            assert_eq!([0, 1, 5].map(|update| schedule.lr(update)), [0.0, 0.2, 1.0]);
            assert_eq!([21, 100].map(|update| schedule.lr(update)), [0.1, 0.1]);
            assert!((schedule.lr(20) - 0.1).abs() < 1e-15);
        }
    }
}
