//! Ranks -> groups of their own for their tensors: over NCCL, where these are on GPUs.
//!
//! What ranks tell one another, such as a number that all of them need or an error, is on the CPU and goes over Gloo. Tensors
//! go the same way on a CPU; on GPUs they cannot.

use anyhow::{Context, Result, bail};
use tch::{Device, Kind, Tensor};
use torch_ext::{ProcessGroup, ReduceOp};

use super::{Others, Ranks};

/// What carries tensors apart from what ranks tell one another.
#[derive(Debug)]
pub(super) struct Carriers {
    forth: ProcessGroup,
    /// What later stages of a pipeline send to earlier ones. In one group two ranks would wait for each other on their GPUs,
    /// each with what it receives, which the other sends after it has received.
    back: Option<ProcessGroup>,
}

impl Others {
    /// What carries tensors.
    pub(super) fn tensors(&self) -> &ProcessGroup {
        self.carriers.get().map_or(&self.group, |it| &it.forth)
    }

    /// What carries tensors from one rank to another.
    pub(super) fn way(&self, from: usize, to: usize) -> &ProcessGroup {
        let back = self.carriers.get().and_then(|it| it.back.as_ref()).filter(|_| to < from);
        back.unwrap_or_else(|| self.tensors())
    }
}

impl Ranks {
    /// From now on, in groups that are made of these ranks, tensors go apart from what ranks tell one another: they are on
    /// this device. All ranks come here, each with its own.
    pub fn carry_apart(&self, device: Device) {
        self.carrying.set(Some(device));
    }

    /// Makes what carries tensors apart, if they are to be and it is not there. All these ranks come here.
    pub(super) fn connect(&self) -> Result<()> {
        self.connect_by(false)
    }

    /// The same for the stages of a pipeline.
    pub(super) fn connect_stages(&self) -> Result<()> {
        self.connect_by(true)
    }

    fn connect_by(&self, stages: bool) -> Result<()> {
        let (Some(others), Some(device)) = (&self.others, self.carrying.get()) else {
            return Ok(());
        };
        if others.carriers.get().is_some() {
            return Ok(());
        }
        let connected = || -> Result<Carriers> {
            let forth = self.carrier(others, "tensors", device)?;
            let back = stages.then(|| self.carrier(others, "tensors back", device)).transpose()?;
            // GPUs are connected by the first operation: rather now than after hours of loading.
            let one = || Tensor::ones([1], (Kind::Int64, device));
            let size = forth.all_reduce_now(one(), ReduceOp::Sum)?.int64_value(&[0]);
            if size != super::number(self.size()) {
                bail!("{} ranks count {size}", self.size());
            }
            if let Some(back) = &back {
                self.meet_neighbours(&forth, back, one)?;
            }
            Ok(Carriers { forth, back })
        };
        let name = others.group.name();
        let carriers =
            connected().with_context(|| format!("connecting the ranks of group `{name}`"))?;
        others.carriers.set(carriers).expect("made once");
        Ok(())
    }

    /// Two GPUs are connected by what the first of them sends, until which both programs wait: so each pair in its turn.
    fn meet_neighbours(
        &self,
        forth: &ProcessGroup,
        back: &ProcessGroup,
        one: impl Fn() -> Tensor,
    ) -> Result<()> {
        let rank = self.rank();
        if rank > 0 {
            forth.recv(one(), rank - 1)?.wait().map(drop)?;
            back.send(one(), rank - 1)?.wait().map(drop)?;
        }
        if rank + 1 < self.size() {
            forth.send(one(), rank + 1)?.wait().map(drop)?;
            back.recv(one(), rank + 1)?.wait().map(drop)?;
        }
        Ok(())
    }

    fn carrier(&self, others: &Others, name: &str, device: Device) -> Result<ProcessGroup> {
        let Others { group, store, timeout, check_calls, .. } = others;
        let (name, transcript) = (format!("{} {name}", group.name()), &self.transcript);
        let (rank, size) = (self.rank(), self.size());
        let mut carrier = match device {
            Device::Cuda(gpu) => {
                ProcessGroup::nccl(store, &name, rank, size, gpu, *timeout, transcript)?
            }
            _ => ProcessGroup::gloo(store, &name, rank, size, *timeout, transcript)?,
        };
        if *check_calls {
            carrier.check_calls(store)?;
        }
        Ok(carrier)
    }
}
