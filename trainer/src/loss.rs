//! Hidden states -> the cross-entropy of the learned tokens, and its gradients.
//!
//! Only the places at which something is learned go through the final norm and the head, and only a chunk of them at a
//! time: logits of 4,096 places and 32,000 tokens would be half a gigabyte, several times over with autograd. The
//! gradient of a chunk's logits is written out (softmax minus one-hot), in the memory of the logits themselves.
//!
//! Legend: `b` rows, `t` places, `d` hidden size, `n` places at which something is predicted, `c` those of a chunk, `v` vocabulary.

mod shared;

use anyhow::{Context, Result};
use tch::{Kind, Tensor};

use crate::batch::MicroBatch;
use crate::fault::{Fault, planted};
use crate::loss::shared::Shared;
use crate::model::{linear, wide};
use crate::params::Model;
use crate::ranks::Summand;

/// What is minimised, a token at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    /// How many tokens' logits are held at a time.
    pub chunk_tokens: i64,
    /// How many rows of the head take part in the softmax: those beyond the vocabulary have no probability.
    pub vocab_size: i64,
    /// Times the squared logarithm of the softmax's denominator is added.
    pub z_loss: f64,
    /// The share of the label's probability that is spread over the vocabulary, the label included, as PyTorch does it.
    pub label_smoothing: f64,
}

/// How well each token of a micro-batch is predicted, in the order of its places.
#[derive(Debug)]
pub struct TokenLosses {
    /// Cross-entropies, whatever else is minimised.
    pub loss_n: Tensor,
    /// Whether the token has the highest probability.
    pub correct_n: Tensor,
}

/// The loss of one micro-batch and how it changes with what the last block gave.
#[derive(Debug)]
pub struct HeadGradients {
    /// The weighted sum of the token losses, not scaled.
    pub loss: Tensor,
    /// `scale` times the sum's gradient in the hidden states.
    pub x_btd: Tensor,
    /// And in the final norm's weight, if it is trained.
    pub norm_d: Option<Tensor>,
}

/// Each token's loss, without gradients.
///
/// # Shapes
/// `x_btd` is what the last block gave, or `x_md`, of the places that this rank keeps
pub fn token_losses(
    model: &Model,
    x_btd: &Tensor,
    batch: &MicroBatch,
    objective: Objective,
) -> Result<TokenLosses> {
    let _no_grad = tch::no_grad_guard();
    let head = Head::of(model, objective);
    let head_vd = &head.rows_vd;
    let normed_nd = model.final_norm(&predicting(model, x_btd, batch)?);
    let (mut losses, mut correct) = (Vec::new(), Vec::new());
    for Chunk { x_cd, labels_c1, .. } in chunks(&normed_nd, batch, objective.chunk_tokens) {
        let logits_cv = linear(&x_cd, head_vd);
        let (losses_c1, correct_c1) = if model.mesh().cuts_matrices() {
            let shared = Shared::of(&model.mesh().tensor, &logits_cv, &labels_c1, head.first)?;
            (shared.losses_c1(), shared.correct_c1)
        } else {
            let log_p_cv = logits_cv.log_softmax(-1, wide(head_vd.kind()));
            let correct_c1 = log_p_cv.argmax(1, true).eq_tensor(&labels_c1);
            (-log_p_cv.gather(1, &labels_c1, false), correct_c1)
        };
        losses.push(losses_c1.squeeze_dim(1));
        correct.push(correct_c1.squeeze_dim(1));
    }
    let joined = |parts: Vec<Tensor>, kind: Kind| match parts.as_slice() {
        [] => Tensor::zeros([0], (kind, x_btd.device())),
        parts => Tensor::cat(parts, 0),
    };
    Ok(TokenLosses {
        loss_n: joined(losses, wide(head_vd.kind())),
        correct_n: joined(correct, Kind::Bool),
    })
}

