//! Causal attention in which several query heads may share a head of keys and values.

use anyhow::Result;
use tch::{Device, Kind, Tensor};

use crate::llama_config::LlamaConfig;
use crate::model::linear::Linear;
use crate::model::{Context, Rope};

/// How the hidden states are cut into a rank's heads.
#[derive(Debug)]
pub(crate) struct Shape {
    heads: i64,
    kv_heads: i64,
    head_dim: i64,
}

impl Shape {
    pub(crate) fn of(config: &LlamaConfig) -> Self {
        Self {
            heads: config.num_attention_heads,
            kv_heads: config.num_key_value_heads,
            head_dim: config.head_dim,
        }
    }

    /// That of one of several ranks which share the heads.
    pub(crate) fn of_one(config: &LlamaConfig, ranks: usize) -> Self {
        let ranks = i64::try_from(ranks).expect("fewer ranks than 2^63");
        let Self { heads, kv_heads, head_dim } = Self::of(config);
        Self { heads: heads / ranks, kv_heads: kv_heads / ranks, head_dim }
    }
}

/// The documents that follow one another in a packed row.
#[derive(Debug)]
pub struct Documents<'a> {
    lengths: &'a [i64],
    /// They, for one call for all of them, where there is one.
    flash: Option<torch_ext::Documents>,
}

impl<'a> Documents<'a> {
    /// Documents of these lengths, of which a model computes in this kind of number on this device.
    pub(crate) fn new(
        lengths: &'a [i64],
        config: &LlamaConfig,
        kind: Kind,
        device: Device,
    ) -> Result<Self> {
        let has_flash = device.is_cuda() && kind == Kind::BFloat16;
        let fits = config.head_dim % 8 == 0 && config.head_dim <= 256;
        let flash = (has_flash && fits).then(|| torch_ext::Documents::of(lengths, device));
        Ok(Self { lengths, flash: flash.transpose()? })
    }

    /// What each of them finds in itself.
    ///
    /// # Shapes
    /// `q_1hnk`, `k_1gnk`, `v_1gnk` -> `y_1hnk`
    fn attend(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        over: impl Fn([&Tensor; 3]) -> Tensor,
    ) -> Tensor {
        if let Some(documents) = &self.flash {
            let [q_nhk, k_ngk, v_ngk] = [q, k, v].map(|it| it.squeeze_dim(0).transpose(0, 1));
            let y_nhk = documents.attend(&q_nhk, &k_ngk, &v_ngk).expect("the model's own tensors");
            return y_nhk.transpose(0, 1).unsqueeze(0);
        }
        // Splitting, and not a narrow view a document: its gradient is one concatenation.
        let [q, k, v] = [q, k, v].map(|it| it.split_with_sizes(self.lengths, 2));
        let documents = q.iter().zip(&k).zip(&v);
        let attended: Vec<Tensor> = documents.map(|((q, k), v)| over([q, k, v])).collect();
        Tensor::cat(&attended, 2)
    }
}

/// Attention with its four matrices: queries, keys, values, output.
///
/// # Shapes
/// `x_btd` -> `y_btd`
pub(crate) fn attend(
    x_btd: &Tensor,
    [q, k, v, o]: [Linear<'_>; 4],
    shape: &Shape,
    rope: &Rope,
    context: Context<'_>,
) -> Tensor {
    let (b, t, _) = x_btd.size3().expect("hidden states have three sizes");
    let heads =
        |matrix: Linear<'_>, n_heads: i64| matrix.of(x_btd).view([b, t, n_heads, shape.head_dim]);
    let q_bhtk = rope.turn(&heads(q, shape.heads)).transpose(1, 2);
    let k_bhtk = rope.turn(&heads(k, shape.kv_heads)).transpose(1, 2);
    let v_bhtk = heads(v, shape.kv_heads).transpose(1, 2);
    let grouped = shape.heads != shape.kv_heads;
    let over = |q: &Tensor, k: &Tensor, v: &Tensor, causal: bool| {
        Tensor::scaled_dot_product_attention(q, k, v, None::<&Tensor>, 0.0, causal, None, grouped)
    };
    let y_bhtk = match context {
        Context::Rows => over(&q_bhtk, &k_bhtk, &v_bhtk, true),
        Context::Documents(documents) => {
            documents.attend(&q_bhtk, &k_bhtk, &v_bhtk, |[q, k, v]| over(q, k, v, true))
        }
        Context::Cached(cache) => {
            let first = cache.is_empty();
            assert!(first || t == 1, "after the prompt, tokens come one at a time");
            let (k, v) = cache.extend(k_bhtk, v_bhtk);
            // A single new token sees everything before it: there is nothing to mask.
            over(&q_bhtk, &k, &v, first)
        }
    };
    o.of(&y_bhtk.transpose(1, 2).reshape([b, t, shape.heads * shape.head_dim]))
}
