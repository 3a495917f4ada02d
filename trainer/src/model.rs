//! Llama: token ids -> hidden states -> logits, a unit at a time.
//!
//! Parameters are Hugging Face's and RoPE is in its layout (the two halves of a head turn together), so that a
//! checkpoint is read and written as it is. Norms, the rotation and the softmax compute in `f32` whatever the kind of
//! the rest.
//!
//! Legend: `b` rows, `t` places, `d` hidden size, `h` heads, `k` head size, `v` vocabulary.

mod attention;
mod cache;
mod linear;
mod rope;
pub(crate) mod split;

pub use attention::Documents;
pub use cache::KvCache;
pub use rope::Rope;

use anyhow::Result;
use tch::{Kind, Tensor};

use crate::batch::MicroBatch;
use crate::model::linear::{Adapter, Linear};
use crate::noise::{Dropout, Site};
use crate::params::{Model, Unit};

/// What a block attends over besides its own input.
#[derive(Debug)]
pub enum Context<'a> {
    /// Nothing: each row is a document.
    Rows,
    /// Nothing: one row has these documents, and each attends to itself alone.
    Documents(&'a Documents<'a>),
    /// What came before, which is kept; the input's keys and values are added to it.
    Cached(&'a mut cache::LayerCache),
}

impl Model {
    /// The embedding.
    ///
    /// # Shapes
    /// `tokens_bt` -> `x_btd`
    pub fn embed(&self, tokens_bt: &Tensor) -> Tensor {
        Tensor::embedding(self.units[0].weight(0), tokens_bt, -1, false, false)
    }

    /// One decoder block: attention, then the gated MLP, each on a normed input and added to what came in.
    ///
    /// With dropout, numbers of both are dropped before they are added.
    ///
    /// # Shapes
    /// `x_btd` -> `x_btd`; `rope` covers `t` places
    pub fn block(
        &self,
        layer: usize,
        x_btd: &Tensor,
        rope: &Rope,
        context: Context<'_>,
        dropout: Option<Dropout>,
    ) -> Tensor {
        let dropped = |it: Tensor, site: Site| match dropout {
            Some(dropout) => dropout.apply(it, site),
            None => it,
        };
        // In the order of `unit_specs`: seven matrices, then two norms.
        let unit = &self.units[1 + layer];
        let [q, k, v, o, gate, up, down] =
            [0, 1, 2, 3, 4, 5, 6].map(|matrix| self.matrix(unit, matrix, dropout));
        let [attention_norm, mlp_norm] = [7, 8].map(|norm| unit.weight(norm));
        let shape = attention::Shape::of(&self.config);
        let normed = self.norm(x_btd, attention_norm);
        let attended = attention::attend(&normed, [q, k, v, o], &shape, rope, context);
        let x_btd = x_btd + dropped(attended, Site::Attention);
        let normed = self.norm(&x_btd, mlp_norm);
        let mlp = down.of(&(gate.of(&normed).silu() * up.of(&normed)));
        x_btd + dropped(mlp, Site::Mlp)
    }

