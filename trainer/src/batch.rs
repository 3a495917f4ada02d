//! Documents -> micro-batches of tensors: rows padded as the reference pads, or packed; the learned places gathered.
//!
//! A padded micro-batch is as long as its longest document, rounded up to 16 and never above the sequence length. What
//! a place holds is decided by where it is and never by its id, so that a `<PAD>` in a text is a token like others.
//! Rows are filled up on the right: under causal attention nothing real ever looks at padding, so that no mask is
//! needed and the padding's id changes nothing.
//!
//! A packed micro-batch is one row, in which the documents of `micro` packed rows follow one another with nothing
//! between them; each attends to itself alone and counts its positions from 0. An update has the same documents, the
//! same learned tokens and the same divisor of its loss whichever way its rows are laid out.

use std::ops::AddAssign;

use tch::{Device, Tensor};

use crate::config::{HeadPlaces, Normalize, RowLayout};
use crate::fault::{Fault, planted};
use crate::pack;
use crate::rows::{Rows, Sample};

/// Lengths are rounded up to a multiple of this (Megatron-LM's `--variable_seq_lengths`).
const LENGTH_MULTIPLE: usize = 16;

/// One micro-batch. Legend: `b` rows, `t` places in a row, `n` places at which something is predicted.
#[derive(Debug)]
pub struct MicroBatch {
    /// What the model reads: ids.
    pub tokens_bt: Tensor,
    /// In a packed row, the lengths of the documents that follow one another; none where each row is a document.
    pub lengths: Option<Vec<i64>>,
    /// The places, counted through all rows, at which a token is predicted.
    pub places_n: Tensor,
    /// The tokens that are to be predicted there.
    pub labels_n: Tensor,
    /// How much each of them counts, in `f32`; none if all count 1.
    pub weights_n: Option<Tensor>,
    /// What its summed loss is multiplied by to be its part of the update's loss.
    pub scale: f64,
    /// Which of the update's micro-batches it is.
    pub number: u64,
    /// What it has of which document, in order.
    pub documents: Vec<Part>,
    /// What went into it.
    pub counts: Counts,
}

/// A stretch of a micro-batch's places, counted through all rows: those whose hidden states a rank keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// How many places there are.
    pub all: i64,
    /// The first of the stretch.
    pub start: i64,
    /// How many it has. The last ones may lie behind the end: there are only zeros.
    pub length: i64,
}

impl Span {
    /// This stretch of what all places have.
    ///
    /// # Shapes
    /// `x_nd` -> `x_md`
    pub fn of(&self, x_nd: &Tensor) -> Tensor {
        assert_eq!(x_nd.size()[0], self.all, "a row a place");
        let there = (self.all - self.start).clamp(0, self.length);
        let part = x_nd.narrow(0, self.start.min(self.all), there);
        if there == self.length {
            return part;
        }
        part.constant_pad_nd([0, 0, 0, self.length - there])
    }
}

/// What a micro-batch has of one document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its position among the update's documents.
    pub document: usize,
    /// How many of its tokens are read.
    pub read: i64,
    /// How many of the predicted places are its own.
    pub predicted: usize,
}

/// What went into some micro-batches.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// Documents.
    pub documents: u64,
    /// Tokens that the model reads.
    pub tokens: u64,
    /// Their squared numbers a document, summed up: what attention grows with.
    pub squared_lengths: u64,
    /// Places that the model computes, padding included.
    pub places: u64,
    /// Tokens that are learned.
    pub supervised: u64,
    /// The sum of their weights.
    pub weight: f64,
    /// Micro-batches in which nothing is learned.
    pub empty: u64,
    /// Documents that were cut.
    pub cut_documents: u64,
    /// Tokens that were cut off.
    pub cut_tokens: u64,
    /// Those of them that would have been learned.
    pub cut_supervised: u64,
}

