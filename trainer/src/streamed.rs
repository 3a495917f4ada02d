//! A model on disk -> its logits, with one block in memory at a time.
//!
//! For looking at a model of any size: the largest that is held is the embedding, the head and one block, in `f32`.

use std::ops::Range;

use anyhow::Result;
use tch::{Device, Kind, Tensor};

use crate::llama_config::LlamaConfig;
use crate::model::Context;
use crate::params::Model;
use crate::weights;

/// The logits of whole prompts, `t x v` each.
///
/// `rows` gives some rows of the parameter of this name, in any kind.
pub fn logits(
    config: &LlamaConfig,
    prompts: &[Vec<i64>],
    rows: impl Fn(&str, Range<i64>) -> Result<Tensor>,
) -> Result<Vec<Tensor>> {
    let _no_grad = tch::no_grad_guard();
    let one_block = LlamaConfig { num_hidden_layers: 1, ..config.clone() };
    let mut model = Model::zeros(one_block, Kind::Float, Device::Cpu);
    // The only block is refilled: its names are those of block 0.
    let fill = |model: &mut Model, layer: i64, ends: bool| -> Result<()> {
        for (spec, place) in weights::parameters(model) {
            let of_block = spec.name.strip_prefix("model.layers.0.");
            let name = match of_block {
                Some(rest) => format!("model.layers.{layer}.{rest}"),
                None if ends => spec.name,
                None => continue,
            };
            for range in weights::row_ranges(&spec.shape) {
                let (first, n) = (range.start, range.end - range.start);
                place.narrow(0, first, n).copy_(&rows(&name, range)?);
            }
        }
        model.refresh()
    };
    fill(&mut model, 0, true)?;
    let mut hidden: Vec<Tensor> = prompts
        .iter()
        .map(|prompt| model.embed(&Tensor::from_slice(prompt).unsqueeze(0)))
        .collect();
    for layer in 0..config.num_hidden_layers {
        if layer > 0 {
            fill(&mut model, layer, false)?;
        }
        for x_btd in &mut hidden {
            cli::interrupt::check()?;
            let rope = model.rope(0, x_btd.size()[1]);
            *x_btd = model.block(0, x_btd, &rope, Context::Rows, None);
        }
    }
    let logits = hidden
        .iter()
        .map(|x_btd| model.final_norm(x_btd).linear(model.head(), None::<&Tensor>).squeeze_dim(0));
    Ok(logits.collect())
}
