//! A model's parameters, unit by unit.
//!
//! A unit's parameters lie in one flat `f32` buffer (the *master*), as [`crate::units`] lays them out.
//!
//! With several ranks and `zero: 1` or more, a rank keeps only its part of each master. What the model computes with
//! is then gathered ([`crate::gather`]): [`Model::enter`] waits until a unit is there.
//!
//! With LoRA a unit is cut in two ([`lora::Split`]): what is trained is all of this, and what stays is kept beside it in
//! the kind in which the model computes.
//!
//! With `bf16` compute a second flat buffer of that kind follows the master ([`Model::refresh`]); so does one in any kind with
//! `offload: optimizer`, where masters are in CPU memory. The model reads the *leaves*: one view per parameter into the compute
//! buffer, each the leaf of its own autograd graph.
//!
//! With `tensor: 2` or more, all of this is about what a rank holds of each matrix, and about those that hold the same. With
//! `pipeline: 2` or more, a rank has the units of its stage: of the others it knows the names, and their buffers are empty.

pub mod lora;

use std::ops::Range;
use std::rc::Rc;

use anyhow::Result;
use tch::{Device, Kind, Tensor};
use torch_ext::in_flight;

use crate::config::{LoraConfig, Zero};
use crate::device::Devices;
use crate::fault::{Fault, planted};
use crate::gather::Gather;
use crate::llama_config::LlamaConfig;
use crate::params::lora::{Place, Split};
use crate::ranks::{Mesh, Ranks};
use crate::slots::{in_slots, slots};
use crate::units::{ParamSpec, Piece, Share, UnitSpec, of_stage, unit_specs};

/// One unit's parameters.
#[derive(Debug)]
pub struct Unit {
    /// What is trained of it, and what lies where.
    pub spec: UnitSpec,
    /// This rank's part of the flat buffer: all of it, or `range`. Written by loading and by the optimizer; call
    /// [`Model::refresh`] after.
    pub master: Tensor,
    /// Which part of the flat buffer `master` is.
    pub range: Range<i64>,
    /// How many numbers the whole buffer has.
    padded: i64,
    /// The same part in the compute kind and where the model computes, if this rank keeps it beside the master.
    compute: Option<Tensor>,
    /// What the model reads: a view per parameter into the whole buffer, each an autograd leaf.
    pub leaves: Vec<Tensor>,
    /// What stays as it is.
    frozen: Frozen,
    /// Where each parameter of the base is.
    places: Vec<Place>,
}

/// What of a unit is not trained: in the compute kind, without gradients.
#[derive(Debug)]
struct Frozen {
    spec: UnitSpec,
    /// This rank's part of the flat buffer: all of it, or `range`.
    part: Tensor,
    range: Range<i64>,
    /// A view per parameter into the whole buffer.
    views: Vec<Tensor>,
}

impl Unit {
    /// How many numbers the whole buffer has.
    pub fn padded(&self) -> i64 {
        self.padded
    }

    /// Whether this rank's master is the whole one.
    pub fn is_whole(&self) -> bool {
        self.master.size()[0] == self.padded
    }

    /// Each parameter as a view of the master, in the order of the spec; only where the master is whole.
    pub fn master_views(&self) -> Vec<Tensor> {
        assert!(self.is_whole(), "a part of a master has no views by name");
        self.spec.views(&self.master)
    }

    /// Each parameter's piece of this rank's part of `flat`, a buffer laid out as the master is.
    pub fn pieces(&self, flat: &Tensor) -> Vec<(Piece, Tensor)> {
        pieces(&self.spec, &self.range, flat)
    }

    /// The parameters that the unit has in a base model, in the base's order.
    pub fn base_params(&self) -> impl Iterator<Item = &ParamSpec> + Clone {
        (0..self.places.len()).map(|number| self.base_param(number))
    }

    /// One of them.
    pub(crate) fn base_param(&self, number: usize) -> &ParamSpec {
        match self.places[number] {
            Place::Trained(number) => &self.spec.params[number],
            Place::Frozen(number, _) => &self.frozen.spec.params[number],
        }
    }

    /// What this rank keeps of each of them: to be written when a base is loaded.
    pub fn base_pieces(&self) -> Vec<(Piece, Tensor)> {
        let trained = self.pieces(&self.master);
        let frozen = self.frozen_pieces();
        let piece = |place: &Place| {
            let (piece, view) = match *place {
                Place::Trained(number) => &trained[number],
                Place::Frozen(number, _) => &frozen[number],
            };
            (piece.clone(), view.shallow_clone())
        };
        self.places.iter().map(piece).collect()
    }

    /// Those that stay as they are.
    pub fn frozen_params(&self) -> &[ParamSpec] {
        &self.frozen.spec.params
    }