/// The loss of a micro-batch and `scale` times its gradients; that of the head's matrix is added to `head_grad_vd`, in
/// place and in `f32`, if it is trained.
///
/// # Shapes
/// `x_btd` is what the last block gave, or `x_md`, of the places that this rank keeps; detached
pub fn gradients(
    model: &Model,
    x_btd: &Tensor,
    batch: &MicroBatch,
    scale: f64,
    objective: Objective,
    head_grad_vd: Option<&mut Tensor>,
) -> Result<HeadGradients> {
    let x_nd = predicting(model, x_btd, batch)?.set_requires_grad(true);
    let normed_nd = model.final_norm(&x_nd);
    let head = Head::of(model, objective);
    let head_vd = &head.rows_vd;
    let mut head_grad_vd = head_grad_vd.map(|it| it.narrow(0, 0, head_vd.size()[0]));
    let mut loss = Tensor::zeros([], (Kind::Double, x_btd.device()));
    let mut normed_grads = Vec::new();
    for Chunk { x_cd, labels_c1, weights_c1 } in
        chunks(&normed_nd.detach(), batch, objective.chunk_tokens)
    {
        let logits_cv = linear(&x_cd, head_vd);
        let (losses_c1, grad_cv) = if model.mesh().cuts_matrices() {
            let shared = Shared::of(&model.mesh().tensor, &logits_cv, &labels_c1, head.first)?;
            objective.of_shared(&shared)
        } else {
            objective.of_logits(&logits_cv, &labels_c1)
        };
        let (losses_c1, grad_cv) = match &weights_c1 {
            None => (losses_c1, grad_cv),
            Some(weights_c1) => (losses_c1 * weights_c1, grad_cv * weights_c1),
        };
        loss += losses_c1.sum(Kind::Double);
        let grad_cv = grad_cv.to_kind(head_vd.kind());
        normed_grads.push(grad_cv.matmul(head_vd) * scale);
        let Some(head_grad_vd) = &mut head_grad_vd else { continue };
        let scaled_cd = x_cd * scale;
        if head_vd.kind() == head_grad_vd.kind() {
            let _ = head_grad_vd.addmm_(&grad_cv.tr(), &scaled_cd);
        } else {
            *head_grad_vd += grad_cv.tr().matmul(&scaled_cd);
        }
    }
    let hidden = x_nd.size()[1];
    let n_places: i64 = batch.tokens_bt.size().iter().product();
    let x_grad_nd = Tensor::zeros([n_places, hidden], (x_btd.kind(), x_btd.device()));
    let mut norm_grad_d = None;
    if !normed_grads.is_empty() {
        let norm = Some(model.final_norm_weight());
        let inputs: Vec<&Tensor> =
            std::iter::once(&x_nd).chain(norm.filter(|it| it.requires_grad())).collect();
        // Each rank's rows of the head give a summand. All go on with the same, so that the norm's gradient is whole.
        let summand = Summand(Tensor::cat(&normed_grads, 0));
        let normed_grad_nd = model.mesh().sum(summand)?;
        let grads = torch_ext::grad(&[&normed_nd], &[normed_grad_nd], &inputs)
            .context("the final norm's backward pass")?;
        let mut grads = grads.into_iter();
        let found_nd = grads.next().flatten().context("the final norm depends on its input")?;
        norm_grad_d = grads.next().flatten();
        let _ = x_grad_nd.shallow_clone().index_copy_(0, &batch.places_n, &found_nd);
    }
    let x_grad_btd = model.own_places(&x_grad_nd, x_btd)?;
    Ok(HeadGradients { loss, x_btd: x_grad_btd, norm_d: norm_grad_d })
}

impl Objective {
    /// Each token's loss, and its gradient in the logits, in `f32`.
    ///
    /// # Shapes
    /// `logits_cv`, `labels_c1` -> `losses_c1`, `grad_cv`
    fn of_logits(&self, logits_cv: &Tensor, labels_c1: &Tensor) -> (Tensor, Tensor) {
        let Self { z_loss, label_smoothing, .. } = *self;
        let wide = wide(logits_cv.kind());
        let log_z_c1 =
            (z_loss > 0.0).then(|| logits_cv.to_kind(wide).logsumexp(&[-1_i64][..], true));
        let mut p_cv = logits_cv.log_softmax(-1, wide);
        let mut losses_c1 = -p_cv.gather(1, labels_c1, false);
        if label_smoothing > 0.0 {
            let spread_c1 = -p_cv.mean_dim(-1, true, wide);
            losses_c1 = losses_c1 * (1.0 - label_smoothing) + spread_c1 * label_smoothing;
        }
        // The gradient: softmax - one-hot, written over the softmax.
        let _ = p_cv.exp_();
        if let Some(log_z_c1) = log_z_c1 {
            losses_c1 += log_z_c1.square() * z_loss;
            p_cv *= log_z_c1 * (2.0 * z_loss) + 1.0;
        }
        let one = labels_c1.ones_like().to_kind(wide);
        let _ = p_cv.scatter_add_(1, labels_c1, &(one * (label_smoothing - 1.0)));
        if label_smoothing > 0.0 {
            p_cv -= label_smoothing / p_cv.size()[1] as f64;
        }
        (losses_c1, p_cv)
    }
}

/// The rows of the head that this rank holds and that take part in the softmax.
struct Head {
    rows_vd: Tensor,
    /// The token of the first.
    first: i64,
}

impl Head {
    fn of(model: &Model, objective: Objective) -> Self {
        let held = &model.units[model.head_unit()].base_param(0).held;
        let first = held.offset[0];
        let with_tokens = (objective.vocab_size - first).clamp(0, held.size[0]);
        let n_rows = if planted(Fault::RowsWithoutToken) { held.size[0] } else { with_tokens };
        Self { rows_vd: model.head().detach().narrow(0, 0, n_rows), first }
    }
}

/// The hidden states at the places at which something is predicted.
fn predicting(model: &Model, x_btd: &Tensor, batch: &MicroBatch) -> Result<Tensor> {
    Ok(model.all_places(x_btd, batch)?.index_select(0, &batch.places_n))
}

/// A few places.
struct Chunk {
    x_cd: Tensor,
    labels_c1: Tensor,
    weights_c1: Option<Tensor>,
}

fn chunks(x_nd: &Tensor, batch: &MicroBatch, chunk: i64) -> Vec<Chunk> {
    if x_nd.size()[0] == 0 {
        return Vec::new();
    }
    let mut weights =
        batch.weights_n.as_ref().map(|it| it.unsqueeze(1).split(chunk, 0).into_iter());
    let labels = batch.labels_n.unsqueeze(1).split(chunk, 0);
    let parts = x_nd.split(chunk, 0).into_iter().zip(labels);
    parts
        .map(|(x_cd, labels_c1)| Chunk {
            x_cd,
            labels_c1,
            weights_c1: weights.as_mut().and_then(Iterator::next),
        })
        .collect()
}
