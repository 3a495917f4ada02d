//! A base's embedding and head -> the same with rows for tokens that the datamix added.
//!
//! Legend: `v` vocabulary, `d` hidden size.

use std::path::Path;

use anyhow::{Context, Result};
use cli::{BadInput, bail_input};
use shards::Manifest;
use tch::{Device, Kind, Tensor};

use crate::config::{Fill, ModelConfig};
use crate::llama_config::LlamaConfig;
use crate::params::{Model, Unit};
use crate::stored::Stored;
use crate::units::{EMBEDDING, HEAD, ParamSpec};
use crate::weights;

/// How many rows the model gets: enough for every token of these shards, filled up to the configured multiple, and
/// never fewer than the base has.
pub fn rows(model: &ModelConfig, base: &LlamaConfig, shards: &Path) -> Result<i64> {
    let Some(new_rows) = &model.new_rows else { return Ok(base.vocab_size) };
    let Some(manifest) = Manifest::of_shards(shards).bad_input()? else {
        bail_input!(
            "`model.new_rows` takes the vocabulary's size from the manifest, but `{}` has none\n\
             hint: leave `model.new_rows` out, and take a base that has the rows already",
            shards.display()
        );
    };
    let tokens = manifest.tokenizer.vocab_size;
    let needed = tokens.checked_next_multiple_of(new_rows.multiple.get());
    let needed =
        needed.with_context(|| format!("{tokens} tokens and such a multiple")).bad_input()?;
    Ok(base.vocab_size.max(needed.into()))
}

/// Fills a model from a base whose embedding and head have only `n_stored` rows.
///
/// Rows drawn at random are a function of `seed`.
pub fn load(folder: &Path, model: &mut Model, n_stored: i64, fill: Fill, seed: u32) -> Result<()> {
    let n_new = model.config.vocab_size - n_stored;
    let stored = Stored::open_folder(folder).bad_input()?;
    let grows = |spec: &ParamSpec| spec.name == EMBEDDING || spec.name == HEAD;
    let mut specs: Vec<ParamSpec> =
        model.units.iter().flat_map(Unit::base_params).cloned().collect();
    specs.iter_mut().filter(|spec| grows(spec)).for_each(|spec| spec.shape[0] = n_stored);
    let fill_place = |spec: &ParamSpec, place: &Tensor| -> Result<()> {
        weights::copy(&stored, &spec.name, &place.narrow(0, 0, n_stored))?;
        let _no_grad = tch::no_grad_guard();
        let mut new_vd = place.narrow(0, n_stored, n_new);
        match fill {
            Fill::CopyLast => new_vd.copy_(&place.narrow(0, n_stored - 1, 1)),
            Fill::Mean => {
                new_vd.copy_(&place.narrow(0, 0, n_stored).mean_dim(0, true, Kind::Float));
            }
            // Drawn on the CPU, so that the numbers are the same on every device.
            Fill::Normal => new_vd.copy_(
                &(Tensor::randn(new_vd.size(), (Kind::Float, Device::Cpu))
                    * model.config.initializer_range),
            ),
        }
        Ok(())
    };
    tch::manual_seed(i64::from(seed));
    let fill_all = || -> Result<()> {
        weights::check(&stored, specs.iter())?;
        for unit in &model.units {
            if unit.base_params().any(&grows) {
                unit.fill(&unit.master, |spec, place| match grows(spec) {
                    true => fill_place(spec, place),
                    false => Ok(()),
                })?;
            }
            let rest = unit.base_params().zip(unit.base_pieces()).filter(|(spec, _)| !grows(spec));
            for (spec, (piece, place)) in rest {
                weights::copy_numbers(&stored, &spec.name, &spec.held, piece.in_param, &place)?;
            }
        }
        Ok(())
    };
    fill_all().with_context(|| folder.display().to_string()).bad_input()?;
    model.refresh()
}