    /// What this rank keeps of each of them.
    pub fn frozen_pieces(&self) -> Vec<(Piece, Tensor)> {
        pieces(&self.frozen.spec, &self.frozen.range, &self.frozen.part)
    }

    /// A parameter of the base, as the model reads it.
    pub(crate) fn weight(&self, number: usize) -> &Tensor {
        match self.places[number] {
            Place::Trained(number) => &self.leaves[number],
            Place::Frozen(number, _) => &self.frozen.views[number],
        }
    }

    /// What is trained of a parameter of the base: itself, the small matrices beside it, or nothing.
    pub(crate) fn trained(&self, number: usize) -> &[Tensor] {
        match self.places[number] {
            Place::Trained(number) => &self.leaves[number..=number],
            Place::Frozen(_, Some(a)) => &self.leaves[a..=a + 1],
            Place::Frozen(_, None) => &[],
        }
    }

    /// The small matrices beside a parameter of the base, if it has an adapter.
    pub(crate) fn adapter(&self, number: usize) -> Option<[&Tensor; 2]> {
        match self.places[number] {
            Place::Frozen(_, Some(a)) => Some([&self.leaves[a], &self.leaves[a + 1]]),
            _ => None,
        }
    }

    /// Fills `flat`, which is laid out as the master is: `fill` writes into a whole parameter, of which this rank's part is
    /// kept. Only one parameter is ever whole at a time.
    pub fn fill(
        &self,
        flat: &Tensor,
        fill: impl Fn(&ParamSpec, &Tensor) -> Result<()>,
    ) -> Result<()> {
        for (spec, (piece, mut place)) in self.spec.params.iter().zip(self.pieces(flat)) {
            if piece.in_param == (0..spec.numel()) {
                fill(spec, &place.view(spec.shape.as_slice()))?;
                continue;
            }
            let whole = Tensor::zeros(&spec.shape, (flat.kind(), flat.device()));
            fill(spec, &whole)?;
            let _no_grad = tch::no_grad_guard();
            let Range { start, end } = piece.in_param;
            let held = spec.held.of(&whole).contiguous().view(-1);
            place.copy_(&held.narrow(0, start, end - start));
        }
        Ok(())
    }
}

fn pieces(spec: &UnitSpec, range: &Range<i64>, flat: &Tensor) -> Vec<(Piece, Tensor)> {
    let view = |piece: Piece| {
        let Range { start, end } = piece.in_part;
        let view = flat.narrow(0, start, end - start);
        (piece, view)
    };
    spec.pieces(range).into_iter().map(view).collect()
}

/// AdamW's running moments of one unit, flat `f32` and laid out as the master is.
#[derive(Debug)]
pub struct Moments {
    /// The running mean of the gradient.
    pub exp_avg: Tensor,
    /// The running mean of its square.
    pub exp_avg_sq: Tensor,
}

impl Moments {
    /// The moments before the first update.
    pub fn zeros(unit: &Unit) -> Self {
        Self { exp_avg: unit.master.zeros_like(), exp_avg_sq: unit.master.zeros_like() }
    }
}

/// A model: its shape and its parameters.
#[derive(Debug)]
pub struct Model {
    /// The shape.
    pub config: LlamaConfig,
    /// The embedding, the blocks, the head.
    pub units: Vec<Unit>,
    mesh: Mesh,
    zero: Zero,
    compute: Kind,
    devices: Devices,
    /// What the product of an adapter's matrices is multiplied by.
    scale: f64,
    /// How whole weights come from the ranks' parts; none where every rank has them all.
    gather: Option<Gather>,
    /// The same for weights that stay as they are.
    gather_frozen: Option<Gather>,
}

impl Model {
    /// A model of zeros of which this process has all, to be filled by `weights::load` or `init`.
    pub fn zeros(config: LlamaConfig, compute: Kind, device: Device) -> Self {
        Self::sharded(config, None, compute, device, &Mesh::alone(), Zero::Nothing)
    }

