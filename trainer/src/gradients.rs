//! The gradients of a model: added up over micro-batches, then over ranks.
//!
//! A unit's gradients are a flat buffer laid out as its weights are. When the backward pass is through with a unit, the
//! sum over the ranks begins, of which each rank gets its part, while the pass goes on with the next unit: after the last
//! micro-batch at `zero: 0` and `1`, after every one at `2` and `3`, where no rank has room for all of them and units share
//! buffers. No more than `ON_THEIR_WAY` units' sums are on their way at a time, since what carries them keeps a copy of each.
//! At `zero: 0` the parts are brought together again, so that it gives the same bits as `1` does.
//!
//! These ranks are those of a shard group. Where there are several, their sums are added up ([`crate::replicas`]) after the last
//! micro-batch, while the pass goes on. What the ranks of a tensor group add to the gradient of something of which each
//! has a copy is added up last, once an update; and so is what two stages of a pipeline have of a tied matrix.

use std::collections::VecDeque;
use std::rc::Rc;

use anyhow::{Context, Result};
use tch::{Device, Kind, Tensor};
use torch_ext::{Work, in_flight};

use crate::config::{Wire, Zero};
use crate::fault::{Fault, planted};
use crate::params::Model;
use crate::ranks::{Mesh, Ranks, Summand};
use crate::replicas::ReplicaSums;
use crate::units::Share;

/// How many units' sums are on their way at most, each with a copy of what is sent: one that ends while the next begins.
const ON_THEIR_WAY: usize = 2;

/// How many squares libtorch may add up in fp32 on a CPU, where the relative error grows with them: 1e-6 at so many.
const NORM_STRETCH: i64 = 1 << 16;

/// The gradients of a model.
#[derive(Debug)]
pub struct Gradients {
    mesh: Mesh,
    /// Those of the shard group.
    ranks: Rc<Ranks>,
    zero: Zero,
    wire: Wire,
    units: Vec<OfUnit>,
    /// Buffers, each for a whole unit.
    slots: Vec<Tensor>,
    /// The unit that the first stage and the last both have, if there is one.
    at_both_ends: Option<usize>,
    /// The sums over ranks that are on their way, in the order in which they began.
    pending: VecDeque<Pending>,
    /// Those over groups.
    replicas: ReplicaSums,
    /// Whether this is the last micro-batch of an update.
    last: bool,
}

/// The gradients of one unit.
#[derive(Debug)]
struct OfUnit {
    slot: usize,
    /// A parameter each, of the slot's buffer.
    views: Vec<Tensor>,
    /// This rank's part of the sum over all ranks.
    part: Tensor,
    /// Of that part, what belongs to parameters, a piece each: padding is none.
    pieces: Vec<(Share, Tensor)>,
    /// Whether it is another stage that counts it in the norm.
    counted_elsewhere: bool,
}

/// The sum of a unit that is on its way.
#[derive(Debug)]
struct Pending {
    unit: usize,
    work: Work,
    /// Whether it is that of an update's last micro-batch.
    last: bool,
}

impl Gradients {
    /// Gradients of zero.
    pub fn zeros(model: &Model) -> Self {
        let (mesh, zero) = (model.mesh().clone(), model.zero());
        let ranks = Rc::clone(&mesh.shard);
        let replicas = ReplicaSums::new(&mesh.replicas);
        let slot_of = model.slots(zero.shards_gradients());
        let mut units = Vec::new();
        let mut largest = vec![0; slot_of.iter().max().map_or(0, |last| last + 1)];
        for (unit, &slot) in model.units.iter().zip(&slot_of) {
            largest[slot] = unit.padded().max(largest[slot]);
        }
        let options = (model.units[0].master.kind(), model.device());
        let slots: Vec<Tensor> =
            largest.into_iter().map(|size| Tensor::zeros([size], options)).collect();
        let stage = model.stage();
        for (number, (unit, &slot)) in model.units.iter().zip(&slot_of).enumerate() {
            let whole = slots[slot].narrow(0, 0, unit.padded());
            let range = ranks.part(unit.padded());
            let length = range.end - range.start;
            let part = match zero.shards_gradients() {
                true => Tensor::zeros([length], options),
                false => whole.narrow(0, range.start, length),
            };
            let pieces = unit.spec.params.iter().zip(unit.spec.pieces(&range));
            let pieces = pieces.map(|(spec, it)| {
                (spec.share, part.narrow(0, it.in_part.start, it.in_part.end - it.in_part.start))
            });
            let mut pieces: Vec<_> = pieces.filter(|(_, piece)| piece.numel() > 0).collect();
            if planted(Fault::PaddingCounted) {
                pieces = vec![(Share::Rows, part.shallow_clone())];
            }
            let counted_elsewhere = !stage.contains(&number) && !planted(Fault::TiedCounted);
            let views = unit.spec.views(&whole);
            units.push(OfUnit { slot, views, part, pieces, counted_elsewhere });
        }
        let (at_both_ends, pending) = (model.at_both_ends(), VecDeque::new());
        let wire = Wire::Fp32;
        let last = true;
        Self { mesh, ranks, zero, wire, units, slots, at_both_ends, pending, replicas, last }
    }

