//! Causal attention in which several query heads may share a head of keys and values.

use tch::Tensor;

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
        Context::Documents(lengths) => {
            // Splitting, and not a narrow view a document: its gradient is one concatenation.
            let [q, k, v] = [&q_bhtk, &k_bhtk, &v_bhtk].map(|it| it.split_with_sizes(lengths, 2));
            let documents = q.iter().zip(&k).zip(&v);
            let attended: Vec<Tensor> = documents.map(|((q, k), v)| over(q, k, v, true)).collect();
            Tensor::cat(&attended, 2)
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