    /// A model of zeros, of which each rank has what `zero` leaves it; all of it is trained, or adapters are.
    pub fn sharded(
        config: LlamaConfig,
        lora: Option<&LoraConfig>,
        compute: Kind,
        devices: impl Into<Devices>,
        mesh: &Mesh,
        zero: Zero,
    ) -> Self {
        let devices @ Devices { model: device, state } = devices.into();
        let specs: Vec<UnitSpec> =
            unit_specs(&config).into_iter().map(|spec| spec.of_rank(mesh)).collect();
        let stage = mesh.stage(specs.len());
        let specs = of_stage(specs, &stage, config.tie_word_embeddings).into_iter();
        let splits: Vec<Split> = specs.map(|unit| Split::of(unit, lora)).collect();
        let ranks = &mesh.shard;
        let zero = if ranks.size() == 1 { Zero::Nothing } else { zero };
        let master_kind = if compute == Kind::Double { Kind::Double } else { Kind::Float };
        // However often it is there, a buffer is as long.
        let n_ranks = i64::try_from(mesh.data.size()).expect("fewer ranks than 2^63");
        let slots = slots(splits.len(), zero.shards_weights(), config.tie_word_embeddings);
        // What is gathered has its place in slots; the rest is whole at once.
        let wholes = |gathered: bool, padded: &dyn Fn(&Split) -> i64| -> Vec<Tensor> {
            let padded = splits.iter().map(padded);
            if gathered {
                in_slots(&slots, &padded.collect::<Vec<_>>(), compute, device)
            } else {
                vec![]
            }
        };
        let wholes_trained = wholes(zero.shards_state(), &|it| it.trained.padded(n_ranks));
        let wholes_frozen = wholes(zero.shards_weights(), &|it| it.frozen.padded(n_ranks));
        let gather = |gathered: bool, wholes: &[Tensor]| {
            let wholes = wholes.iter().map(Tensor::shallow_clone).collect();
            gathered.then(|| Gather::new(Rc::clone(ranks), slots.clone(), wholes))
        };
        let gathers = (
            gather(zero.shards_state(), &wholes_trained),
            gather(zero.shards_weights() && lora.is_some(), &wholes_frozen),
        );
        let units = splits.into_iter().enumerate().map(|(number, split)| {
            let Split { trained: spec, frozen, places } = split;
            let padded = spec.padded(n_ranks);
            let range = if zero.shards_state() { ranks.part(padded) } else { 0..padded };
            let options = (master_kind, state.unwrap_or(device));
            let master = Tensor::zeros([range.end - range.start], options);
            let copied = !zero.shards_state() && compute != master_kind;
            let copy = (copied || state.is_some())
                .then(|| Tensor::zeros([range.end - range.start], (compute, device)));
            let read = wholes_trained.get(number).or(copy.as_ref()).unwrap_or(&master);
            let leaves =
                spec.views(read).into_iter().map(|view| view.set_requires_grad(true)).collect();
            let frozen_padded = frozen.padded(n_ranks);
            let whole = wholes_frozen.get(number);
            let frozen = Frozen::zeros(frozen, whole, ranks, frozen_padded, (compute, device));
            Unit { spec, master, range, padded, compute: copy, leaves, frozen, places }
        });
        let units = units.collect();
        let (gather, gather_frozen) = gathers;
        let (mesh, scale) = (mesh.clone(), lora.map_or(1.0, LoraConfig::scale));
        Self { config, units, mesh, zero, compute, devices, scale, gather, gather_frozen }
    }

    /// How many parameters are trained.
    pub fn numel(&self) -> i64 {
        self.units.iter().map(|unit| unit.spec.numel()).sum()
    }

    /// How many parameters stay as they are.
    pub fn n_frozen(&self) -> i64 {
        self.units.iter().map(|unit| unit.frozen.spec.numel()).sum()
    }

    /// The first unit in which something is trained.
    pub fn lowest_trained(&self) -> usize {
        let lowest = self.units.iter().position(|unit| !unit.leaves.is_empty());
        lowest.expect("something of a model is trained")
    }

    /// What the product of an adapter's matrices is multiplied by.
    pub(crate) fn scale(&self) -> f64 {
        self.scale
    }

    /// Where it computes.
    pub fn device(&self) -> Device {
        self.devices.model
    }

    /// Where masters are, if they are apart from what the model reads.
    pub(crate) fn state_device(&self) -> Option<Device> {
        self.devices.state
    }

    /// The ranks that train it.
    pub fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// The units of this rank's stage of a pipeline; without one, all of them.
    pub fn stage(&self) -> Range<usize> {
        self.mesh.stage(self.units.len())
    }

    /// The same without the head.
    pub(crate) fn stage_without_head(&self) -> Range<usize> {
        let stage = self.stage();
        stage.start..stage.end.min(self.units.len() - 1)
    }

    /// Whether the head is in this rank's stage.
    pub fn has_head(&self) -> bool {
        self.stage().end == self.units.len()
    }

    /// The unit that two stages have and train, the first and the last: the embedding, if the head's matrix is tied to it.
    pub fn at_both_ends(&self) -> Option<usize> {
        let tied = self.config.tie_word_embeddings && self.mesh.is_pipeline();
        (tied && !self.units[0].leaves.is_empty()).then_some(0)
    }

    /// The kind of number that the model computes in.
    pub(crate) fn kind(&self) -> Kind {
        self.compute
    }

    /// Which parts of the state are sharded over them; nothing if there is one rank.
    pub fn zero(&self) -> Zero {
        self.zero
    }

    /// The slot of each unit's buffer: one each, or few that are shared.
    pub(crate) fn slots(&self, shared: bool) -> Vec<usize> {
        slots(self.units.len(), shared, self.config.tie_word_embeddings)
    }

