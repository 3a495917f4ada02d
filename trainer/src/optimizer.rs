//! Gradients -> new masters, by AdamW over state that we own.
//!
//! Weight decay is decoupled; it touches matrices, embedding and head included, and no norm. Both parts of a unit are
//! one range of its flat buffers, so that an update is two calls whatever the number of parameters.
//!
//! Where masters and moments are apart from the model, in CPU memory, it is two calls a unit, made where they are. A unit's
//! gradient comes there while the CPU is busy with the unit before. The bits are the same.

use anyhow::{Context, Result};
use tch::{Device, Tensor};
use torch_ext::in_flight;

use crate::config::OptimizerConfig;
use crate::gradients::Gradients;
use crate::params::{Model, Moments, Unit};
use crate::snapshot::{self, Buffers, Lent, Snapshot};

/// AdamW with the state of every unit.
#[derive(Debug)]
pub struct AdamW {
    settings: OptimizerConfig,
    /// The running means, a unit each.
    pub moments: Vec<Moments>,
    /// What a writer may be reading of masters and moments.
    lent: Option<Lent>,
}

impl AdamW {
    /// An optimizer that has made no update.
    pub fn new(settings: OptimizerConfig, model: &Model) -> Self {
        let moments = model.units.iter().map(Moments::zeros).collect();
        Self { settings, moments, lent: None }
    }

    /// Lends masters and moments to a writer, of which at most `room` bytes are copied at the next update.
    pub fn lend(&mut self, buffers: Vec<Buffers>, room: u64) -> Snapshot {
        self.take_back();
        let (snapshot, lent) = snapshot::lend(buffers, room);
        self.lent = Some(lent);
        snapshot
    }

    fn take_back(&mut self) {
        if let Some(lent) = self.lent.take() {
            lent.take_back();
        }
    }

    /// Makes an update, the `number`-th counted from 1, and brings the model's compute copies up to it.
    pub fn step(
        &mut self,
        model: &mut Model,
        gradients: &Gradients,
        lr: f64,
        number: i64,
    ) -> Result<()> {
        model.settle()?;
        let mut masters = model.units.iter().map(|unit| &unit.master);
        debug_assert!(!masters.any(in_flight::is_used), "masters are still being sent");
        self.take_back();
        let n_units = model.units.len();
        match model.state_device() {
            None => {
                let gradients: Vec<&Tensor> =
                    (0..n_units).map(|it| gradients.of_master(it)).collect();
                self.update(model, 0, &gradients, lr, number)?;
            }
            Some(device) => {
                let bring = |unit: usize| {
                    let gradient = gradients.of_master(unit);
                    gradient.to_device_(device, gradient.kind(), true, false)
                };
                let mut arriving = Some(bring(0));
                for unit in 0..n_units {
                    if let Device::Cuda(gpu) = model.device() {
                        // What is being brought is there when all that was asked of the GPU is done.
                        tch::Cuda::synchronize(i64::try_from(gpu)?);
                    }
                    let arrived = arriving.take().context("a unit's gradient was asked for")?;
                    arriving = (unit + 1 < n_units).then(|| bring(unit + 1));
                    self.update(model, unit, &[&arrived], lr, number)?;
                }
            }
        }
        model.refresh()?;
        model.gather_ahead()
    }

    /// Updates masters and moments of as many units as there are gradients, from the `first` on.
    fn update(
        &self,
        model: &Model,
        first: usize,
        gradients: &[&Tensor],
        lr: f64,
        number: i64,
    ) -> Result<()> {
        for decayed in [true, false] {
            // Where the kind of parameters changes, in this rank's part of the unit.
            let split = |unit: usize| {
                let Unit { spec, range, .. } = &model.units[unit];
                spec.decayed().clamp(range.start, range.end) - range.start
            };
            let range = |flat: &Tensor, unit: usize| {
                let (split, all) = (split(unit), flat.size()[0]);
                if decayed { flat.narrow(0, 0, split) } else { flat.narrow(0, split, all - split) }
            };
            let units = (first..first + gradients.len()).filter(|&unit| {
                let all = model.units[unit].master.size()[0];
                if decayed { split(unit) > 0 } else { split(unit) < all }
            });
            let (mut masters, mut grads, mut means, mut squares) = (vec![], vec![], vec![], vec![]);
            for unit in units {
                masters.push(range(&model.units[unit].master, unit));
                grads.push(range(gradients[unit - first], unit));
                means.push(range(&self.moments[unit].exp_avg, unit));
                squares.push(range(&self.moments[unit].exp_avg_sq, unit));
            }
            if masters.is_empty() {
                continue;
            }
            let OptimizerConfig { betas: [beta1, beta2], eps, weight_decay, .. } = self.settings;
            let weight_decay = if decayed { weight_decay } else { 0.0 };
            torch_ext::AdamW { lr, beta1, beta2, eps, weight_decay }
                .step(number, &masters, &grads, &means, &squares)
                .context("the optimizer's step")?;
        }
        Ok(())
    }
}