    /// A matrix of a block, with its adapter.
    fn matrix<'a>(&self, unit: &'a Unit, number: u8, dropout: Option<Dropout>) -> Linear<'a> {
        let adapter = unit.adapter(number.into());
        let adapter = adapter.map(|[a, b]| Adapter { a, b, scale: self.scale(), dropout, number });
        Linear { weight: unit.weight(number.into()), adapter }
    }

    /// The final norm.
    ///
    /// # Shapes
    /// `x_nd` -> `x_nd`, any leading sizes
    pub fn final_norm(&self, x_nd: &Tensor) -> Tensor {
        self.norm(x_nd, self.final_norm_weight())
    }

    /// The final norm's weight.
    pub fn final_norm_weight(&self) -> &Tensor {
        let last = &self.units[self.units.len() - 1];
        // A tied head's unit has nothing else.
        last.weight(usize::from(!self.config.tie_word_embeddings))
    }

    /// The head's matrix, `v x d`.
    pub fn head(&self) -> &Tensor {
        self.units[self.head_unit()].weight(0)
    }

    /// The unit whose first parameter is the head's matrix: the last, or, if that is tied, the embedding.
    pub fn head_unit(&self) -> usize {
        if self.config.tie_word_embeddings { 0 } else { self.units.len() - 1 }
    }

    /// How many blocks there are.
    pub fn n_layers(&self) -> usize {
        self.units.len() - 2
    }

    /// The rotations of places `start..start + length`.
    pub fn rope(&self, start: i64, length: i64) -> Rope {
        Rope::new(&self.config, start, length, self.device())
    }

    /// The rotations of the places of a micro-batch: of its rows, or of the documents in its packed row.
    pub fn rope_of(&self, batch: &MicroBatch) -> Rope {
        match &batch.lengths {
            None => self.rope(0, batch.tokens_bt.size()[1]),
            Some(lengths) => Rope::of_documents(&self.config, lengths, self.device()),
        }
    }

    /// The documents of a packed micro-batch.
    pub(crate) fn documents_of<'a>(&self, batch: &'a MicroBatch) -> Result<Option<Documents<'a>>> {
        let documents = |lengths: &'a Vec<i64>| {
            Documents::new(lengths, &self.config, self.kind(), self.device())
        };
        batch.lengths.as_ref().map(documents).transpose()
    }

    /// All logits of whole rows, in `f32`; for looking at and comparing, not for training.
    ///
    /// # Shapes
    /// `tokens_bt` -> `logits_btv`
    pub fn logits(&self, tokens_bt: &Tensor) -> Tensor {
        let _no_grad = tch::no_grad_guard();
        let rope = self.rope(0, tokens_bt.size()[1]);
        let mut x_btd = self.embed(tokens_bt);
        for layer in 0..self.n_layers() {
            x_btd = self.block(layer, &x_btd, &rope, Context::Rows, None);
        }
        linear(&self.final_norm(&x_btd), self.head()).to_kind(Kind::Float)
    }

    /// The logits after the last of these tokens, which follow those that the cache has seen: the first call takes a
    /// whole prompt, each later one a token.
    ///
    /// # Shapes
    /// `tokens_bt` -> `logits_bv`
    pub fn next_logits(&self, tokens_bt: &Tensor, cache: &mut KvCache) -> Tensor {
        let _no_grad = tch::no_grad_guard();
        let length = tokens_bt.size()[1];
        let rope = self.rope(cache.len(), length);
        let mut x_btd = self.embed(tokens_bt);
        for (layer, cache) in cache.layers.iter_mut().enumerate() {
            x_btd = self.block(layer, &x_btd, &rope, Context::Cached(cache), None);
        }
        let last_bd = x_btd.select(1, length - 1);
        linear(&self.final_norm(&last_bd), self.head()).to_kind(Kind::Float)
    }

    /// RMSNorm as Llama defines it: statistics in `f32`, the result cast back, and only then multiplied by the weight.
    fn norm(&self, x_btd: &Tensor, weight_d: &Tensor) -> Tensor {
        let normed = x_btd.to_kind(wide(x_btd.kind())).rms_norm(
            [weight_d.size()[0]],
            None::<&Tensor>,
            self.config.rms_norm_eps,
        );
        normed.to_kind(x_btd.kind()) * weight_d
    }
}

/// The kind in which norms, rotations, softmax and loss are computed: `f32`, or wider if the rest is.
pub(crate) fn wide(kind: Kind) -> Kind {
    if kind == Kind::Double { kind } else { Kind::Float }
}

/// A matrix without a bias; Llama has no other.
pub(crate) fn linear(x: &Tensor, weight: &Tensor) -> Tensor {
    x.linear(weight, None::<&Tensor>)
}