    /// In which kind of number they travel between ranks.
    pub fn on_the_wire(mut self, wire: Wire) -> Self {
        self.wire = wire;
        self
    }

    /// Back to zero, for another update.
    pub fn clear(&mut self) {
        for slot in self.slots.iter_mut().filter(|_| !self.zero.shards_gradients()) {
            let _ = slot.zero_();
        }
        for unit in self.units.iter_mut().filter(|_| self.zero.shards_gradients()) {
            let _ = unit.part.zero_();
        }
    }

    /// A micro-batch begins; after the last of an update, the sum over ranks is made.
    pub fn begin(&mut self, last: bool) {
        self.last = last;
    }

    /// The backward pass comes to a unit: its gradients can be added.
    pub fn open(&mut self, unit: usize) -> Result<()> {
        if self.zero.shards_gradients() {
            let slot = self.units[unit].slot;
            self.settle(slot)?;
            debug_assert!(!in_flight::is_used(&self.slots[slot]), "gradients are being sent");
            let _ = self.slots[slot].zero_();
        }
        Ok(())
    }

    /// The buffer of a parameter's gradient, to add to.
    pub fn parameter(&mut self, unit: usize, parameter: usize) -> &mut Tensor {
        &mut self.units[unit].views[parameter]
    }

    /// Adds the gradients of a unit's parameters.
    pub fn add(&mut self, unit: usize, parameters: &[Option<Tensor>]) {
        let _no_grad = tch::no_grad_guard();
        for (sum, gradient) in self.units[unit].views.iter_mut().zip(parameters) {
            if let Some(gradient) = gradient {
                *sum += gradient;
            }
        }
    }

    /// The backward pass is through with a unit: the sum over ranks begins if it is time for it.
    pub fn close(&mut self, unit: usize) -> Result<()> {
        if !self.last && !self.zero.shards_gradients() {
            return Ok(());
        }
        if self.units[unit].part.numel() == 0 {
            return Ok(());
        }
        if self.pending.len() == ON_THEIR_WAY {
            self.settle_oldest()?;
        }
        let OfUnit { slot, part, .. } = &self.units[unit];
        let numel = part.size()[0] * i64::try_from(self.ranks.size())?;
        let mut whole = self.slots[*slot].narrow(0, 0, numel);
        if planted(Fault::RoundedSum) {
            whole.copy_(&whole.to_kind(Kind::BFloat16));
        }
        if planted(Fault::Mean) {
            let _ = whole.divide_scalar_(self.ranks.size() as f64);
        }
        let work = self.ranks.all_to_all(match self.wire {
            Wire::Fp32 => whole,
            Wire::Bf16 => whole.to_kind(Kind::BFloat16),
        })?;
        let last = self.last;
        self.pending.extend(work.map(|work| Pending { unit, work, last }));
        Ok(())
    }

    /// Waits for all sums over ranks: from now on this rank's parts are whole.
    pub fn finish(&mut self) -> Result<()> {
        self.settle_all()?;
        self.replicas.finish()?;
        self.sum_copies()?;
        match self.at_both_ends.filter(|_| !planted(Fault::TiedNotSummed)) {
            Some(unit) => self.mesh.sum_of_ends(&mut self.units[unit].part),
            None => Ok(()),
        }
    }

    fn settle_all(&mut self) -> Result<()> {
        while !self.pending.is_empty() {
            self.settle_oldest()?;
        }
        Ok(())
    }

    /// Adds up what the ranks of the tensor group have for the parameters of which each has a copy: in one call, since
    /// all of them have the same parts of these.
    fn sum_copies(&mut self) -> Result<()> {
        let pieces = self.units.iter_mut().flat_map(|unit| &mut unit.pieces);
        let pieces = pieces.filter(|(share, _)| *share == Share::Summand);
        let mut pieces: Vec<&mut Tensor> = pieces.map(|(_, piece)| piece).collect();
        if pieces.is_empty() || !self.mesh.cuts_matrices() || planted(Fault::NormsNotSummed) {
            return Ok(());
        }
        let sum = self.mesh.sum(Summand(Tensor::cat(&pieces, 0)))?;
        let mut start = 0;
        for piece in &mut pieces {
            let length = piece.size()[0];
            piece.copy_(&sum.narrow(0, start, length));
            start += length;
        }
        Ok(())
    }

