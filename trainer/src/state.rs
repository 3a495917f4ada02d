//! Where a run stands: what a checkpoint holds besides tensors.

use serde::{Deserialize, Serialize};

use crate::batch::Counts;

/// Where a run stands after a number of steps. With the configuration it decides everything that comes next: the
/// order of the documents and the learning rate are functions of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TrainState {
    /// Steps made, skipped ones included: each has used up a global batch of documents.
    pub step: u64,
    /// Steps without an update, because the gradient was not finite or nothing was learned. The schedule and the
    /// optimizer do not count them.
    pub skipped: u64,
    /// Tokens read.
    pub tokens: u64,
    /// Tokens learned.
    pub supervised: u64,
    /// The evaluation with the lowest loss so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<Best>,
    /// Evaluations since one that was better than all before by enough to go on.
    #[serde(default)]
    pub no_better: u64,
}

/// An evaluation with the lowest loss.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// After which step it was.
    pub step: u64,
    /// Its loss. As text: JSON readers may lose a number's last bit.
    #[serde(with = "exact")]
    pub loss: f64,
}

mod exact {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(number: &f64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

impl TrainState {
    /// Updates made so far.
    pub fn updates(&self) -> u64 {
        self.step - self.skipped
    }

    /// An evaluation found this loss after the last step; says whether it is the lowest so far.
    pub fn evaluated(&mut self, loss: f64, min_delta: f64) -> bool {
        let before = self.best.map_or(f64::INFINITY, |best| best.loss);
        self.no_better = if loss < before - min_delta { 0 } else { self.no_better + 1 };
        if loss < before {
            self.best = Some(Best { step: self.step, loss });
        }
        loss < before
    }

    /// A step was made with these documents.
    pub fn count(&mut self, counts: &Counts, skipped: bool) {
        self.step += 1;
        self.skipped += u64::from(skipped);
        self.tokens += counts.tokens;
        self.supervised += counts.supervised;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skipped_step_uses_up_documents_and_moves_no_schedule() {
        let mut state = TrainState::default();
        let counts = Counts { tokens: 10, supervised: 4, ..Counts::default() };
        for skipped in [false, true, true, false] {
            state.count(&counts, skipped);
        }
        assert_eq!((state.step, state.updates(), state.tokens), (4, 2, 40));
    }

    #[test]
    fn the_best_evaluation_comes_back_from_disk_to_the_bit() {
        let mut state = TrainState { step: 3, ..TrainState::default() };
        // The best so far, better by less than enough, worse, better by enough.
        for (loss, best) in [(2.5, true), (2.5 - 0.1 * 3.0, true), (9.0, false)] {
            assert_eq!(state.evaluated(loss, 0.5), best);
        }
        assert_eq!(state.no_better, 2);
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<TrainState>(&text).unwrap(), state);
        assert!(state.evaluated(1.0, 0.5));
        assert_eq!(state.no_better, 0);
    }
}
