//! A unit whose matrices are shared by the ranks of a tensor group: what each computes alone, and what is sent between.
//!
//! The cut is Megatron-LM's (arXiv:1909.08053; with sequence parallelism, arXiv:2205.05198). Of queries, keys, values, gate
//! and up, a rank has some of the outputs, so that it computes some heads, and some of what is inside the MLP; of `o` and
//! `down` it has the inputs that go with them, so that its product is a summand. Of the embedding it has some tokens.
//!
//! Autograd stays inside of what a rank computes alone, a [`Stretch`]. Between stretches stand the mesh's `gather` and
//! `reduce`, each of which is the other's way back. Hidden states are `x_md`: a row for each place that this rank keeps.

use std::rc::Rc;

use std::ops::Range;

use anyhow::{Context as _, Result};
use tch::Tensor;

use crate::batch::{MicroBatch, Span};
use crate::fault::{Fault, planted};
use crate::model::linear::Linear;
use crate::model::{Context, Documents, Rope, attention};
use crate::noise::{Dropout, Noise, Site};
use crate::params::Model;
use crate::ranks::Summand;

/// A micro-batch on its way through the model's units.
pub(crate) struct Split<'a> {
    model: &'a Model,
    batch: &'a MicroBatch,
    rope: Rc<Rope>,
    documents: Option<Rc<Documents<'a>>>,
    noise: Option<Noise>,
    span: Span,
}

/// What a unit leaves behind for the way back.
#[derive(Debug)]
pub(crate) enum Made {
    Embedding(Tensor),
    Block(Box<Block>),
}

#[derive(Debug)]
pub(crate) struct Block {
    attention_norm: Stretch,
    attention: Stretch,
    mlp_norm: Stretch,
    mlp: Stretch,
}

/// Something that a rank computes alone, with its graph.
#[derive(Debug)]
struct Stretch {
    input: Tensor,
    output: Tensor,
}

impl Stretch {
    fn run(input: &Tensor, compute: impl FnOnce(&Tensor) -> Tensor) -> Self {
        let input = input.detach().set_requires_grad(true);
        let output = compute(&input);
        Self { input, output }
    }

    fn summand(&self) -> Summand {
        Summand(self.output.detach())
    }

    /// The gradients of the input and of these parameters.
    fn back(self, output_grad: &Tensor, parameters: &[&Tensor]) -> Result<(Tensor, Gradients)> {
        let inputs: Vec<&Tensor> =
            [&self.input].into_iter().chain(parameters.iter().copied()).collect();
        let mut grads = torch_ext::grad(&[self.output], &[output_grad], &inputs)?.into_iter();
        let input_grad = grads.next().flatten().context("an output depends on its input")?;
        Ok((input_grad, grads.collect()))
    }
}

type Gradients = Vec<Option<Tensor>>;

impl<'a> Split<'a> {
    pub(crate) fn new(
        model: &'a Model,
        batch: &'a MicroBatch,
        rope: Rc<Rope>,
        documents: Option<Rc<Documents<'a>>>,
        noise: Option<Noise>,
    ) -> Self {
        let span = model.mesh().span(places(batch));
        Self { model, batch, rope, documents, noise, span }
    }

    /// Runs a unit, of which the embedding has no input. The output is left out where only the way back is wanted: one
    /// sum over the ranks less.
    ///
    /// # Shapes
    /// `x_md` -> `x_md`
    pub(crate) fn run(
        &self,
        unit: usize,
        input: Option<&Tensor>,
        output: bool,
    ) -> Result<(Made, Option<Tensor>)> {
        match input {
            None => self.embedding(output),
            Some(x_md) => self.block(unit - 1, x_md, output),
        }
    }

