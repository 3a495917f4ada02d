//! (settings, update) -> learning rate.
//!
//! Megatron-LM's `OptimizerParamScheduler`, counted in updates from 0: the rate rises from 0 in a straight line during
//! the warm-up, so that the first update has rate 0; then it falls from the end of the warm-up to the end of the decay
//! and stays at the lowest rate.

use std::f64::consts::PI;

use crate::config::{Cooldown, OptimizerConfig, ScheduleConfig, ScheduleKind};

/// A learning rate for every update.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    kind: ScheduleKind,
    lr: f64,
    min_lr: f64,
    warmup: u64,
    decay: u64,
    cooldown: (u64, Cooldown),
}

impl Schedule {
    /// The schedule of a run of `steps` updates.
    pub fn new(schedule: &ScheduleConfig, optimizer: &OptimizerConfig, steps: u64) -> Self {
        let decay = schedule.decay_steps.unwrap_or(steps);
        let room = decay.saturating_sub(schedule.warmup_steps);
        let cooldown = schedule.cooldown_steps.unwrap_or(decay / 10).min(room).max(1);
        Self {
            kind: schedule.kind,
            lr: optimizer.lr,
            min_lr: optimizer.min_lr,
            warmup: schedule.warmup_steps,
            decay,
            cooldown: (cooldown, schedule.cooldown),
        }
    }

    /// The learning rate of an update, the first being update 0.
    pub fn lr(&self, update: u64) -> f64 {
        let Self { kind, lr, min_lr, warmup, decay, cooldown } = *self;
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
            ScheduleKind::InverseSquareRoot => {
                let [warmup, update] = [warmup, update].map(|n| n.max(1) as f64);
                return min_lr.max(lr * warmup.sqrt() / update.sqrt());
            }
            ScheduleKind::WarmupStableDecay => {
                let (length, shape) = cooldown;
                let stable = decay.saturating_sub(length);
                if update <= stable {
                    1.0
                } else {
                    shape.share((update - stable) as f64 / length as f64)
                }
            }
        };
        min_lr + share * (lr - min_lr)
    }
}

impl Cooldown {
    /// What is left of the way from the lowest rate to the highest after this share of the cooldown.
    fn share(self, done: f64) -> f64 {
        match self {
            Self::Linear => 1.0 - done,
            Self::Cosine => 0.5 * ((PI * done).cos() + 1.0),
            Self::Exponential => 2.0 * 0.5_f64.powf(done) - 1.0,
            Self::MinusSqrt => 1.0 - done.sqrt(),
        }
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
        cooldown: (Option<u64>, Option<Cooldown>),
        lr: f64,
        rates: Vec<f64>,
    }

    fn schedule(
        kind: ScheduleKind,
        [lr, min_lr]: [f64; 2],
        warmup_steps: u64,
        decay_steps: u64,
        (cooldown_steps, cooldown): (Option<u64>, Option<Cooldown>),
    ) -> Schedule {
        let cooldown = cooldown.unwrap_or_default();
        let (betas, eps, weight_decay, clip_grad) = ([0.9, 0.999], 1e-8, 0.0, 1.0);
        let optimizer = OptimizerConfig { lr, min_lr, betas, eps, weight_decay, clip_grad };
        let schedule = ScheduleConfig {
            kind,
            warmup_steps,
            decay_steps: Some(decay_steps),
            cooldown_steps,
            cooldown,
        };
        Schedule::new(&schedule, &optimizer, decay_steps)
    }

    #[test]
    fn rates_are_those_of_transformers() {
        let numbers: Numbers =
            serde_json::from_str(include_str!("../tests/golden/numbers.json")).unwrap();
        assert_eq!(numbers.rates.len(), 8);
        for Golden { kind, steps, warmup, cooldown, lr, rates } in numbers.rates {
            let schedule = schedule(kind, [lr, 0.0], warmup, steps, cooldown);
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
            let schedule = schedule(kind, [1.0, 0.1], 5, 20, (None, None));
            assert_eq!([0, 1, 5].map(|update| schedule.lr(update)), [0.0, 0.2, 1.0]);
            assert_eq!([21, 100].map(|update| schedule.lr(update)), [0.1, 0.1]);
            assert!((schedule.lr(20) - 0.1).abs() < 1e-15);
        }
    }

    #[test]
    fn a_cooldown_begins_where_it_should_and_ends_at_the_lowest_rate() {
        for shape in
            [Cooldown::Linear, Cooldown::Cosine, Cooldown::Exponential, Cooldown::MinusSqrt]
        {
            let kind = ScheduleKind::WarmupStableDecay;
            let schedule = schedule(kind, [1.0, 0.1], 2, 20, (Some(5), Some(shape)));
            assert_eq!([2, 9, 15].map(|update| schedule.lr(update)), [1.0; 3], "{shape:?}");
            assert!(schedule.lr(16) < 1.0 && schedule.lr(19) > 0.1, "{shape:?}");
            assert!((schedule.lr(20) - 0.1).abs() < 1e-15, "{shape:?}");
        }
    }

    #[test]
    fn the_square_root_never_goes_below_the_lowest_rate() {
        let kind = ScheduleKind::InverseSquareRoot;
        let schedule = schedule(kind, [1.0, 0.4], 4, 100, (None, None));
        assert_eq!([4, 16, 64].map(|update| schedule.lr(update)), [1.0, 0.5, 0.4]);
    }
}
