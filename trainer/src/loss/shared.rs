//! Cross-entropy where each rank of a tensor group has the logits of some of the vocabulary's tokens.
//!
//! Per predicted token, ranks tell one another five numbers: their largest logit, the sum of exponentials below it, the
//! label's logit if they have it, the sum of all logits, and the token of the largest. From these every rank computes the
//! same loss; the gradient of its own logits takes no further call.
//!
//! Legend: `r` ranks, `c` predicted tokens, `v` the tokens of this rank.

use anyhow::Result;
use tch::{Kind, Tensor};

use crate::fault::{Fault, planted};
use crate::loss::Objective;
use crate::model::wide;
use crate::ranks::Ranks;

/// What all ranks of a tensor group know of a chunk, and this rank's own logits.
#[derive(Debug)]
pub(super) struct Shared {
    logits_cv: Tensor,
    /// The logarithm of the softmax's denominator.
    log_z_c1: Tensor,
    /// The label's logit.
    label_c1: Tensor,
    /// The sum of all logits.
    total_c1: Tensor,
    /// Whether the label has the largest logit.
    pub(super) correct_c1: Tensor,
    /// Where the label's logit is among this rank's, and whether it is.
    at_c1: Tensor,
    ours_c1: Tensor,
}

impl Shared {
    /// `first` is the token of this rank's first logit; it may have none at all.
    pub(super) fn of(
        ranks: &Ranks,
        logits_cv: &Tensor,
        labels_c1: &Tensor,
        first: i64,
    ) -> Result<Self> {
        let kind = wide(logits_cv.kind());
        let logits_cv = logits_cv.to_kind(kind);
        let n_tokens = logits_cv.size()[1];
        let at_c1 = labels_c1 - first;
        let ours_c1 = at_c1.ge(0).logical_and(&at_c1.lt(n_tokens));
        let at_c1 = at_c1 * &ours_c1;
        let mut ours_c1 = ours_c1.to_kind(kind);
        if planted(Fault::LabelEverywhere) {
            let _ = ours_c1.fill_(1.0);
        }
        let ours_5c1 = if n_tokens == 0 {
            let nothing = Tensor::zeros([5, labels_c1.size()[0], 1], (kind, labels_c1.device()));
            // Not minus infinity, of which a difference to itself would be no number.
            let _ = nothing.select(0, 0).fill_(f64::from(f32::MIN));
            nothing
        } else {
            let (largest_c1, token_c1) = logits_cv.max_dim(1, true);
            let sum_c1 = (&logits_cv - &largest_c1).exp().sum_dim_intlist(1, true, kind);
            let label_c1 = logits_cv.gather(1, &at_c1, false) * &ours_c1;
            let total_c1 = logits_cv.sum_dim_intlist(1, true, kind);
            let token_c1 = (token_c1 + first).to_kind(kind);
            Tensor::stack(&[largest_c1, sum_c1, label_c1, total_c1, token_c1], 0)
        };
        let all_r5c1 = ranks.stacked(&ours_5c1)?;
        let [largest, sum, label, total, token] =
            [0, 1, 2, 3, 4].map(|number| all_r5c1.select(1, number));
        let over_ranks = |it: &Tensor| it.sum_dim_intlist(0, false, kind);
        let (max_c1, winner_c1) = largest.max_dim(0, false);
        let denominator_c1 = over_ranks(&(sum * (largest - &max_c1).exp()));
        let winner_1c1 = winner_c1.unsqueeze(0);
        let token_c1 = token.gather(0, &winner_1c1, false).squeeze_dim(0);
        Ok(Self {
            logits_cv,
            log_z_c1: denominator_c1.log() + max_c1,
            label_c1: over_ranks(&label),
            total_c1: over_ranks(&total),
            correct_c1: token_c1.to_kind(Kind::Int64).eq_tensor(labels_c1),
            at_c1,
            ours_c1,
        })
    }

    /// The cross-entropies, whatever else is minimised.
    pub(super) fn losses_c1(&self) -> Tensor {
        &self.log_z_c1 - &self.label_c1
    }
}

impl Objective {
    /// Each token's loss, and its gradient in this rank's logits: see [`Objective::of_logits`].
    pub(super) fn of_shared(&self, shared: &Shared) -> (Tensor, Tensor) {
        let Self { mut vocab_size, z_loss, label_smoothing, .. } = *self;
        if planted(Fault::OwnVocabulary) {
            vocab_size = shared.logits_cv.size()[1];
        }
        let Shared { logits_cv, log_z_c1, total_c1, at_c1, ours_c1, .. } = shared;
        let mut losses_c1 = shared.losses_c1();
        let mut p_cv = (logits_cv - log_z_c1).exp();
        if label_smoothing > 0.0 {
            let spread_c1 = log_z_c1 - total_c1 / vocab_size as f64;
            losses_c1 = losses_c1 * (1.0 - label_smoothing) + spread_c1 * label_smoothing;
        }
        if z_loss > 0.0 {
            losses_c1 += log_z_c1.square() * z_loss;
            p_cv *= log_z_c1 * (2.0 * z_loss) + 1.0;
        }
        if p_cv.size()[1] > 0 {
            let _ = p_cv.scatter_add_(1, at_c1, &(ours_c1 * (label_smoothing - 1.0)));
        }
        if label_smoothing > 0.0 {
            p_cv -= label_smoothing / vocab_size as f64;
        }
        (losses_c1, p_cv)
    }
}