impl Counts {
    /// The share of the computed places that holds no token.
    pub fn padding(&self) -> f64 {
        1.0 - self.tokens as f64 / self.places.max(1) as f64
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.documents += other.documents;
        self.tokens += other.tokens;
        self.squared_lengths += other.squared_lengths;
        self.places += other.places;
        self.supervised += other.supervised;
        self.weight += other.weight;
        self.empty += other.empty;
        self.cut_documents += other.cut_documents;
        self.cut_tokens += other.cut_tokens;
        self.cut_supervised += other.cut_supervised;
    }
}

/// Makes micro-batches of a shard's documents.
#[derive(Debug)]
pub struct Batcher {
    /// The documents.
    pub rows: Rows,
    /// How micro-batches are made of them.
    pub batching: Batching,
}

impl Batcher {
    /// The micro-batches of an update on these documents.
    pub fn update(&self, documents: &[usize]) -> Vec<MicroBatch> {
        let samples: Vec<Sample> =
            documents.iter().map(|&document| self.rows.sample(document)).collect();
        self.batching.update(&samples)
    }
}

/// How micro-batches are made of documents.
#[derive(Clone, Debug)]
pub struct Batching {
    /// How documents are laid out in rows.
    pub layout: RowLayout,
    /// Places that a row has at most.
    pub sequence_length: usize,
    /// How many rows make a micro-batch.
    pub micro: usize,
    /// What the loss is divided by.
    pub normalize: Normalize,
    /// Which places are predicted.
    pub head: HeadPlaces,
    /// What rows are filled up with.
    pub pad_id: i64,
    /// Where the tensors go.
    pub device: Device,
}

impl Batching {
    /// The micro-batches of an update on these samples.
    pub fn update(&self, samples: &[Sample]) -> Vec<MicroBatch> {
        let capacity = self.sequence_length;
        let plan: Vec<Vec<usize>> = match self.layout {
            RowLayout::Padded => {
                let all: Vec<usize> = (0..samples.len()).collect();
                all.chunks(self.micro).map(<[usize]>::to_vec).collect()
            }
            RowLayout::Packed => {
                let lengths: Vec<usize> = samples.iter().map(|it| read(it, capacity)).collect();
                pack::rows(&lengths, capacity).chunks(self.micro).map(<[_]>::concat).collect()
            }
        };
        let shares = self.shares(samples);
        (0..).zip(&plan).map(|(n, chosen)| self.micro_batch(n, samples, chosen, &shares)).collect()
    }

    /// What each sample's summed loss is multiplied by to be its part of the update's loss. Where the divisor is that of
    /// a micro-batch, it is that of `micro` samples that follow one another, however they are laid out.
    fn shares(&self, samples: &[Sample]) -> Vec<f64> {
        let weight = |samples: &[Sample]| -> f64 {
            samples.iter().flat_map(|it| &it.weights).map(|&weight| f64::from(weight)).sum()
        };
        let divides = |divisor: f64| divisor > 0.0 || planted(Fault::DividedByZero);
        let share = |divisor: f64| if divides(divisor) { 1.0 / divisor } else { 0.0 };
        match self.normalize {
            Normalize::Tokens => vec![share(weight(samples)); samples.len()],
            Normalize::MicroBatch => {
                let groups = samples.chunks(self.micro);
                let n_groups = groups.len() as f64;
                let of_group =
                    |group: &[Sample]| vec![share(weight(group) * n_groups); group.len()];
                groups.flat_map(of_group).collect()
            }
        }
    }

