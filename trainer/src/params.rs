//! A model's parameters, unit by unit.
//!
//! A *unit* is the embedding, one decoder block, or the final norm with the head. It is the grain of everything that
//! happens to parameters: autograd, gradients, optimizer state, checkpoints and sharding over ranks. A unit's
//! parameters lie one after the other in one flat `f32` buffer (the *master*); what a parameter's name means is only a
//! range of it. Matrices come first and norms last, so that the part which weight decay touches is one range too. Each
//! parameter begins at a multiple of [`ALIGNMENT`] numbers and the buffer is padded with zeros until every rank's part of
//! it does; padding is in no file and in no norm.
//!
//! With several ranks and `zero: 1` or more, a rank keeps only its part of each master. What the model computes with
//! is then gathered ([`crate::gather`]): [`Model::enter`] waits until a unit is there.
//!
//! With LoRA a unit is cut in two ([`lora::Split`]): what is trained is all of this, and what stays is kept beside it in
//! the kind in which the model computes.
//!
//! With `bf16` compute a second flat buffer of that kind follows the master ([`Model::refresh`]). The model reads the
//! *leaves*: one view per parameter into the compute buffer, each the leaf of its own autograd graph.
//!
//! With `tensor: 2` or more, the ranks of a tensor group hold a stretch of rows or of columns of each matrix, and a copy of
//! each norm ([`Share`]); all that is said above is then about what a rank holds, and about those that hold the same.
//!
//! Names and shapes are Hugging Face's, letter for letter.

pub mod lora;

use std::ops::Range;
use std::rc::Rc;

use anyhow::Result;
use tch::{Device, Kind, Tensor};

use crate::config::{LoraConfig, Zero};
use crate::extent::Extent;
use crate::fault::{Fault, planted};
use crate::gather::Gather;
use crate::llama_config::LlamaConfig;
use crate::params::lora::{Place, Split};
use crate::ranks::{Mesh, Ranks};

/// Parameters and ranks' parts begin at multiples of this: a whole number of the widest vectors of any device, so that a
/// number is computed by the same instructions wherever a buffer is cut.
pub const ALIGNMENT: i64 = 64;

/// The embedding's name.
pub const EMBEDDING: &str = "model.embed_tokens.weight";

/// The head's, where it has a matrix of its own.
pub const HEAD: &str = "lm_head.weight";

/// How the ranks of a tensor group share a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Each has as many of the rows: some outputs of a matrix, or some of the vocabulary.
    Rows,
    /// Each has as many of the columns: some inputs.
    Columns,
    /// Each has a copy, and the whole gradient of it.
    Copy,
    /// Each has a copy, and a summand of its gradient: what came of its own places.
    Summand,
}

impl Share {
    /// Whether the ranks of a tensor group hold the same numbers.
    pub fn is_copy(self) -> bool {
        matches!(self, Self::Copy | Self::Summand)
    }
}

/// One parameter: its name in a Hugging Face checkpoint, its shape, and whether weight decay applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamSpec {
    /// The tensor's name, such as `model.layers.0.self_attn.q_proj.weight`.
    pub name: String,
    /// Its shape, outputs first for a matrix.
    pub shape: Vec<i64>,
    /// How the ranks of a tensor group share it.
    pub share: Share,
    /// Which box of it this rank holds.
    pub held: Extent,
    /// Whether weight decay applies: to every matrix, embedding and head included, and to no norm.
    pub decay: bool,
}

impl ParamSpec {
    fn new(name: &str, shape: &[i64], share: Share, decay: bool) -> Self {
        let (shape, held) = (shape.to_vec(), Extent::whole(shape));
        Self { name: name.to_owned(), shape, share, held, decay }
    }

    /// How many numbers the parameter has; this rank may hold fewer.
    pub fn numel(&self) -> i64 {
        self.shape.iter().product()
    }
}

/// A unit's name and its parameters in the order in which they lie in the flat buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitSpec {
    /// `embed`, `layers.0`, `layers.1`, ..., `head`.
    pub name: String,
    /// Matrices first, norms last.
    pub params: Vec<ParamSpec>,
}

impl UnitSpec {
    fn new(
        name: impl Into<String>,
        matrices: &[(String, [i64; 2], Share)],
        norms: &[(String, i64, Share)],
    ) -> Self {
        let matrices = matrices
            .iter()
            .map(|(name, shape, share)| ParamSpec::new(name, shape.as_slice(), *share, true));
        let norms =
            norms.iter().map(|(name, size, share)| ParamSpec::new(name, &[*size], *share, false));
        Self { name: name.into(), params: matrices.chain(norms).collect() }
    }