    /// Waits until a unit's weights are there, and begins to bring those of the unit that comes after it.
    pub fn enter(&self, unit: usize, next: Option<usize>) -> Result<()> {
        self.start(unit)?;
        for gather in [&self.gather, &self.gather_frozen].into_iter().flatten() {
            gather.wait(unit)?;
        }
        let mut read = self.units[unit].leaves.iter().chain(&self.units[unit].frozen.views);
        debug_assert!(!read.any(in_flight::is_written), "weights are still on their way");
        next.map_or(Ok(()), |next| self.start(next))
    }

    /// Must be called before a pass through the stage: a tied head's matrix, where it is not the stage's own first unit, comes
    /// before all others, on ranks that have nothing to compute as on those that have.
    pub(crate) fn enter_stage(&self) -> Result<()> {
        let (matrix, stage) = (self.head_unit(), self.stage());
        let apart = self.has_head() && !stage.contains(&matrix);
        if apart { self.enter(matrix, Some(stage.start)) } else { Ok(()) }
    }

    fn start(&self, number: usize) -> Result<()> {
        let unit = &self.units[number];
        if let Some(gather) = &self.gather {
            gather.start(number, || match &unit.compute {
                Some(part) => part.shallow_clone(),
                None => unit.master.to_kind(self.compute),
            })?;
        }
        if let Some(gather) = &self.gather_frozen {
            gather.start(number, || unit.frozen.part.shallow_clone())?;
        }
        Ok(())
    }

    /// Must be called before masters are written: waits until nothing reads them any more.
    pub fn settle(&self) -> Result<()> {
        self.gather.as_ref().map_or(Ok(()), Gather::forget)
    }

    /// Brings what the model computes with up to the masters: after loading, and after each update. What has to be
    /// gathered is gathered when it is needed, or when [`gather_ahead`](Self::gather_ahead) says so.
    pub fn refresh(&mut self) -> Result<()> {
        self.settle()?;
        let _no_grad = tch::no_grad_guard();
        for unit in &mut self.units {
            if let Some(compute) = &mut unit.compute
                && !planted(Fault::NotRefreshed)
            {
                compute.copy_(&unit.master);
            }
        }
        Ok(())
    }

    /// Begins to gather the unit that the next pass needs first; it begins each other one while the one before computes. All
    /// ranks must come here.
    pub fn gather_ahead(&self) -> Result<()> {
        let first = (0..self.units.len()).find(|&unit| self.units[unit].padded > 0);
        first.map_or(Ok(()), |first| self.start(first))
    }

    /// Each parameter of a unit, whole: what this rank has in `flat`, a buffer laid out as the master is, brought together
    /// with what the others have. All ranks must come here.
    pub fn whole(&self, unit: usize, flat: &Tensor) -> Result<Vec<Tensor>> {
        let from = self.mesh.stage_of(unit, self.units.len());
        let has = from == self.mesh.stages.rank();
        let flat = &flat.to_device(self.device());
        let unit = &self.units[unit];
        let mut whole = flat.copy();
        if !unit.is_whole() {
            whole = Tensor::zeros([unit.padded], (flat.kind(), flat.device()));
            if let Some(work) = self.mesh.shard.all_gather(&whole, flat)? {
                work.wait().map(drop)?;
            }
        }
        let join = |(spec, held): (&ParamSpec, Tensor)| match spec.share {
            Share::Rows => Ok(Tensor::cat(&self.mesh.tensor.each(&held)?, 0)),
            Share::Columns => Ok(Tensor::cat(&self.mesh.tensor.each(&held)?, 1)),
            Share::Copy | Share::Summand => Ok(held),
        };
        let params = unit.spec.params.iter();
        if !self.mesh.is_pipeline() {
            return params.zip(unit.spec.views(&whole)).map(join).collect();
        }
        // Those who have it bring it together, and tell the other stages.
        let told = |(spec, held): (&ParamSpec, Tensor)| {
            let whole = match has {
                true => join((spec, held))?.contiguous(),
                false => Tensor::zeros(&spec.shape, (flat.kind(), flat.device())),
            };
            self.mesh.stages.spread(whole, from)
        };
        params.zip(unit.spec.views(&whole)).map(told).collect()
    }
}

impl Frozen {
    /// Zeros: a part where the whole is gathered into `whole`.
    fn zeros(
        spec: UnitSpec,
        whole: Option<&Tensor>,
        ranks: &Ranks,
        padded: i64,
        options: (Kind, Device),
    ) -> Self {
        let range = if whole.is_some() { ranks.part(padded) } else { 0..padded };
        let part = Tensor::zeros([range.end - range.start], options);
        let views = spec.views(whole.unwrap_or(&part));
        Self { spec, part, range, views }
    }
}
