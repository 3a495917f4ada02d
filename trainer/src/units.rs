//! A model's shape -> its units: the name and the shape of each parameter, and where it lies.
//!
//! A *unit* is the embedding, one decoder block, or the final norm with the head. It is the grain of everything that
//! happens to parameters: autograd, gradients, optimizer state, checkpoints and sharding over ranks. A unit's parameters
//! lie one after the other in one flat buffer; what a parameter's name means is only a range of it. Matrices come first
//! and norms last, so that the part which weight decay touches is one range too. Each parameter begins at a multiple of
//! [`ALIGNMENT`] numbers and the buffer is padded with zeros until every rank's part of it does; padding is in no file and
//! in no norm.
//!
//! With `tensor: 2` or more, the ranks of a tensor group hold a stretch of rows or of columns of each matrix, and a copy of
//! each norm ([`Share`]); what is said above is then about what a rank holds. Of the units of another stage of a pipeline a
//! rank holds nothing: an empty box.
//!
//! Names and shapes are Hugging Face's, letter for letter.

use std::ops::Range;

use tch::Tensor;

use crate::extent::Extent;
use crate::llama_config::LlamaConfig;
use crate::ranks::Mesh;

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
    pub(crate) fn new(name: &str, shape: &[i64], share: Share, decay: bool) -> Self {
        let (shape, held) = (shape.to_vec(), Extent::whole(shape));
        Self { name: name.to_owned(), shape, share, held, decay }
    }

    /// The same, where this rank holds nothing of it.
    pub(crate) fn elsewhere(mut self) -> Self {
        self.held.size.fill(0);
        self
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
    pub(crate) fn of_rank(mut self, mesh: &Mesh) -> Self {
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

    /// The same, where this rank holds nothing of it.
    fn elsewhere(mut self) -> Self {
        self.params = self.params.into_iter().map(ParamSpec::elsewhere).collect();
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

/// All units, as a stage of a pipeline has them: of those of other stages it holds nothing, but the last stage holds a tied
/// head's matrix, too, which is the embedding.
pub(crate) fn of_stage(specs: Vec<UnitSpec>, stage: &Range<usize>, tied: bool) -> Vec<UnitSpec> {
    let has_head = stage.end == specs.len();
    let held = |(number, spec): (usize, UnitSpec)| {
        let has = stage.contains(&number) || (tied && has_head && number == 0);
        if has { spec } else { spec.elsewhere() }
    };
    specs.into_iter().enumerate().map(held).collect()
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
}