    fn micro_batch(
        &self,
        number: u64,
        samples: &[Sample],
        chosen: &[usize],
        shares: &[f64],
    ) -> MicroBatch {
        let size = |n: usize| i64::try_from(n).expect("a batch fits into memory");
        let reads = chosen.iter().map(|&at| read(&samples[at], self.sequence_length));
        let reads: Vec<usize> = reads.collect();
        let (starts, shape): (Vec<usize>, [usize; 2]) = match self.layout {
            RowLayout::Padded => {
                let longest = reads.iter().copied().max().unwrap_or(0);
                let length = longest.next_multiple_of(LENGTH_MULTIPLE);
                let length = length.min(self.sequence_length);
                ((0..reads.len()).map(|row| row * length).collect(), [reads.len(), length])
            }
            RowLayout::Packed => {
                let mut total = 0;
                let starts = reads.iter().map(|read| {
                    total += read;
                    total - read
                });
                (starts.collect(), [1, reads.iter().sum()])
            }
        };
        // All of a micro-batch's samples have the same share, unless documents of several groups share its rows: then
        // the shares go into the weights.
        let scale = shares[chosen[0]];
        let same_share = chosen.iter().all(|&at| shares[at] == scale);

        let mut tokens = vec![self.pad_id; shape[0] * shape[1]];
        let (mut places, mut labels, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        let mut counts = Counts { places: tokens.len() as u64, ..Counts::default() };
        let mut documents = Vec::with_capacity(chosen.len());
        for ((&at, start), read) in chosen.iter().zip(starts).zip(&reads) {
            let sample = &samples[at];
            tokens[start..start + read].copy_from_slice(&sample.tokens[..*read]);
            let before = labels.len();
            let predicted = sample.tokens.iter().zip(&sample.weights).skip(1);
            for (place, (label, &weight)) in (start..).zip(predicted) {
                if weight == 0.0 && self.head == HeadPlaces::Learned {
                    continue;
                }
                places.push(i64::try_from(place).expect("a batch has fewer than 2^63 places"));
                labels.push(*label);
                counts.supervised += u64::from(weight > 0.0);
                counts.weight += f64::from(weight);
                let share = if same_share { 1.0 } else { shares[at] };
                #[expect(clippy::cast_possible_truncation, reason = "weights are f32")]
                weights.push((f64::from(weight) * share) as f32);
            }
            let predicted = labels.len() - before;
            documents.push(Part { document: at, read: size(*read), predicted });
            counts += Counts {
                documents: 1,
                tokens: *read as u64,
                squared_lengths: (*read as u64).pow(2),
                cut_documents: u64::from(sample.cut.tokens > 0),
                cut_tokens: sample.cut.tokens,
                cut_supervised: sample.cut.supervised,
                ..Counts::default()
            };
        }
        counts.empty = u64::from(counts.supervised == 0);
        let weighted = weights.iter().any(|&weight| weight != 1.0);
        MicroBatch {
            tokens_bt: Tensor::from_slice(&tokens).view(shape.map(size)).to_device(self.device),
            lengths: (self.layout == RowLayout::Packed)
                .then(|| reads.iter().copied().filter(|&read| read > 0).map(size).collect()),
            places_n: Tensor::from_slice(&places).to_device(self.device),
            labels_n: Tensor::from_slice(&labels).to_device(self.device),
            weights_n: weighted.then(|| Tensor::from_slice(&weights).to_device(self.device)),
            scale: if same_share { scale } else { 1.0 },
            number,
            documents,
            counts,
        }
    }
}

/// How many of a sample's tokens the model reads: never the last one of a full sample, which is only predicted.
fn read(sample: &Sample, sequence_length: usize) -> usize {
    sample.tokens.len().min(sequence_length)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NINE: Batching = Batching {
        layout: RowLayout::Padded,
        sequence_length: 64,
        micro: 2,
        normalize: Normalize::Tokens,
        head: HeadPlaces::Learned,
        pad_id: 9,
        device: Device::Cpu,
    };

    fn sample(tokens: &[i64], learned: &[usize]) -> Sample {
        let weights = (0..tokens.len()).map(|at| f32::from(u8::from(learned.contains(&at))));
        Sample { tokens: tokens.to_vec(), weights: weights.collect(), cut: Default::default() }
    }

    #[track_caller]
    fn check(
        batching: &Batching,
        samples: &[Sample],
        shape: [i64; 2],
        places: &[i64],
        labels: &[i64],
    ) {
        let update = batching.update(samples);
        let [batch] = update.as_slice() else { panic!("{} micro-batches", update.len()) };
        assert_eq!(batch.tokens_bt.size(), shape);
        assert_eq!(Vec::<i64>::try_from(&batch.places_n).unwrap(), places);
        assert_eq!(Vec::<i64>::try_from(&batch.labels_n).unwrap(), labels);
    }

    #[test]
    fn the_length_is_that_of_the_longest_document_rounded_up_to_16_and_capped() {
        let long: Vec<i64> = (0..21).collect();
        let two = [sample(&[1, 2, 3], &[2]), sample(&long, &[20])];
        check(&NINE, &two, [2, 32], &[1, 32 + 19], &[3, 20]);
        let capped = Batching { sequence_length: 20, ..NINE };
        check(&capped, &two[1..], [1, 20], &[19], &[20]);
        check(&NINE, &[sample(&[1, 2], &[])], [1, 16], &[], &[]);
    }

    #[test]
    fn padding_is_where_no_token_is_and_counts_say_how_much() {
        let batch = NINE.update(&[sample(&[1, 9, 3], &[1, 2])]).remove(0);
        assert_eq!(Vec::<i64>::try_from(batch.tokens_bt.view(-1)).unwrap()[..4], [1, 9, 3, 9]);
        assert_eq!((batch.counts.tokens, batch.counts.places, batch.counts.supervised), (3, 16, 2));
        assert_eq!(batch.counts.padding(), 1.0 - 3.0 / 16.0);
        assert_eq!(batch.counts.empty, 0);
    }

    #[test]
    fn stretches_of_places_follow_one_another_and_end_with_zeros() {
        let x_nd = Tensor::arange(5, (tch::Kind::Float, Device::Cpu)).view([5, 1]) + 1;
        let part = |start| Span { all: 5, start, length: 2 }.of(&x_nd).view(-1);
        let parts = [0, 2, 4, 6].map(|start| Vec::<f32>::try_from(part(start)).unwrap());
        assert_eq!(parts, [[1.0, 2.0], [3.0, 4.0], [5.0, 0.0], [0.0, 0.0]]);
    }

    #[test]
    fn a_packed_row_has_the_documents_end_to_end_and_no_padding() {
        let packed = Batching { layout: RowLayout::Packed, ..NINE };
        let samples = [sample(&[1, 2, 3], &[2]), sample(&[4, 5], &[1]), sample(&[6, 7], &[])];
        check(&packed, &samples, [1, 7], &[1, 3], &[3, 5]);
        let batch = packed.update(&samples).remove(0);
        assert_eq!(batch.lengths, Some(vec![3, 2, 2]));
        let parts: Vec<_> = batch.documents.iter().map(|it| (it.document, it.predicted)).collect();
        assert_eq!(parts, [(0, 1), (1, 1), (2, 0)]);
        assert_eq!((batch.scale, batch.weights_n.is_none()), (0.5, true));
        assert_eq!(batch.counts.padding(), 0.0);
    }

    #[test]
    fn packed_rows_keep_the_means_of_micro_batches_as_weights() {
        let batching =
            Batching { layout: RowLayout::Packed, normalize: Normalize::MicroBatch, ..NINE };
        // Two and one: the first two samples have three learned tokens, the last has one.
        let samples = [sample(&[1, 2, 3], &[1, 2]), sample(&[4, 5], &[1]), sample(&[6, 7], &[1])];
        let batch = batching.update(&samples).remove(0);
        let weights = Vec::<f32>::try_from(batch.weights_n.expect("unequal")).unwrap();
        assert_eq!(batch.scale, 1.0);
        assert_eq!(weights, [1.0 / 6.0, 1.0 / 6.0, 1.0 / 6.0, 0.5]);
    }

    #[test]
    fn a_document_with_nothing_to_learn_weighs_nothing_among_others() {
        // It is the only one of its micro-batch, whose mean is one of nothing.
        let all = Batching { micro: 1, head: HeadPlaces::All, ..NINE };
        let batching =
            Batching { layout: RowLayout::Packed, normalize: Normalize::MicroBatch, ..all };
        let samples = [sample(&[1, 2, 3], &[1, 2]), sample(&[4, 5], &[])];
        let batch = batching.update(&samples).remove(0);
        let weights = Vec::<f32>::try_from(batch.weights_n.expect("unequal")).unwrap();
        assert_eq!(weights, [0.25, 0.25, 0.0]);
    }
}
