//! The ranks as a mesh (pipeline, data, tensor), tensor fastest: who has which blocks, who takes turns with documents, and
//! who shares each matrix.
//!
//! The ranks of a *tensor group* have the same documents and a part of every matrix; those of a *data group* have the same
//! part and different documents. What a data group shards it shards as a whole, or in several *shard groups* of neighbours,
//! which then are *replicas* of each other. Those of a *pipeline* have the same documents, and each a stage of the model
//! ([`super::stages`]). What goes through the model is `x_nd`, a row for each of a micro-batch's `n` places.
//! With sequence parallelism a rank of a tensor group keeps only its stretch of the places wherever places have nothing to
//! do with one another: `x_md`. Without, or alone, that stretch is all of them.

use std::ops::Range;
use std::rc::Rc;

use anyhow::Result;
use tch::Tensor;
use torch_ext::{ProcessGroup, ReduceOp, Transcript};

use super::{Others, Place, Ranks, number};
use crate::batch::Span;
use crate::config::ParallelConfig;
use crate::fault::{Fault, planted};

/// The ranks as a mesh.
#[derive(Clone, Debug)]
pub struct Mesh {
    /// All of them.
    pub world: Rc<Ranks>,
    /// Those that hold the same part of every matrix.
    pub data: Rc<Ranks>,
    /// Those of them among which what is sharded is shared: all, or some neighbours.
    pub shard: Rc<Ranks>,
    /// Those of them that have the same share, one of each group of neighbours.
    pub replicas: Rc<Ranks>,
    /// Those that share each matrix.
    pub tensor: Rc<Ranks>,
    /// Those that have the stages of a pipeline, in the order of these.
    pub stages: Rc<Ranks>,
    sequence: bool,
}

/// What a rank adds to a sum over its tensor group: it means nothing before that is made.
#[derive(Debug)]
pub struct Summand(pub Tensor);

impl Mesh {
    /// The only rank.
    pub fn alone() -> Self {
        Self::of_data(&Ranks::alone())
    }

    /// Ranks that all have the whole model.
    fn of_data(world: &Rc<Ranks>) -> Self {
        let [data, shard] = [world, world].map(Rc::clone);
        let [replicas, tensor, stages] = [(); 3].map(|()| Ranks::alone());
        Self { world: Rc::clone(world), data, shard, replicas, tensor, stages, sequence: false }
    }

    /// All ranks, laid out so, which must be possible with their number. All come here.
    pub fn of(world: &Rc<Ranks>, layout: &ParallelConfig) -> Result<Self> {
        let &ParallelConfig { pipeline: stages, tensor, sequence, replicate, .. } = layout;
        let (rank, size) = (world.rank(), world.size());
        let together = stages * tensor * replicate;
        if together == 1 {
            world.connect()?;
            return Ok(Self::of_data(world));
        }
        assert!(size.is_multiple_of(together), "{size} ranks, {layout:?}");
        let mesh = world.meshes.replace(world.meshes.get() + 1);
        let some = |name: &str, members: Vec<usize>, transcript: &Rc<Transcript>| {
            world.some(mesh, name, &members, transcript)
        };
        let of_stage = size / stages;
        let first = rank - rank % of_stage;
        // All data groups of a stage make the same calls; those of tensor groups depend on their documents.
        let calls = if stages == 1 { Rc::clone(&world.transcript) } else { Rc::default() };
        let others: Vec<usize> =
            (first + rank % tensor..first + of_stage).step_by(tensor).collect();
        let data = match stages * tensor {
            1 => Rc::clone(world),
            _ => some("data", others.clone(), &calls)?,
        };
        let (shard, replicas) = match replicate {
            1 => (Rc::clone(&data), Ranks::alone()),
            _ => {
                let n_shards = others.len() / replicate;
                let (copy, part) = (data.rank() / n_shards, data.rank() % n_shards);
                let neighbours = others[copy * n_shards..][..n_shards].to_vec();
                let alike = others[part..].iter().copied().step_by(n_shards).collect();
                (some("shard", neighbours, &calls)?, some("replicas", alike, &calls)?)
            }
        };
        let first = rank - rank % tensor;
        let tensor = some("tensor", (first..first + tensor).collect(), &Rc::default())?;
        let stages = (rank % of_stage..size).step_by(of_stage).collect();
        let stages = some("pipeline", stages, &Rc::default())?;
        shard.connect()?;
        replicas.connect()?;
        tensor.connect()?;
        stages.connect_stages()?;
        let sequence = sequence && tensor.size() > 1;
        Ok(Self { world: Rc::clone(world), data, shard, replicas, tensor, stages, sequence })
    }

    /// Which part of a buffer of `padded` numbers this rank sees to, and no other of its data group: of what it has a share
    /// of, if that is there several times, a share again.
    pub fn own(&self, padded: i64) -> Range<i64> {
        let shared = self.shard.part(padded);
        let own = self.replicas.part(shared.end - shared.start);
        shared.start + own.start..shared.start + own.end
    }

    /// Whether there is more than one rank in a tensor group.
    pub fn cuts_matrices(&self) -> bool {
        self.tensor.size() > 1
    }

    /// Whether a rank keeps only a stretch of the places.
    pub fn splits_places(&self) -> bool {
        self.sequence
    }

