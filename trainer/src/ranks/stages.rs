//! The stages of a pipeline: which units of the model each has, and what passes between them.

use std::ops::Range;

use anyhow::Result;
use tch::Tensor;
use torch_ext::Work;

use super::{Mesh, Others, Ranks};

/// The units of a stage, of so many that a model's `n_units` are cut into: a run of them. Each has blocks, the first the
/// embedding too, and the last the head. Where blocks cannot be shared evenly, earlier stages have one more: the head
/// takes its time as well.
pub fn stage(number: usize, stages: usize, n_units: usize) -> Range<usize> {
    let blocks = n_units - 2;
    let start = |number: usize| match number {
        0 => 0,
        number if number == stages => n_units,
        number => 1 + (blocks * number).div_ceil(stages),
    };
    start(number)..start(number + 1)
}

impl Mesh {
    /// Whether the model is cut into stages.
    pub fn is_pipeline(&self) -> bool {
        self.stages.size() > 1
    }

    /// The units of a model that this rank's stage has.
    pub fn stage(&self, n_units: usize) -> Range<usize> {
        stage(self.stages.rank(), self.stages.size(), n_units)
    }

    /// The stage that has a unit.
    pub fn stage_of(&self, unit: usize, n_units: usize) -> usize {
        let size = self.stages.size();
        let found = (0..size).find(|it| stage(*it, size, n_units).contains(&unit));
        found.expect("every unit is in a stage")
    }

    /// What the first stage has and what the last has, added up on both, to the same bits. On the others, and where there
    /// is one stage, nothing happens.
    pub fn sum_of_ends(&self, part: &mut Tensor) -> Result<()> {
        let (rank, last) = (self.stages.rank(), self.stages.size() - 1);
        if last == 0 || (rank != 0 && rank != last) {
            return Ok(());
        }
        let send = || self.stages.send(part.contiguous(), last - rank);
        let receive = || self.stages.receive(part.empty_like(), last - rank);
        // The first time, GPUs are connected by this, one way and then the other.
        let (ours, theirs) = if rank == 0 {
            let ours = send()?;
            (ours, receive()?)
        } else {
            let theirs = receive()?;
            (send()?, theirs)
        };
        let theirs = theirs.wait()?;
        ours.wait().map(drop)?;
        *part += theirs;
        Ok(())
    }
}

impl Ranks {
    /// Starts to send to another of these ranks.
    pub fn send(&self, tensor: Tensor, to: usize) -> Result<Work> {
        Ok(self.connected().way(self.rank(), to).send(tensor, to)?)
    }

    /// Starts to receive what another of these ranks sends, into a tensor of the same size and kind. From one rank to one
    /// other, what is sent first is received first.
    pub fn receive(&self, tensor: Tensor, from: usize) -> Result<Work> {
        Ok(self.connected().way(from, self.rank()).recv(tensor, from)?)
    }

    /// What this rank has, on all of these ranks.
    pub fn spread(&self, tensor: Tensor, from: usize) -> Result<Tensor> {
        match &self.others {
            None => Ok(tensor),
            Some(others) => Ok(others.tensors().broadcast(tensor, from)?.wait()?),
        }
    }

    fn connected(&self) -> &Others {
        self.others.as_ref().expect("there is another rank")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_in_one_stage_and_every_stage_has_blocks() {
        for blocks in 1..20 {
            for stages in 1..=blocks {
                let n_units = blocks + 2;
                let all: Vec<Range<usize>> =
                    (0..stages).map(|it| stage(it, stages, n_units)).collect();
                assert_eq!((all[0].start, all[stages - 1].end), (0, n_units));
                assert!(all.windows(2).all(|pair| pair[0].end == pair[1].start), "{all:?}");
                let own = |it: &Range<usize>| it.end.min(blocks + 1) - it.start.max(1);
                let sizes: Vec<usize> = all.iter().map(own).collect();
                let (least, most) = (blocks / stages, blocks.div_ceil(stages));
                assert!(sizes.iter().all(|it| (least..=most).contains(it)), "{sizes:?}");
                // The last has the head.
                assert_eq!(sizes[stages - 1], least, "{sizes:?}");
            }
        }
    }
}
