//! Gradients that each of several groups of ranks has added up -> their sum over the groups.
//!
//! A rank has a part of a unit's sum, and one rank of each other group has the same part of its group's. These add it up as
//! groups do, each a stretch of it, in the order of the groups; then each gets the others' stretches, so that all of them have
//! the same bits. Both are on their way while the backward pass goes on.

use std::collections::VecDeque;
use std::rc::Rc;

use anyhow::{Context, Result};
use tch::{Kind, Tensor};
use torch_ext::Work;

use crate::config::Wire;
use crate::fault::{Fault, planted};
use crate::ranks::Ranks;

/// How many parts are on their way at most, in either direction.
const ON_THEIR_WAY: usize = 2;

/// Sums over the ranks that have the same part.
#[derive(Debug)]
pub(crate) struct ReplicaSums {
    ranks: Rc<Ranks>,
    /// What is being sent to those who add it up, with the part that the sum belongs in.
    leaving: VecDeque<(Tensor, Work)>,
    /// Sums that are being brought together.
    returning: VecDeque<Work>,
}

impl ReplicaSums {
    /// None yet.
    pub(crate) fn new(ranks: &Rc<Ranks>) -> Self {
        let ranks = Rc::clone(ranks);
        Self { ranks, leaving: VecDeque::new(), returning: VecDeque::new() }
    }

    /// Begins to add up a part, in place: nobody may use it until all are waited for.
    pub(crate) fn start(&mut self, part: &Tensor, wire: Wire) -> Result<()> {
        if self.ranks.size() == 1 || planted(Fault::ReplicasNotSummed) {
            return Ok(());
        }
        if self.leaving.len() == ON_THEIR_WAY {
            self.add_oldest()?;
        }
        let sent = match wire {
            Wire::Fp32 => part.shallow_clone(),
            Wire::Bf16 => part.to_kind(Kind::BFloat16),
        };
        let work = self.ranks.all_to_all(sent)?;
        self.leaving.extend(work.map(|work| (part.shallow_clone(), work)));
        Ok(())
    }

    /// Waits for all that began.
    pub(crate) fn finish(&mut self) -> Result<()> {
        while !self.leaving.is_empty() {
            self.add_oldest()?;
        }
        while !self.returning.is_empty() {
            self.take_oldest()?;
        }
        Ok(())
    }

    /// Adds up this rank's stretch of the part that began first, and begins to bring the stretches together.
    fn add_oldest(&mut self) -> Result<()> {
        let Some((part, work)) = self.leaving.pop_front() else { return Ok(()) };
        let received = work.wait().context("adding up the gradients of groups of ranks")?;
        let stretch = self.ranks.part(part.size()[0]);
        let mut own = part.narrow(0, stretch.start, stretch.end - stretch.start);
        let size = i64::try_from(self.ranks.size())?;
        own.copy_(&received.view([size, -1]).sum_dim_intlist(0, false, part.kind()));
        if self.returning.len() == ON_THEIR_WAY {
            self.take_oldest()?;
        }
        self.returning.extend(self.ranks.all_gather(&part, &own)?);
        Ok(())
    }

    fn take_oldest(&mut self) -> Result<()> {
        let Some(work) = self.returning.pop_front() else { return Ok(()) };
        work.wait().map(drop).context("bringing together the gradients of groups of ranks")
    }
}

impl Drop for ReplicaSums {
    fn drop(&mut self) {
        // After an error elsewhere, sums may be on their way; the buffers must outlive them.
        let _ = self.finish();
    }
}
