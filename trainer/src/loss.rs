//! Hidden states -> the cross-entropy of the learned tokens, and its gradients.
//!
//! Only the places at which something is learned go through the final norm and the head, and only a chunk of them at a
//! time: logits of 4,096 places and 32,000 tokens would be half a gigabyte, several times over with autograd. The
//! gradient of a chunk's logits is written out (softmax minus one-hot), in the memory of the logits themselves.
//!
//! Legend: `b` rows, `t` places, `d` hidden size, `n` learned places, `c` those of a chunk, `v` vocabulary.

use anyhow::{Context, Result};
use tch::{Kind, Tensor};

use crate::batch::MicroBatch;
use crate::model::linear;
use crate::params::Model;

/// The sums over some learned tokens, as scalars where the model is; nothing waits for them until they are read.
#[derive(Debug)]
pub struct Sums {
    /// Of the cross-entropies, in double precision.
    pub loss: Tensor,
    /// Of the tokens whose logit is the highest.
    pub correct: Tensor,
}

/// The loss of one micro-batch and how it changes with what the last block gave.
#[derive(Debug)]
pub struct HeadGradients {
    /// The sum of the cross-entropies, not scaled.
    pub loss: Tensor,
    /// `scale` times the sum's gradient in the hidden states.
    pub x_btd: Tensor,
    /// And in the final norm's weight.
    pub norm_d: Option<Tensor>,
}

/// The sums over a micro-batch, without gradients.
///
/// # Shapes
/// `x_btd` is what the last block gave
pub fn sums(model: &Model, x_btd: &Tensor, batch: &MicroBatch, chunk: i64) -> Sums {
    let _no_grad = tch::no_grad_guard();
    let x_nd = learned(x_btd, batch);
    let mut loss = Tensor::zeros([], (Kind::Double, x_btd.device()));
    let mut correct = Tensor::zeros([], (Kind::Int64, x_btd.device()));
    for (x_cd, labels_c1) in chunks(&model.final_norm(&x_nd), batch, chunk) {
        let log_p_cv = log_probabilities(&x_cd, model.head());
        loss -= log_p_cv.gather(1, &labels_c1, false).sum(Kind::Double);
        correct += log_p_cv.argmax(1, true).eq_tensor(&labels_c1).sum(Kind::Int64);
    }
    Sums { loss, correct }
}

/// The loss of a micro-batch and `scale` times its gradients; that of the head's matrix is added to `head_grad_vd`, in
/// place and in `f32`.
///
/// # Shapes
/// `x_btd` is what the last block gave, detached
pub fn gradients(
    model: &Model,
    x_btd: &Tensor,
    batch: &MicroBatch,
    scale: f64,
    chunk: i64,
    head_grad_vd: &mut Tensor,
) -> Result<HeadGradients> {
    let x_nd = learned(x_btd, batch).set_requires_grad(true);
    let normed_nd = model.final_norm(&x_nd);
    let head_vd = model.head().detach();
    let mut loss = Tensor::zeros([], (Kind::Double, x_btd.device()));
    let mut normed_grads = Vec::new();
    for (x_cd, labels_c1) in chunks(&normed_nd.detach(), batch, chunk) {
        let mut p_cv = log_probabilities(&x_cd, &head_vd);
        loss -= p_cv.gather(1, &labels_c1, false).sum(Kind::Double);
        // d loss / d logits = softmax - one-hot.
        let _ = p_cv.exp_();
        let _ = p_cv.scatter_add_(1, &labels_c1, &labels_c1.ones_like().to_kind(Kind::Float).neg());
        let grad_cv = p_cv.to_kind(head_vd.kind());
        normed_grads.push(grad_cv.matmul(&head_vd) * scale);
        let scaled_cd = x_cd * scale;
        if head_vd.kind() == Kind::Float {
            let _ = head_grad_vd.addmm_(&grad_cv.tr(), &scaled_cd);
        } else {
            *head_grad_vd += grad_cv.tr().matmul(&scaled_cd);
        }
    }
    let x_grad_btd = x_btd.zeros_like();
    let mut norm_grad_d = None;
    if !normed_grads.is_empty() {
        let norm = &model.units[model.units.len() - 1].leaves[1];
        let grads =
            torch_ext::grad(&[&normed_nd], &[Tensor::cat(&normed_grads, 0)], &[&x_nd, norm])
                .context("the final norm's backward pass")?;
        let mut grads = grads.into_iter();
        let x_grad_nd = grads.next().flatten().context("the final norm depends on its input")?;
        norm_grad_d = grads.next().flatten();
        let hidden = x_btd.size()[2];
        let _ = x_grad_btd.view([-1, hidden]).index_copy_(0, &batch.places_n, &x_grad_nd);
    }
    Ok(HeadGradients { loss, x_btd: x_grad_btd, norm_d: norm_grad_d })
}

/// The hidden states at the learned places.
fn learned(x_btd: &Tensor, batch: &MicroBatch) -> Tensor {
    x_btd.detach().view([-1, x_btd.size()[2]]).index_select(0, &batch.places_n)
}

/// Hidden states and labels, a chunk at a time.
fn chunks(x_nd: &Tensor, batch: &MicroBatch, chunk: i64) -> Vec<(Tensor, Tensor)> {
    if x_nd.size()[0] == 0 {
        return Vec::new();
    }
    let labels = batch.labels_n.unsqueeze(1).split(chunk, 0);
    x_nd.split(chunk, 0).into_iter().zip(labels).collect()
}

/// The logarithms of the next token's probabilities, in `f32`.
fn log_probabilities(x_cd: &Tensor, head_vd: &Tensor) -> Tensor {
    linear(x_cd, head_vd).log_softmax(-1, Kind::Float)
}