    /// The gradients of a unit's input and of its parameters, in their order.
    pub(crate) fn back(
        &self,
        unit: usize,
        made: Made,
        grad_md: &Tensor,
    ) -> Result<(Option<Tensor>, Gradients)> {
        match made {
            Made::Embedding(output) => {
                let grad_md = match self.noise {
                    None => grad_md.shallow_clone(),
                    Some(noise) => {
                        let dropout = noise.embedding_dropout(self.batch).within(Some(self.span));
                        dropout.apply(grad_md.shallow_clone(), Site::Embedding)
                    }
                };
                let grad_nd = self.model.mesh().gather(&grad_md, self.span)?;
                let weight = self.model.units[0].weight(0);
                Ok((None, torch_ext::grad(&[output], &[grad_nd], &[weight])?))
            }
            Made::Block(block) => {
                let (input_grad, parameters) = self.block_back(unit - 1, *block, grad_md)?;
                Ok((Some(input_grad), parameters))
            }
        }
    }

    fn embedding(&self, output: bool) -> Result<(Made, Option<Tensor>)> {
        let unit = &self.model.units[0];
        let held = &unit.base_param(0).held;
        let ids_n = self.batch.tokens_bt.view(-1) - held.offset[0];
        let ours_n = ids_n.ge(0).logical_and(&ids_n.lt(held.size[0]));
        let ids_n = &ids_n * &ours_n;
        let weight = unit.weight(0);
        let rows_nd = Tensor::embedding(weight, &ids_n, -1, false, false);
        let made = rows_nd * ours_n.unsqueeze(1).to_kind(weight.kind());
        let x_md = output.then(|| self.model.mesh().reduce(Summand(made.detach()), self.span));
        let x_md = x_md.transpose()?.map(|x_md| match self.noise {
            None => x_md,
            Some(noise) => noise.embedding(&x_md, self.batch, Some(self.span)),
        });
        Ok((Made::Embedding(made), x_md))
    }

    fn block(&self, layer: usize, x_md: &Tensor, output: bool) -> Result<(Made, Option<Tensor>)> {
        let (model, mesh) = (self.model, self.model.mesh());
        let unit = &model.units[1 + layer];
        let [q, k, v, o, gate, up, down] =
            [0, 1, 2, 3, 4, 5, 6].map(|matrix| self.matrix(layer, matrix));
        let [attention_norm, mlp_norm] = [7, 8].map(|norm| unit.weight(norm));
        let attention_norm = Stretch::run(x_md, |x_md| model.norm(x_md, attention_norm));
        let normed_nd = mesh.gather(&attention_norm.output, self.span)?;
        let attention = Stretch::run(&normed_nd, |x_nd| self.attend(x_nd, [q, k, v, o]));
        let attended_md = mesh.reduce(attention.summand(), self.span)?;
        let x_md = x_md.detach() + self.dropped(layer, attended_md, Site::Attention);
        let mlp_norm = Stretch::run(&x_md, |x_md| model.norm(x_md, mlp_norm));
        let normed_nd = mesh.gather(&mlp_norm.output, self.span)?;
        let mlp = Stretch::run(&normed_nd, |x_nd| down.of(&(gate.of(x_nd).silu() * up.of(x_nd))));
        let x_md = match output {
            false => None,
            true => {
                let mlp_md = mesh.reduce(mlp.summand(), self.span)?;
                Some(x_md + self.dropped(layer, mlp_md, Site::Mlp))
            }
        };
        Ok((Made::Block(Box::new(Block { attention_norm, attention, mlp_norm, mlp })), x_md))
    }

    fn block_back(
        &self,
        layer: usize,
        block: Block,
        grad_md: &Tensor,
    ) -> Result<(Tensor, Gradients)> {
        let mesh = self.model.mesh();
        let unit = &self.model.units[1 + layer];
        let trained = |numbers: Range<usize>| -> Vec<&Tensor> {
            numbers.flat_map(|number| unit.trained(number)).collect()
        };
        // What is added to the stream has the stream's gradient, without what was dropped of it.
        let added_md = self.dropped(layer, grad_md.shallow_clone(), Site::Mlp);
        let added_nd = mesh.gather(&added_md, self.span)?;
        let (normed_nd, mlp) = block.mlp.back(&added_nd, &trained(4..7))?;
        let normed_md = mesh.reduce(Summand(normed_nd), self.span)?;
        let (through_md, mlp_norm) = block.mlp_norm.back(&normed_md, &trained(8..9))?;
        let grad_md = grad_md + through_md;

        let added_md = self.dropped(layer, grad_md.shallow_clone(), Site::Attention);
        let added_nd = mesh.gather(&added_md, self.span)?;
        let (normed_nd, attention) = block.attention.back(&added_nd, &trained(0..4))?;
        let normed_md = mesh.reduce(Summand(normed_nd), self.span)?;
        let (through_md, attention_norm) = block.attention_norm.back(&normed_md, &trained(7..8))?;
        let parameters = [attention, mlp, attention_norm, mlp_norm];
        Ok((grad_md + through_md, parameters.into_iter().flatten().collect()))
    }