    /// Waits until the sum of the unit that uses a slot is made.
    fn settle(&mut self, slot: usize) -> Result<()> {
        while self.pending.iter().any(|it| self.units[it.unit].slot == slot) {
            self.settle_oldest()?;
        }
        Ok(())
    }

    /// Waits for the sum that began first.
    fn settle_oldest(&mut self) -> Result<()> {
        let Some(Pending { unit, work, last }) = self.pending.pop_front() else { return Ok(()) };
        let received = work.wait().context("adding up the ranks' gradients")?;
        let part = &mut self.units[unit].part;
        // What bfloat16 loses, it loses once, on the way: the sum itself is in fp32.
        let size = i64::try_from(self.ranks.size())?;
        let sum = received.view([size, -1]).sum_dim_intlist(0, false, part.kind());
        if self.zero.shards_gradients() {
            *part += sum;
        } else {
            part.copy_(&sum);
        }
        if last { self.replicas.start(part, self.wire) } else { Ok(()) }
    }

    /// The square of the L2 norm of this rank's part: over all ranks, these add up to that of all gradients. Of what all
    /// ranks of a tensor group have, the first counts, and of shard groups too.
    ///
    /// On a CPU libtorch adds up squares in a handful of running sums, which in fp32 loses 6e-3 of a norm over 7e7 numbers
    /// and 1e-4 over 4e6. So it gets stretches of at most `NORM_STRETCH` numbers, and their norms are put together in
    /// fp64. On a GPU sums are trees, and many stretches would cost more than they bring.
    pub fn square(&self) -> Result<f64> {
        if !self.mesh.replicas.leads() && !planted(Fault::ReplicasCounted) {
            return Ok(0.0);
        }
        let units = self.units.iter().filter(|unit| !unit.counted_elsewhere);
        let pieces = units.flat_map(|unit| &unit.pieces);
        let leads = self.mesh.tensor.leads();
        let counted = |share: Share| match share.is_copy() {
            true => leads || planted(Fault::CopiesCounted),
            false => leads || !planted(Fault::OthersNotCounted),
        };
        let stretches: Vec<Tensor> = pieces
            .filter(|(share, _)| counted(*share))
            .flat_map(|(_, piece)| match piece.device() {
                Device::Cpu => piece.view([-1]).split(NORM_STRETCH, 0),
                _ => vec![piece.shallow_clone()],
            })
            .collect();
        if stretches.is_empty() {
            return Ok(0.0);
        }
        let norms = torch_ext::foreach::norms(&stretches).context("the gradients' norm")?;
        Ok(norms.to_kind(Kind::Double).square().sum(Kind::Double).double_value(&[]))
    }

    /// Multiplies this rank's part.
    pub fn scale(&mut self, factor: f64) -> Result<()> {
        let parts: Vec<&Tensor> = self.units.iter().map(|unit| &unit.part).collect();
        let factor = Tensor::from(factor).to_kind(parts[0].kind()).to_device(parts[0].device());
        torch_ext::foreach::mul_(&parts, &factor).context("scaling the gradients")
    }

    /// Where every rank makes the whole update, brings all parts together.
    pub fn spread(&mut self) -> Result<()> {
        if self.zero.shards_state() {
            return Ok(());
        }
        let mut gathers = VecDeque::new();
        for unit in self.units.iter().filter(|unit| unit.part.numel() > 0) {
            if gathers.len() == ON_THEIR_WAY {
                gathers.pop_front().map_or(Ok(()), |first: Work| first.wait().map(drop))?;
            }
            gathers.extend(self.ranks.all_gather(&self.slots[unit.slot], &unit.part)?);
        }
        gathers.into_iter().try_for_each(|work| Ok(work.wait().map(drop)?))
    }

    /// What a unit is updated with: laid out as its master is.
    pub fn of_master(&self, unit: usize) -> &Tensor {
        let OfUnit { slot, part, .. } = &self.units[unit];
        if self.zero.shards_state() { part } else { &self.slots[*slot] }
    }

    /// Each parameter's gradient, unit by unit; only where this rank has all of them.
    pub fn views(&self) -> Vec<&[Tensor]> {
        assert!(!self.zero.shards_gradients(), "this rank has a part of the gradients only");
        self.units.iter().map(|unit| unit.views.as_slice()).collect()
    }
}

impl Drop for Gradients {
    fn drop(&mut self) {
        // After an error elsewhere, sums may be on their way; the buffers must outlive them.
        let _ = self.settle_all();
    }
}

/// What gradients of this norm must be multiplied by so that it is at most `max`; nothing if it is.
///
/// Megatron-LM's rule: `max / (norm + 1e-6)` if that is below 1. `max` of 0 never clips.
pub fn clip(norm: f64, max: f64) -> Option<f64> {
    let coefficient = max / (norm + 1e-6);
    (max > 0.0 && coefficient < 1.0).then_some(coefficient)
}
