//! A base and an adapter -> the weights of one model, some rows at a time.
//!
//! `W + scale * B A` is computed in `f32`, whatever kind the base is stored in, and rounded once, when it is written: what
//! peft's `merge_and_unload` gives in `f32`.

use std::ops::Range;

use anyhow::{Context, Result};
use cli::{BadInput, bail_input};
use tch::{Kind, Tensor};

use crate::config::LoraConfig;
use crate::llama_config::LlamaConfig;
use crate::params::lora::{A, B, Place, Split};
use crate::stored::Stored;
use crate::units::{ParamSpec, unit_specs};
use crate::weights::{self, Source};

/// A base with an adapter.
#[derive(Debug)]
pub struct Merged {
    base: Stored,
    adapter: Stored,
    /// What a parameter is called among the adapter's tensors.
    name: fn(&str) -> String,
    scale: f64,
    /// The model's parameters, and where each is.
    params: Vec<(ParamSpec, Part)>,
}

/// Where a parameter of the merged model comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// From the adapter, which has all of it.
    Saved,
    /// From the base as it is.
    Base,
    /// From both.
    Both,
}

impl Merged {
    /// Checks that the two make a model of this shape; `name` gives a parameter's name among the adapter's tensors.
    pub fn open(
        base: Stored,
        adapter: Stored,
        name: fn(&str) -> String,
        lora: &LoraConfig,
        config: &LlamaConfig,
    ) -> Result<Self> {
        if config.tie_word_embeddings && !lora.modules_to_save.is_empty() {
            bail_input!(
                "the adapter has an embedding or a head of its own, and in the base they are one matrix (`tie_word_embeddings`)\n\
                 hint: `trainer convert --untie` makes a base with a head of its own"
            );
        }
        let (mut trained, mut params) = (Vec::new(), Vec::new());
        for unit in unit_specs(config) {
            let whole = unit.params.clone();
            let Split { trained: of_unit, places, .. } = Split::of(unit, Some(lora));
            trained.extend(
                of_unit.params.into_iter().map(|spec| ParamSpec { name: name(&spec.name), ..spec }),
            );
            params.extend(whole.into_iter().zip(places).map(|(spec, place)| {
                let part = match place {
                    Place::Trained(_) => Part::Saved,
                    Place::Frozen(_, None) => Part::Base,
                    Place::Frozen(_, Some(_)) => Part::Both,
                };
                (spec, part)
            }));
        }
        weights::check(&adapter, trained.iter()).context("the adapter").bad_input()?;
        for (spec, part) in &params {
            if *part != Part::Saved {
                weights::check_shape(&base, spec).context("the base model").bad_input()?;
            }
        }
        Ok(Self { base, adapter, name, scale: lora.scale(), params })
    }

    /// The merged parameters, each cut to the rows of its shape here.
    pub fn sources<'a>(&'a self, specs: &'a [ParamSpec]) -> Vec<Source<'a>> {
        let of = |(spec, (_, part)): (&'a ParamSpec, &'a (ParamSpec, Part))| {
            let part = *part;
            Source::new(spec.name.clone(), spec.shape.clone(), move |rows| {
                self.rows(&spec.name, part, rows)
            })
        };
        specs.iter().zip(&self.params).map(of).collect()
    }

    fn rows(&self, name: &str, part: Part, rows: Range<i64>) -> Result<Tensor> {
        match part {
            Part::Base => self.base.rows(name, rows),
            Part::Saved => self.adapter.rows(&(self.name)(name), rows),
            Part::Both => {
                let matrix = |end: &str| (self.name)(&name.replace(".weight", end));
                let a = self.adapter.tensor(&matrix(A))?.to_kind(Kind::Float);
                let b = self.adapter.rows(&matrix(B), rows.clone())?.to_kind(Kind::Float);
                Ok(self.base.rows(name, rows)?.to_kind(Kind::Float) + b.matmul(&a) * self.scale)
            }
        }
    }
}
