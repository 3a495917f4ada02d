//! Weights that lie in parts on several ranks -> whole units, where and when they are needed.
//!
//! A unit is gathered into a *slot*, a buffer that is made once and never freed, so that nothing can be read or freed
//! while it is being filled. From `zero: 1` on the weights are renewed in parts, and every unit has a slot of its own; at
//! `zero: 3` blocks share two slots, of which one is filled while the other computes, and embedding and head share one.
//! What a slot holds is known, so that a unit that is still there is not gathered again, and one of before the last
//! update is never used.

use std::cell::RefCell;
use std::rc::Rc;

use anyhow::{Context, Result};
use tch::Tensor;
use torch_ext::Work;

use crate::fault::{Fault, planted};
use crate::ranks::Ranks;

/// The slots, and what they hold.
#[derive(Debug)]
pub struct Gather {
    ranks: Rc<Ranks>,
    /// The whole of each unit: its slot's buffer, or the beginning of it.
    wholes: Vec<Tensor>,
    /// The slot of each unit.
    slots: Vec<usize>,
    held: RefCell<Vec<Held>>,
}

/// What a slot holds.
#[derive(Debug, Default)]
struct Held {
    unit: Option<usize>,
    /// If it is still on its way.
    work: Option<Work>,
}

impl Gather {
    /// Slots that hold nothing yet; `slots` and `wholes` have an entry a unit.
    pub fn new(ranks: Rc<Ranks>, slots: Vec<usize>, wholes: Vec<Tensor>) -> Self {
        let n_slots = slots.iter().max().map_or(0, |last| last + 1);
        let held = RefCell::new((0..n_slots).map(|_| Held::default()).collect());
        Self { ranks, wholes, slots, held }
    }

    /// Begins to gather a unit of which this rank has `part`, unless it is there or on its way, or has no numbers.
    pub fn start(&self, unit: usize, part: impl FnOnce() -> Tensor) -> Result<()> {
        if self.wholes[unit].numel() == 0 {
            return Ok(());
        }
        let mut held = self.held.borrow_mut();
        let slot = &mut held[self.slots[unit]];
        let filled = planted(Fault::OtherUnit) && slot.unit.is_some();
        if slot.unit == Some(unit) || filled {
            return Ok(());
        }
        slot.finish()?;
        slot.unit = Some(unit);
        slot.work = self.ranks.all_gather(&self.wholes[unit], &part())?;
        Ok(())
    }

    /// Waits until a unit that was started is there.
    pub fn wait(&self, unit: usize) -> Result<()> {
        self.held.borrow_mut()[self.slots[unit]].finish()
    }

    /// Waits for what is on its way. What the slots hold counts for nothing any more: the parts are about to change.
    pub fn forget(&self) -> Result<()> {
        self.held.borrow_mut().iter_mut().try_for_each(|slot| {
            slot.unit = slot.unit.filter(|_| planted(Fault::StaleWeights));
            slot.finish()
        })
    }
}

impl Held {
    fn finish(&mut self) -> Result<()> {
        let Some(work) = self.work.take() else { return Ok(()) };
        work.wait().map(drop).context("gathering weights")
    }
}

impl Drop for Gather {
    fn drop(&mut self) {
        // What was begun ahead of time is not needed any more, and a rank that is gone was told of elsewhere.
        let _ = self.forget();
    }
}
