//! A micro-batch -> its loss, and its gradients added to flat buffers.
//!
//! Autograd lives inside one unit only. The forward pass goes unit by unit, each on a detached input; the backward pass
//! walks from the last unit to the first and asks each for the gradients of its input and of its parameters, given that
//! of its output. This is bit-identical to one backward pass through the whole graph. With recompute only the units'
//! inputs are kept, and a unit runs again when its turn comes: the same operations on the same numbers.

use anyhow::{Context as _, Result};
use tch::{Kind, Tensor};

use crate::batch::MicroBatch;
use crate::config::Recompute;
use crate::loss::{self, Objective};
use crate::model::{Context, Rope};
use crate::noise::Noise;
use crate::params::Model;

/// The gradients of a model: a flat `f32` buffer per unit, laid out as the unit's master is.
#[derive(Debug)]
pub struct Gradients {
    flat: Vec<Tensor>,
    views: Vec<Vec<Tensor>>,
}

impl Gradients {
    /// Gradients of zero.
    pub fn zeros(model: &Model) -> Self {
        let flat: Vec<Tensor> = model.units.iter().map(|unit| unit.master.zeros_like()).collect();
        let views =
            model.units.iter().zip(&flat).map(|(unit, flat)| unit.spec.views(flat)).collect();
        Self { flat, views }
    }

    /// Back to zero.
    pub fn clear(&mut self) {
        for flat in &mut self.flat {
            let _ = flat.zero_();
        }
    }

    /// The buffers, a unit each.
    pub fn flat(&self) -> &[Tensor] {
        &self.flat
    }

    /// Each parameter's gradient as a view of its unit's buffer.
    pub fn views(&self) -> &[Vec<Tensor>] {
        &self.views
    }

    /// The global L2 norm, and what the gradients must be multiplied by so that it is at most `max`.
    ///
    /// Megatron-LM's rule: `max / (norm + 1e-6)` if that is below 1. `max` of 0 never clips.
    pub fn norm(&self, max: f64) -> Result<(f64, Option<f64>)> {
        let views: Vec<&Tensor> = self.views.iter().flatten().collect();
        let norm =
            torch_ext::foreach::norm(&views).context("the gradients' norm")?.double_value(&[]);
        let coefficient = max / (norm + 1e-6);
        Ok((norm, (max > 0.0 && coefficient < 1.0).then_some(coefficient)))
    }

    /// Multiplies all gradients.
    pub fn scale(&mut self, factor: f64) -> Result<()> {
        let factor = Tensor::from(factor).to_kind(Kind::Float).to_device(self.flat[0].device());
        torch_ext::foreach::mul_(&self.flat, &factor).context("scaling the gradients")
    }

    fn add(&mut self, unit: usize, parameters: &[Option<Tensor>]) {
        let _no_grad = tch::no_grad_guard();
        for (sum, gradient) in self.views[unit].iter_mut().zip(parameters) {
            if let Some(gradient) = gradient {
                *sum += gradient;
            }
        }
    }
}

/// How a pass is made.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// What is kept between forward and backward.
    pub recompute: Recompute,
    /// What is minimised.
    pub objective: Objective,
    /// What is added to activations.
    pub noise: Option<Noise>,
}

/// What a unit leaves behind on the way forward.
struct Kept {
    /// The detached input; none for the embedding, which reads ids.
    input: Option<Tensor>,
    /// The output with its graph; none if the unit runs again.
    output: Option<Tensor>,
}

/// Runs a micro-batch forward and backward: adds the gradients of its part of the update's loss to `gradients`, and
/// gives that part, a scalar where the model is.
pub fn micro_batch(
    model: &Model,
    batch: &MicroBatch,
    pass: Pass,
    gradients: &mut Gradients,
) -> Result<Tensor> {
    let rope = model.rope_of(batch);
    let last_block = model.n_layers();
    let mut kept = Vec::with_capacity(last_block + 1);
    let mut x_btd: Option<Tensor> = None;
    for unit in 0..=last_block {
        let input = x_btd.map(|x| x.set_requires_grad(true));
        let again = pass.recompute.again(unit);
        let output = {
            let _no_grad = again.then(tch::no_grad_guard);
            run(model, unit, batch, input.as_ref(), &rope, pass.noise)
        };
        x_btd = Some(output.detach());
        kept.push(Kept { input, output: (!again).then_some(output) });
    }
    let x_btd = x_btd.context("the embedding gives an output")?;
    let head = last_block + 1;
    let head_grad = &mut gradients.views[head][0];
    let mut from_head =
        loss::gradients(model, &x_btd, batch, batch.scale, pass.objective, head_grad)?;
    gradients.add(head, &[None, from_head.norm_d.take()]);

    let mut output_grad = from_head.x_btd;
    for (unit, Kept { input, output }) in kept.into_iter().enumerate().rev() {
        let output =
            output.unwrap_or_else(|| run(model, unit, batch, input.as_ref(), &rope, pass.noise));
        let leaves = &model.units[unit].leaves;
        let inputs: Vec<&Tensor> = leaves.iter().chain(input.as_ref()).collect();
        let mut grads =
            torch_ext::grad(&[output], &[&output_grad], &inputs).with_context(|| {
                format!("the backward pass of unit `{}`", model.units[unit].spec.name)
            })?;
        let input_grad = grads.split_off(leaves.len()).pop().flatten();
        gradients.add(unit, &grads);
        if let Some(input_grad) = input_grad {
            output_grad = input_grad;
        }
    }
    Ok(from_head.loss * batch.scale)
}

/// What goes through the last block, without gradients: what the loss of an evaluation is computed from.
///
/// # Shapes
/// -> `x_btd`
pub fn forward(model: &Model, batch: &MicroBatch) -> Tensor {
    let _no_grad = tch::no_grad_guard();
    let rope = model.rope_of(batch);
    (0..=model.n_layers())
        .fold(None, |x_btd: Option<Tensor>, unit| {
            Some(run(model, unit, batch, x_btd.as_ref(), &rope, None))
        })
        .expect("a model has an embedding")
}

/// One unit: the embedding, which has no input but the ids, or a block.
fn run(
    model: &Model,
    unit: usize,
    batch: &MicroBatch,
    input: Option<&Tensor>,
    rope: &Rope,
    noise: Option<Noise>,
) -> Tensor {
    match input {
        None => {
            let x_btd = model.embed(&batch.tokens_bt);
            noise.map_or(x_btd.shallow_clone(), |noise| noise.embedding(&x_btd, batch))
        }
        Some(x_btd) => {
            let context = match &batch.lengths {
                None => Context::Rows,
                Some(lengths) => Context::Documents(lengths),
            };
            let dropout = noise.map(|noise| noise.block(unit - 1, batch));
            model.block(unit - 1, x_btd, rope, context, dropout)
        }
    }
}