    /// What this rank holds of a matrix of a block, with what it holds of its adapter. An adapter's copy of a small matrix
    /// is read on every rank, by what only this one has.
    fn matrix(&self, layer: usize, number: u8) -> Linear<'_> {
        let unit = &self.model.units[1 + layer];
        let spec = unit.base_param(number.into());
        let columns =
            Span { all: spec.shape[1], start: spec.held.offset[1], length: spec.held.size[1] };
        let dropout = self.noise.map(|noise| noise.block(layer, self.batch).of_columns(columns));
        self.model.matrix(unit, number, dropout)
    }

    /// This rank's heads.
    ///
    /// # Shapes
    /// `x_nd` -> `y_nd`, a summand
    fn attend(&self, x_nd: &Tensor, matrices: [Linear<'_>; 4]) -> Tensor {
        let [b, t] = self.batch.tokens_bt.size()[..] else { unreachable!("rows and places") };
        let context = self.documents.as_deref().map_or(Context::Rows, Context::Documents);
        let ranks = self.model.mesh().tensor.size();
        let shape = attention::Shape::of_one(&self.model.config, ranks);
        let x_btd = x_nd.view([b, t, -1]);
        attention::attend(&x_btd, matrices, &shape, &self.rope, context).view([b * t, -1])
    }

    fn dropped(&self, layer: usize, x_md: Tensor, site: Site) -> Tensor {
        let dropout = self.noise.map(|noise| noise.block(layer, self.batch));
        let dropout = dropout.map(|dropout: Dropout| dropout.within(Some(self.span)));
        match dropout {
            Some(dropout) => dropout.apply(x_md, site),
            None => x_md,
        }
    }
}

impl Model {
    /// The sizes of the hidden states that this rank keeps of a micro-batch, between blocks.
    ///
    /// # Shapes
    /// -> those of `x_btd`, or of `x_md`
    pub(crate) fn hidden_size_of(&self, batch: &MicroBatch) -> Vec<i64> {
        let hidden = self.config.hidden_size;
        match self.mesh().cuts_matrices() {
            true => vec![self.mesh().span(places(batch)).length, hidden],
            false => [batch.tokens_bt.size(), vec![hidden]].concat(),
        }
    }

    /// What the last block gave, of all places, on every rank.
    ///
    /// # Shapes
    /// `x_btd` or `x_md` -> `x_nd`
    pub(crate) fn all_places(&self, x: &Tensor, batch: &MicroBatch) -> Result<Tensor> {
        let x = x.detach().view([-1, self.config.hidden_size]);
        self.mesh().gather(&x, self.mesh().span(places(batch)))
    }

    /// Of something that all ranks have of all places, what belongs to the places that this rank keeps, shaped as `like`.
    pub(crate) fn own_places(&self, x_nd: &Tensor, like: &Tensor) -> Result<Tensor> {
        let span = self.mesh().span(x_nd.size()[0]);
        let x_md = if planted(Fault::SummedNotCut) {
            self.mesh().reduce(Summand(x_nd.shallow_clone()), span)?
        } else {
            span.of(x_nd)
        };
        Ok(x_md.view(like.size().as_slice()))
    }
}

fn places(batch: &MicroBatch) -> i64 {
    batch.tokens_bt.size().iter().product()
}