    /// What one of several ranks of a tensor group holds of it.
    fn of_rank(mut self, mesh: &Mesh) -> Self {
        let number = |n| i64::try_from(n).expect("fewer ranks than 2^63");
        let (rank, size) = (number(mesh.tensor.rank()), number(mesh.tensor.size()));
        for param in &mut self.params {
            let dim = match param.share {
                Share::Rows => 0,
                Share::Columns => 1,
                // Where all ranks of a group have all places, each comes to the whole gradient.
                Share::Summand if !mesh.splits_places() => {
                    param.share = Share::Copy;
                    continue;
                }
                Share::Copy | Share::Summand => continue,
            };
            let length = param.shape[dim] / size;
            assert_eq!(length * size, param.shape[dim], "the ranks have equal parts");
            param.held.offset[dim] = rank * length;
            param.held.size[dim] = length;
        }
        self
    }

    /// How many numbers the unit's parameters have.
    pub fn numel(&self) -> i64 {
        self.params.iter().map(ParamSpec::numel).sum()
    }

    /// How many numbers its flat buffer has, over so many ranks.
    pub fn padded(&self, ranks: i64) -> i64 {
        let end = self.ranges().last().map_or(0, |range| range.end);
        let unit = 2 * ALIGNMENT * ranks;
        (end + unit - 1) / unit * unit
    }

    /// How many numbers at the start of the flat buffer weight decay applies to.
    pub fn decayed(&self) -> i64 {
        let ranges = self.params.iter().zip(self.ranges());
        let decayed = ranges.filter(|(param, _)| param.decay).map(|(_, range)| range.end);
        align(decayed.max().unwrap_or(0))
    }

    /// Where each parameter lies in the flat buffer, in the order of `params`.
    pub fn ranges(&self) -> Vec<Range<i64>> {
        let mut end = 0;
        let range = |param: &ParamSpec| {
            let start = align(end);
            end = start + param.held.numel();
            start..end
        };
        self.params.iter().map(range).collect()
    }

    /// What this rank holds of each parameter as a view of `flat`, a whole buffer, in the order of `params`.
    pub fn views(&self, flat: &Tensor) -> Vec<Tensor> {
        let view = |(param, range): (&ParamSpec, Range<i64>)| {
            flat.narrow(0, range.start, param.held.numel()).view(param.held.size.as_slice())
        };
        self.params.iter().zip(self.ranges()).map(view).collect()
    }

    /// What a part of the buffer holds of each parameter, in the order of `params`; of some, perhaps nothing.
    pub fn pieces(&self, part: &Range<i64>) -> Vec<Piece> {
        let piece = |range: Range<i64>| {
            let start = range.start.clamp(part.start, part.end);
            let end = range.end.clamp(start, part.end);
            let offset = start - range.start;
            Piece {
                in_param: offset..offset + (end - start),
                in_part: start - part.start..end - part.start,
            }
        };
        self.ranges().into_iter().map(piece).collect()
    }
}

/// What a part of a unit's buffer holds of one parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Which of the numbers that the rank holds of the parameter, in row order. An empty range where there are none.
    pub in_param: Range<i64>,
    /// Where they lie in the part.
    pub in_part: Range<i64>,
}

