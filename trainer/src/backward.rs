//! A micro-batch -> its loss, and its gradients, unit by unit.
//!
//! Autograd lives inside one unit only. The forward pass goes unit by unit, each on a detached input; the backward pass
//! walks from the last unit to the first and asks each for the gradients of its input and of its parameters, given that
//! of its output. This is bit-identical to one backward pass through the whole graph. With recompute only the units'
//! inputs are kept, and a unit runs again when its turn comes: the same operations on the same numbers.
//!
//! Where the ranks of a tensor group share the matrices, a unit is several stretches of autograd with calls between them
//! ([`crate::model`]); what is said above is true of each stretch then. Where the model is cut into stages, a rank does all
//! of this with its own units, and [`crate::pipeline`] brings what goes into them from the neighbours.

use std::rc::Rc;

use anyhow::{Context as _, Result};
use tch::{Kind, Tensor};

use crate::batch::MicroBatch;
use crate::config::Recompute;
use crate::gradients::Gradients;
use crate::loss::{self, Objective};
use crate::model::split::{self, Split};
use crate::model::{Context, Documents, Rope};
use crate::noise::Noise;
use crate::params::Model;

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
    /// What it computed, with its graph; none if the unit runs again.
    made: Option<Made>,
}

/// What a unit computed, with its graph.
enum Made {
    /// The output of all of it.
    Whole(Tensor),
    /// This rank's part of it.
    Split(split::Made),
}

/// Runs a micro-batch forward and backward: adds the gradients of its part of the update's loss to `gradients`, and
/// gives that part, a scalar where the model is.
pub fn micro_batch(
    model: &Model,
    batch: &MicroBatch,
    pass: Pass,
    gradients: &mut Gradients,
) -> Result<Tensor> {
    Ok(Underway::forward(model, batch, pass, None)?.back(None, gradients)?.loss)
}

/// A micro-batch that went forward through this rank's units, and is to come back.
pub struct Underway<'a> {
    walk: Walk<'a>,
    pass: Pass,
    /// What each unit but the head left behind, the first of this rank's units first.
    kept: Vec<Kept>,
    /// What the last of them gave.
    output: Tensor,
}

/// What came of the way back.
#[derive(Debug)]
pub struct Back {
    /// The micro-batch's part of the update's loss: of the rank that has the head, and 0 on others.
    pub loss: Tensor,
    /// The gradient of what came from the stage before, if that needs it.
    pub input_grad: Option<Tensor>,
}

impl<'a> Underway<'a> {
    /// Runs a micro-batch forward. Where this rank has not the first units, `input` is what came out of those before.
    ///
    /// # Shapes
    /// `x_btd`, or `x_md` of the places that this rank keeps
    pub fn forward(
        model: &'a Model,
        batch: &'a MicroBatch,
        pass: Pass,
        input: Option<Tensor>,
    ) -> Result<Self> {
        let walk = Walk::new(model, batch, pass.noise)?;
        let lowest = model.lowest_trained();
        let mut kept = Vec::new();
        let mut x_btd = input;
        model.enter_stage()?;
        for unit in model.stage_without_head() {
            model.enter(unit, Some(unit + 1))?;
            let input = x_btd.map(|x| x.set_requires_grad(unit > lowest));
            // Weights that are gathered for each use are overwritten before the way back.
            let again = pass.recompute.again(unit) || model.zero().shards_weights();
            let (made, output) = {
                let _no_grad = again.then(tch::no_grad_guard);
                walk.run(unit, input.as_ref(), true)?
            };
            x_btd = output;
            kept.push(Kept { input, made: (!again).then_some(made) });
        }
        Ok(Self { walk, pass, kept, output: x_btd.context("a unit gives an output")? })
    }

    /// What goes to the next stage.
    ///
    /// # Shapes
    /// -> `x_btd`, or `x_md`
    pub fn output(&self) -> Tensor {
        self.output.shallow_clone()
    }

    /// Goes back, given the gradient of the output if this rank has not the head, and if there is anything to train below.
    pub fn back(self, output_grad: Option<Tensor>, gradients: &mut Gradients) -> Result<Back> {
        let Self { walk, pass, kept, output } = self;
        let (model, batch) = (walk.model, walk.batch);
        let (stage, lowest) = (model.stage(), model.lowest_trained());
        let mut loss = Tensor::zeros([], (Kind::Double, model.device()));
        let mut output_grad = output_grad;
        if model.has_head() {
            let from_head = through_head(model, batch, pass.objective, &output, gradients)?;
            loss = from_head.loss * batch.scale;
            output_grad = Some(from_head.x_btd);
        }
        // Nothing below the lowest unit with something to train needs a gradient.
        let kept = model.stage_without_head().zip(kept);
        for (unit, Kept { input, made }) in kept.rev().take_while(|(unit, _)| *unit >= lowest) {
            let grad_btd = output_grad.context("what is above gives a gradient")?;
            model.enter(unit, unit.checked_sub(1).filter(|below| *below >= lowest))?;
            let made = match made {
                Some(made) => made,
                None => walk.run(unit, input.as_ref(), false)?.0,
            };
            let input = input.filter(|_| unit > lowest);
            let (input_grad, grads) =
                walk.back(unit, input.as_ref(), made, &grad_btd).with_context(|| {
                    format!("the backward pass of unit `{}`", model.units[unit].spec.name)
                })?;
            if !model.has_head() || unit != model.head_unit() {
                gradients.open(unit)?;
            }
            gradients.add(unit, &grads);
            gradients.close(unit)?;
            output_grad = input_grad;
        }
        if model.has_head() && !stage.contains(&model.head_unit()) {
            // A tied head's matrix, of which the first stage has the rest of the gradient.
            gradients.close(model.head_unit())?;
        }
        Ok(Back { loss, input_grad: output_grad.filter(|_| stage.start > lowest) })
    }
}

