//! What of a unit is trained: all of it, or, with LoRA, small matrices beside those that stay as they are.
//!
//! A matrix `W` (outputs x inputs) with an adapter is read as `W + scale * B A`, with `A` (r x inputs) and `B` (outputs x r).
//! What is trained is laid out, sharded, updated and saved as a model's parameters are; what stays is kept in the kind in
//! which the model computes, and has neither gradient nor moments.

use anyhow::Result;
use tch::{Device, Kind, Tensor};

use crate::config::LoraConfig;
use crate::params::Model;
use crate::units::{ParamSpec, Share, UnitSpec};

/// Ends the names of the two small matrices.
pub const A: &str = ".lora_A.weight";
/// See [`A`].
pub const B: &str = ".lora_B.weight";

/// A unit of a base model, cut in two.
#[derive(Clone, Debug)]
pub struct Split {
    /// What is trained.
    pub trained: UnitSpec,
    /// What stays.
    pub frozen: UnitSpec,
    /// Where each parameter of the base is, in the base's order.
    pub places: Vec<Place>,
}

/// Where a parameter of the base is, by its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Among what is trained.
    Trained(usize),
    /// Among what stays; with the number, among what is trained, of its adapter's `A`, which `B` follows.
    Frozen(usize, Option<usize>),
}

impl Split {
    /// Without LoRA, everything is trained.
    pub fn of(base: UnitSpec, lora: Option<&LoraConfig>) -> Self {
        let mut trained = UnitSpec { name: base.name.clone(), params: Vec::new() };
        let mut frozen = trained.clone();
        let mut places = Vec::new();
        for param in base.params {
            let name = param.name.trim_end_matches(".weight").to_owned();
            let module = name.rsplit('.').next().unwrap_or_default();
            let Some(lora) = lora.filter(|lora| !lora.saves(module)) else {
                places.push(Place::Trained(trained.params.len()));
                trained.params.push(param);
                continue;
            };
            let adapter = lora.targets(module).then_some(trained.params.len());
            if adapter.is_some() {
                let r = i64::from(lora.r);
                for (end, shape, share) in [
                    (A, [r, param.shape[1]], Share::Columns),
                    (B, [param.shape[0], r], Share::Rows),
                ] {
                    trained.params.push(beside(&param, &format!("{name}{end}"), shape, share));
                }
            }
            places.push(Place::Frozen(frozen.params.len(), adapter));
            frozen.params.push(param);
        }
        Self { trained, frozen, places }
    }
}

/// One of the small matrices beside `matrix`, which has its columns, or its rows, as `share` says. If the ranks of a tensor group
/// share the matrix by these, they share the small one so too. If not, each has a copy of that, whose gradient is a summand:
/// what came of its part of the matrix.
fn beside(matrix: &ParamSpec, name: &str, shape: [i64; 2], share: Share) -> ParamSpec {
    let mut spec = ParamSpec::new(name, &shape, Share::Summand, true);
    if matrix.held.numel() == 0 {
        // An adapter is where its matrix is.
        return spec.elsewhere();
    }
    if share == matrix.share {
        let dim = usize::from(share == Share::Columns);
        spec.share = share;
        spec.held.offset[dim] = matrix.held.offset[dim];
        spec.held.size[dim] = matrix.held.size[dim];
    }
    spec
}

/// Gives the adapters of a model the numbers that peft's begin with: `A` is uniform up to one over the square root of
/// its inputs (PyTorch's `kaiming_uniform_` with `a = sqrt(5)`), `B` is zero. A function of `seed`, whatever the ranks.
pub fn init(model: &mut Model, seed: u32) -> Result<()> {
    let _no_grad = tch::no_grad_guard();
    // Another stream than that of new rows.
    tch::manual_seed(i64::from(seed) | 1 << 32);
    for unit in &model.units {
        for (spec, (piece, mut place)) in unit.spec.params.iter().zip(unit.pieces(&unit.master)) {
            if spec.name.ends_with(A) {
                let bound = 1.0 / (spec.shape[1] as f64).sqrt();
                // All of it, on the CPU: the same numbers on every rank and device.
                let mut whole = Tensor::empty([spec.numel()], (Kind::Float, Device::Cpu));
                whole = whole.f_uniform_(-bound, bound)?;
                let range = piece.in_param;
                // A rank may have nothing of it.
                if !range.is_empty() {
                    let held = spec.held.of(&whole.view(spec.shape.as_slice())).reshape([-1]);
                    place.copy_(&held.narrow(0, range.start, range.end - range.start));
                }
            } else if spec.name.ends_with(B) {
                let _ = place.zero_();
            }
        }
    }
    model.refresh()
}