fn align(start: i64) -> i64 {
    (start + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT
}

/// Every unit of a model of this shape, first to last: the embedding, the blocks, the head. A tied head's matrix is the
/// embedding's, and its unit has the norm alone.
pub fn unit_specs(config: &LlamaConfig) -> Vec<UnitSpec> {
    let (vocab, hidden) = (config.vocab_size, config.hidden_size);
    let cut =
        |name: &str, outputs, inputs, share| (format!("{name}.weight"), [outputs, inputs], share);
    let matrix = |name: &str, outputs, inputs| cut(name, outputs, inputs, Share::Rows);
    let norm = |name: &str| (format!("{name}.weight"), hidden, Share::Summand);

    let embedding = (EMBEDDING.to_string(), [vocab, hidden], Share::Rows);
    let mut units = vec![UnitSpec::new("embed", &[embedding], &[])];
    units.extend((0..config.num_hidden_layers).map(|layer| {
        let q = config.num_attention_heads * config.head_dim;
        let kv = config.num_key_value_heads * config.head_dim;
        let inner = config.intermediate_size;
        let at = |part: &str| format!("model.layers.{layer}.{part}");
        UnitSpec::new(
            format!("layers.{layer}"),
            &[
                matrix(&at("self_attn.q_proj"), q, hidden),
                matrix(&at("self_attn.k_proj"), kv, hidden),
                matrix(&at("self_attn.v_proj"), kv, hidden),
                cut(&at("self_attn.o_proj"), hidden, q, Share::Columns),
                matrix(&at("mlp.gate_proj"), inner, hidden),
                matrix(&at("mlp.up_proj"), inner, hidden),
                cut(&at("mlp.down_proj"), hidden, inner, Share::Columns),
            ],
            &[norm(&at("input_layernorm")), norm(&at("post_attention_layernorm"))],
        )
    }));
    let own =
        (!config.tie_word_embeddings).then(|| (HEAD.to_string(), [vocab, hidden], Share::Rows));
    // All ranks have the places that go through the final norm.
    let (name, size, _) = norm("model.norm");
    units.push(UnitSpec::new("head", own.as_slice(), &[(name, size, Share::Copy)]));
    units
}

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
    /// The whole in the compute kind, if this rank keeps it beside the master.
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
        device: Device,
        mesh: &Mesh,
        zero: Zero,
    ) -> Self {
        let specs = unit_specs(&config).into_iter().map(|spec| spec.of_rank(mesh));
        let splits: Vec<Split> = specs.map(|unit| Split::of(unit, lora)).collect();
        let ranks = &mesh.data;
        let zero = if ranks.size() == 1 { Zero::Nothing } else { zero };
        let master_kind = if compute == Kind::Double { Kind::Double } else { Kind::Float };
        let n_ranks = i64::try_from(ranks.size()).expect("fewer ranks than 2^63");
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
            let master = Tensor::zeros([range.end - range.start], (master_kind, device));
            let copy = (!zero.shards_state() && compute != master_kind)
                .then(|| Tensor::zeros([padded], (compute, device)));
            let read = wholes_trained.get(number).or(copy.as_ref()).unwrap_or(&master);
            let leaves =
                spec.views(read).into_iter().map(|view| view.set_requires_grad(true)).collect();
            let frozen = Frozen::zeros(frozen, wholes_frozen.get(number), ranks, (compute, device));
            Unit { spec, master, range, padded, compute: copy, leaves, frozen, places }
        });
        let units = units.collect();
        let (gather, gather_frozen) = gathers;
        let (mesh, scale) = (mesh.clone(), lora.map_or(1.0, LoraConfig::scale));
        Self { config, units, mesh, zero, compute, scale, gather, gather_frozen }
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

    /// Where the parameters are.
    pub fn device(&self) -> Device {
        self.units[0].master.device()
    }

    /// The ranks that train it.
    pub fn mesh(&self) -> &Mesh {
        &self.mesh
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
        next.map_or(Ok(()), |next| self.start(next))
    }

    fn start(&self, number: usize) -> Result<()> {
        let unit = &self.units[number];
        if let Some(gather) = &self.gather {
            gather.start(number, || unit.master.to_kind(self.compute))?;
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

    /// Begins to gather what the next pass needs first, in its order: all units, if there is room for all. All ranks must
    /// come here.
    pub fn gather_ahead(&self) -> Result<()> {
        let n_ahead = if self.zero.shards_weights() { 1 } else { self.units.len() };
        (0..n_ahead).try_for_each(|unit| self.start(unit))
    }

    /// Each parameter of a unit, whole: what this rank has in `flat`, a buffer laid out as the master is, brought together
    /// with what the others have. All ranks must come here.
    pub fn whole(&self, unit: usize, flat: &Tensor) -> Result<Vec<Tensor>> {
        let unit = &self.units[unit];
        let mut whole = flat.copy();
        if !unit.is_whole() {
            whole = Tensor::zeros([unit.padded], (flat.kind(), flat.device()));
            if let Some(work) = self.mesh.data.all_gather(&whole, flat)? {
                work.wait().map(drop)?;
            }
        }
        let join = |(spec, held): (&ParamSpec, Tensor)| match spec.share {
            Share::Rows => Ok(Tensor::cat(&self.mesh.tensor.each(&held)?, 0)),
            Share::Columns => Ok(Tensor::cat(&self.mesh.tensor.each(&held)?, 1)),
            Share::Copy | Share::Summand => Ok(held),
        };
        unit.spec.params.iter().zip(unit.spec.views(&whole)).map(join).collect()
    }
}

impl Frozen {
    /// Zeros: a part where the whole is gathered into `whole`.
    fn zeros(
        spec: UnitSpec,
        whole: Option<&Tensor>,
        ranks: &Ranks,
        options: (Kind, Device),
    ) -> Self {
        let padded = spec.padded(i64::try_from(ranks.size()).expect("fewer ranks than 2^63"));
        let range = if whole.is_some() { ranks.part(padded) } else { 0..padded };
        let part = Tensor::zeros([range.end - range.start], options);
        let views = spec.views(whole.unwrap_or(&part));
        Self { spec, part, range, views }
    }
}

/// A buffer for each unit, of so many numbers; units of one slot share their memory.
fn in_slots(slots: &[usize], sizes: &[i64], kind: Kind, device: Device) -> Vec<Tensor> {
    let largest = |slot: usize| {
        let units = slots.iter().zip(sizes).filter(|(it, _)| **it == slot);
        units.map(|(_, size)| *size).max().unwrap_or(0)
    };
    let n_slots = slots.iter().max().map_or(0, |last| last + 1);
    let buffer = |slot| Tensor::zeros([largest(slot)], (kind, device));
    let buffers: Vec<Tensor> = (0..n_slots).map(buffer).collect();
    slots.iter().zip(sizes).map(|(&slot, &size)| buffers[slot].narrow(0, 0, size)).collect()
}

/// Which buffer each unit uses: its own, or, where they are shared, embedding and head the first and blocks two others
/// in turn, so that a neighbour is never overwritten. What a tied head needs of the embedding is there as long as nobody
/// else uses its buffer: then the head's unit is one more in turn.
pub(crate) fn slots(n_units: usize, shared: bool, tied: bool) -> Vec<usize> {
    let slot = |unit: usize| match unit {
        _ if !shared => unit,
        0 => 0,
        unit if unit + 1 == n_units && !tied => 0,
        unit => 1 + unit % 2,
    };
    (0..n_units).map(slot).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(sizes: &[(i64, bool)]) -> UnitSpec {
        let param = |(i, &(size, decay)): (usize, &(i64, bool))| {
            ParamSpec::new(&format!("p{i}"), &[size], Share::Copy, decay)
        };
        UnitSpec { name: "unit".into(), params: sizes.iter().enumerate().map(param).collect() }
    }

    #[test]
    fn parameters_begin_at_multiples_of_64_and_so_do_ranks_parts() {
        let spec = spec(&[(100, true), (64, true), (3, false)]);
        assert_eq!(spec.ranges(), [0..100, 128..192, 192..195]);
        assert_eq!((spec.numel(), spec.decayed()), (167, 192));
        assert_eq!([1, 2, 3].map(|ranks| spec.padded(ranks)), [256, 256, 384]);
    }

    #[test]
    fn every_number_of_every_parameter_is_in_exactly_one_part() {
        let spec = spec(&[(100, true), (1, true), (700, true), (3, false)]);
        for ranks in [1, 2, 3, 4, 8] {
            let part = spec.padded(ranks) / ranks;
            assert_eq!(part % ALIGNMENT, 0);
            let mut seen: Vec<i64> = vec![0; spec.params.len()];
            for rank in 0..ranks {
                for (param, piece) in
                    spec.pieces(&(rank * part..(rank + 1) * part)).iter().enumerate()
                {
                    let n = piece.in_param.end - piece.in_param.start;
                    assert_eq!(n, piece.in_part.end - piece.in_part.start);
                    if n > 0 {
                        assert_eq!(piece.in_param.start, seen[param], "{ranks} ranks");
                        seen[param] += n;
                    }
                }
            }
            let whole: Vec<i64> = spec.params.iter().map(ParamSpec::numel).collect();
            assert_eq!(seen, whole, "{ranks} ranks");
        }
    }

    #[test]
    fn neighbours_never_share_a_buffer() {
        for n_units in [3, 4, 5, 8] {
            for tied in [false, true] {
                let slots = slots(n_units, true, tied);
                assert!(slots.windows(2).all(|pair| pair[0] != pair[1]), "{slots:?}");
                assert_eq!(slots[1..].contains(&slots[0]), !tied, "{slots:?}");
            }
        }
    }
}