/// The head, there and back.
fn through_head(
    model: &Model,
    batch: &MicroBatch,
    objective: Objective,
    x_btd: &Tensor,
    gradients: &mut Gradients,
) -> Result<loss::HeadGradients> {
    let head = model.n_layers() + 1;
    model.enter(head, Some(head - 1))?;
    gradients.open(head)?;
    // A tied head's matrix is the embedding's, whose gradient is whole when the way back has come there.
    let matrix = model.head_unit();
    if matrix != head {
        gradients.open(matrix)?;
    }
    let trains_head = model.head().requires_grad();
    let head_grad = trains_head.then(|| gradients.parameter(matrix, 0));
    let mut from_head = loss::gradients(model, x_btd, batch, batch.scale, objective, head_grad)?;
    let norm = from_head.norm_d.take();
    match matrix == head {
        true => gradients.add(head, &[None, norm]),
        false => gradients.add(head, &[norm]),
    }
    gradients.close(head)?;
    Ok(from_head)
}

/// Does nothing, in the company of ranks that run a micro-batch: every rank must make the same calls in the same order.
pub fn idle(model: &Model, gradients: &mut Gradients) -> Result<()> {
    let (head, lowest) = (model.n_layers() + 1, model.lowest_trained());
    for unit in 0..=head {
        model.enter(unit, (unit < head).then_some(unit + 1))?;
    }
    for unit in (lowest..=head).rev() {
        model.enter(unit, unit.checked_sub(1).filter(|below| *below >= lowest))?;
        gradients.open(unit)?;
        gradients.close(unit)?;
    }
    Ok(())
}

/// The same for a forward pass.
pub fn idle_forward(model: &Model) -> Result<()> {
    let head = model.n_layers() + 1;
    (0..=head).try_for_each(|unit| model.enter(unit, (unit < head).then_some(unit + 1)))
}

/// What goes through this rank's blocks, without gradients: after the last, what the loss of an evaluation is computed from.
/// `input` is what came out of the units before them.
///
/// # Shapes
/// `x_btd`, or `x_md` of the places that this rank keeps -> the same
pub fn forward(model: &Model, batch: &MicroBatch, input: Option<Tensor>) -> Result<Tensor> {
    let _no_grad = tch::no_grad_guard();
    let walk = Walk::new(model, batch, None)?;
    let mut x_btd = input;
    model.enter_stage()?;
    for unit in model.stage_without_head() {
        model.enter(unit, Some(unit + 1))?;
        x_btd = walk.run(unit, x_btd.as_ref(), true)?.1;
    }
    if model.has_head() {
        model.enter(model.n_layers() + 1, None)?;
    }
    x_btd.context("a unit gives an output")
}

/// A micro-batch on its way through the units.
struct Walk<'a> {
    model: &'a Model,
    batch: &'a MicroBatch,
    rope: Rc<Rope>,
    documents: Option<Rc<Documents<'a>>>,
    noise: Option<Noise>,
    /// If matrices are shared by several ranks.
    split: Option<Split<'a>>,
}

impl<'a> Walk<'a> {
    fn new(model: &'a Model, batch: &'a MicroBatch, noise: Option<Noise>) -> Result<Self> {
        let rope = Rc::new(model.rope_of(batch));
        let documents = model.documents_of(batch)?.map(Rc::new);
        let split = || Split::new(model, batch, Rc::clone(&rope), documents.clone(), noise);
        let split = model.mesh().cuts_matrices().then(split);
        Ok(Self { model, batch, rope, documents, noise, split })
    }

    /// Runs a unit: the embedding, which has no input but the ids, or a block. Without `output`, it may be left out.
    fn run(
        &self,
        unit: usize,
        input: Option<&Tensor>,
        output: bool,
    ) -> Result<(Made, Option<Tensor>)> {
        if let Some(split) = &self.split {
            let (made, x_md) = split.run(unit, input, output)?;
            return Ok((Made::Split(made), x_md));
        }
        let Self { model, batch, rope, documents, noise, .. } = self;
        let output = match input {
            None => {
                let x_btd = model.embed(&batch.tokens_bt);
                let noisy = noise.map(|noise| noise.embedding(&x_btd, batch, None));
                noisy.unwrap_or(x_btd)
            }
            Some(x_btd) => {
                let context = documents.as_deref().map_or(Context::Rows, Context::Documents);
                let dropout = noise.map(|noise| noise.block(unit - 1, batch));
                model.block(unit - 1, x_btd, rope, context, dropout)
            }
        };
        let x_btd = output.detach();
        Ok((Made::Whole(output), Some(x_btd)))
    }

    /// The gradients of a unit's input, if it has one, and of its parameters.
    fn back(
        &self,
        unit: usize,
        input: Option<&Tensor>,
        made: Made,
        output_grad: &Tensor,
    ) -> Result<(Option<Tensor>, Vec<Option<Tensor>>)> {
        match (made, &self.split) {
            (Made::Split(made), Some(split)) => split.back(unit, made, output_grad),
            (Made::Whole(output), None) => {
                let leaves = &self.model.units[unit].leaves;
                let inputs: Vec<&Tensor> = leaves.iter().chain(input).collect();
                let mut grads = torch_ext::grad(&[output], &[output_grad], &inputs)?;
                let input_grad = grads.split_off(leaves.len()).pop().flatten();
                Ok((input_grad, grads))
            }
            _ => unreachable!("a walk makes what it goes back through"),
        }
    }
}