    /// The stretch of so many places that this rank keeps.
    pub fn span(&self, n: i64) -> Span {
        let (rank, size) = match self.sequence {
            true => (number(self.tensor.rank()), number(self.tensor.size())),
            false => (0, 1),
        };
        let length = (n + size - 1) / size;
        Span { all: n, start: rank * length, length }
    }

    /// What all ranks of the tensor group keep of all places. The way back is [`reduce`](Self::reduce) where what follows
    /// is shared work, and [`Span::of`] where all do the same.
    ///
    /// # Shapes
    /// `x_md` -> `x_nd`
    pub fn gather(&self, x_md: &Tensor, span: Span) -> Result<Tensor> {
        let x_md = x_md.detach();
        if !self.sequence {
            return Ok(x_md);
        }
        let whole = self.tensor.stacked(&x_md)?.view([-1, x_md.size()[1]]);
        Ok(whole.narrow(0, 0, span.all))
    }

    /// The sum over the tensor group, of which this rank gets its places. The way back is [`gather`](Self::gather).
    ///
    /// # Shapes
    /// `x_nd` -> `x_md`
    pub fn reduce(&self, summand: Summand, span: Span) -> Result<Tensor> {
        if !self.sequence {
            return self.sum(summand);
        }
        let Summand(x_nd) = summand;
        if planted(Fault::CutNotSummed) {
            return Ok(span.of(&x_nd.detach()));
        }
        let (x_nd, width) = (x_nd.detach(), x_nd.size()[1]);
        let options = (x_nd.kind(), x_nd.device());
        let all = span.length * number(self.tensor.size());
        // Behind the last place come zeros, so that all ranks have as many.
        let whole = Tensor::zeros([all, width], options);
        let kept = match planted(Fault::PlacesLost) {
            true => span.all / span.length * span.length,
            false => span.all,
        };
        whole.narrow(0, 0, kept).copy_(&x_nd.narrow(0, 0, kept));
        let Some(others) = &self.tensor.others else { return Ok(whole) };
        let theirs = others.tensors().all_to_all_now(whole.empty_like(), whole)?;
        let kind = theirs.kind();
        Ok(theirs.view([-1, span.length, width]).sum_dim_intlist(0, false, kind))
    }

    /// The whole sum over the tensor group.
    pub fn sum(&self, Summand(x): Summand) -> Result<Tensor> {
        let Some(others) = &self.tensor.others else { return Ok(x) };
        // A buffer of its own: what autograd gave may be in use elsewhere.
        let mut sum = Tensor::empty(x.size(), (x.kind(), x.device()));
        sum.copy_(&x.detach());
        Ok(others.tensors().all_reduce_now(sum, ReduceOp::Sum)?)
    }

    /// How many bytes this rank sent to others: see [`torch_ext::Entry::bytes`].
    pub fn bytes_sent(&self) -> u64 {
        let own = |ranks: &Rc<Ranks>| match Rc::ptr_eq(&ranks.transcript, &self.world.transcript) {
            true => 0,
            false => ranks.transcript().bytes(),
        };
        let groups = [&self.data, &self.tensor, &self.stages];
        self.world.transcript().bytes() + groups.map(own).iter().sum::<u64>()
    }

    /// Compares the calls that ranks made with one another's: see [`Ranks::check_transcript`]. What passes between stages is
    /// no call of all of them.
    pub fn check_transcripts(&self) -> Result<()> {
        self.world.check_transcript()?;
        self.world.agree(self.tensor.check_transcript())?;
        if self.is_pipeline() { self.world.agree(self.data.check_transcript()) } else { Ok(()) }
    }
}

impl Ranks {
    /// What each rank has, one after the other along a new first dimension; all have the same shape.
    pub fn stacked(&self, ours: &Tensor) -> Result<Tensor> {
        let mut shape = ours.size();
        shape.insert(0, number(self.size()));
        let ours = ours.detach().contiguous().view(-1);
        let Some(others) = &self.others else { return Ok(ours.view(shape.as_slice())) };
        // c10d joins vectors: what lies behind the first dimension must be the same.
        let whole = Tensor::empty([shape.iter().product::<i64>()], (ours.kind(), ours.device()));
        Ok(others.tensors().all_gather_now(whole, ours)?.view(shape.as_slice()))
    }

    /// What each rank has, in their order.
    pub fn each(&self, ours: &Tensor) -> Result<Vec<Tensor>> {
        Ok(self.stacked(ours)?.unbind(0))
    }

    /// Some of the ranks, of which this is one, as ranks of their own. Every rank comes here, with its own group.
    fn some(
        &self,
        mesh: usize,
        name: &str,
        members: &[usize],
        transcript: &Rc<Transcript>,
    ) -> Result<Rc<Self>> {
        let mut place = self.place.clone();
        place.rank = members.iter().position(|it| *it == self.rank()).expect("one of them");
        place.size = members.len();
        let mut some = Self::new(place, None, Rc::clone(transcript));
        some.carrying = self.carrying.clone();
        if let (true, Some(all)) = (members.len() > 1, &self.others) {
            let Others { timeout, check_calls, .. } = *all;
            let store = all.store.prefixed(&format!("mesh {mesh}/{}", members[0]))?;
            let Place { rank, size, .. } = some.place;
            let mut group =
                ProcessGroup::gloo(&store, name, rank, size, timeout, &some.transcript)?;
            if check_calls {
                group.check_calls(&store)?;
            }
            let carriers = Default::default();
            some.others = Some(Others { group, carriers, store, timeout, check_calls });
        }
        Ok(Rc::new(some))
    }
}
