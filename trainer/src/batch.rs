//! Rows -> one micro-batch of tensors: padded as the reference pads, with the places of the learned tokens gathered.
//!
//! A micro-batch is as long as its longest document, rounded up to 16 and never above the sequence length. What a
//! place holds is decided by where it is and never by its id, so that a `<PAD>` in a text is a token like others.
//! Rows are filled up on the right: under causal attention nothing real ever looks at padding, so that no mask is
//! needed and the padding's id changes nothing.

use std::ops::AddAssign;

use tch::{Device, Tensor};

use crate::rows::{Row, Rows};

/// Lengths are rounded up to a multiple of this (Megatron-LM's `--variable_seq_lengths`).
const LENGTH_MULTIPLE: usize = 16;

/// One micro-batch. Legend: `b` rows, `t` places in a row, `n` learned tokens.
#[derive(Debug)]
pub struct MicroBatch {
    /// What the model reads: ids.
    pub tokens_bt: Tensor,
    /// The places, counted through all rows, at which a learned token is predicted.
    pub places_n: Tensor,
    /// The tokens that are to be predicted there.
    pub labels_n: Tensor,
    /// What went into it.
    pub counts: Counts,
}

/// What went into some micro-batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Documents.
    pub documents: u64,
    /// Tokens that the model reads.
    pub tokens: u64,
    /// Places that the model computes, padding included.
    pub places: u64,
    /// Tokens that are learned.
    pub supervised: u64,
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
        self.places += other.places;
        self.supervised += other.supervised;
        self.empty += other.empty;
        self.cut_documents += other.cut_documents;
        self.cut_tokens += other.cut_tokens;
        self.cut_supervised += other.cut_supervised;
    }
}

impl MicroBatch {
    /// Pads the rows to one length and moves them to the device.
    pub fn new(rows: &[Row], sequence_length: usize, pad_id: i64, device: Device) -> Self {
        let longest = rows.iter().map(|row| row.tokens.len()).max().unwrap_or(0);
        let length = longest.next_multiple_of(LENGTH_MULTIPLE).min(sequence_length);
        let mut tokens = vec![pad_id; rows.len() * length];
        let (mut places, mut labels) = (Vec::new(), Vec::new());
        let mut counts = Counts { places: tokens.len() as u64, ..Counts::default() };
        for (row, start) in rows.iter().zip((0..).step_by(length.max(1))) {
            // The model reads `length` tokens and never the row's last one where that is only a label.
            let read = row.tokens.len().min(length);
            tokens[start..start + read].copy_from_slice(&row.tokens[..read]);
            for (place, (label, _)) in row
                .tokens
                .iter()
                .zip(&row.supervised)
                .skip(1)
                .enumerate()
                .filter(|(_, (_, learned))| **learned)
            {
                places.push(
                    i64::try_from(start + place).expect("a batch has fewer than 2^63 places"),
                );
                labels.push(*label);
            }
            counts += Counts {
                documents: 1,
                tokens: read as u64,
                cut_documents: u64::from(row.cut.tokens > 0),
                cut_tokens: row.cut.tokens,
                cut_supervised: row.cut.supervised,
                ..Counts::default()
            };
        }
        counts.supervised = labels.len() as u64;
        counts.empty = u64::from(labels.is_empty());
        let shape =
            [rows.len(), length].map(|size| i64::try_from(size).expect("a batch fits into memory"));
        Self {
            tokens_bt: Tensor::from_slice(&tokens).view(shape).to_device(device),
            places_n: Tensor::from_slice(&places).to_device(device),
            labels_n: Tensor::from_slice(&labels).to_device(device),
            counts,
        }
    }
}

/// Cuts lists of documents into micro-batches.
#[derive(Debug)]
pub struct Batcher {
    /// The documents.
    pub rows: Rows,
    /// How many of them make a micro-batch.
    pub micro: usize,
    /// What rows are filled up with.
    pub pad_id: i64,
    /// Where the tensors go.
    pub device: Device,
}

impl Batcher {
    /// The micro-batches of these documents, in their order.
    pub fn micro_batches(&self, documents: &[usize]) -> impl Iterator<Item = MicroBatch> {
        documents.chunks(self.micro).map(|documents| {
            let rows: Vec<Row> =
                documents.iter().map(|&document| self.rows.row(document)).collect();
            MicroBatch::new(&rows, self.rows.sequence_length(), self.pad_id, self.device)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(tokens: &[i64], supervised: &[usize]) -> Row {
        let supervised = (0..tokens.len()).map(|place| supervised.contains(&place)).collect();
        Row { tokens: tokens.to_vec(), supervised, cut: Default::default() }
    }

    #[track_caller]
    fn check(
        rows: &[Row],
        sequence_length: usize,
        shape: [i64; 2],
        places: &[i64],
        labels: &[i64],
    ) {
        let batch = MicroBatch::new(rows, sequence_length, 9, Device::Cpu);
        assert_eq!(batch.tokens_bt.size(), shape);
        assert_eq!(Vec::<i64>::try_from(&batch.places_n).unwrap(), places);
        assert_eq!(Vec::<i64>::try_from(&batch.labels_n).unwrap(), labels);
    }

    #[test]
    fn the_length_is_that_of_the_longest_document_rounded_up_to_16_and_capped() {
        let long: Vec<i64> = (0..21).collect();
        check(&[row(&[1, 2, 3], &[2]), row(&long, &[20])], 64, [2, 32], &[1, 32 + 19], &[3, 20]);
        check(&[row(&long, &[20])], 20, [1, 20], &[19], &[20]);
        check(&[row(&[1, 2], &[])], 64, [1, 16], &[], &[]);
    }

    #[test]
    fn padding_is_where_no_token_is_and_counts_say_how_much() {
        let batch = MicroBatch::new(&[row(&[1, 9, 3], &[1, 2])], 64, 9, Device::Cpu);
        assert_eq!(Vec::<i64>::try_from(batch.tokens_bt.view(-1)).unwrap()[..4], [1, 9, 3, 9]);
        assert_eq!((batch.counts.tokens, batch.counts.places, batch.counts.supervised), (3, 16, 2));
        assert_eq!(batch.counts.padding(), 1.0 - 3.0 / 16.0);
        assert_eq!(batch.counts.empty, 0);
    }
}
