//! Documents -> how well the model predicts them.

use anyhow::Result;
use serde::Serialize;
use tch::{Kind, Tensor};

use crate::backward::forward;
use crate::batch::{Batcher, Counts};
use crate::config::Normalize;
use crate::loss;
use crate::params::Model;

/// How well the model predicts some documents.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Mean cross-entropy, divided as the training loss is.
    pub loss: f64,
    /// Its exponential.
    pub perplexity: f64,
    /// The share of the learned tokens that have the highest probability.
    pub accuracy: f64,
    /// Documents.
    pub documents: u64,
    /// Tokens that count.
    pub supervised_tokens: u64,
}

/// Evaluates the model; none if a signal asks the process to stop meanwhile.
pub fn evaluate(
    model: &Model,
    batcher: &Batcher,
    documents: &[usize],
    normalize: Normalize,
    chunk_tokens: i64,
) -> Result<Option<Evaluation>> {
    let mut counts = Counts::default();
    let n_micro_batches = documents.len().div_ceil(batcher.micro);
    let mut loss = Tensor::zeros([], (Kind::Double, batcher.device));
    let mut correct = Tensor::zeros([], (Kind::Int64, batcher.device));
    for batch in batcher.micro_batches(documents) {
        if cli::interrupt::requested() {
            return Ok(None);
        }
        if batch.counts.supervised > 0 {
            let sums = loss::sums(model, &forward(model, &batch), &batch, chunk_tokens);
            loss += match normalize {
                Normalize::Tokens => sums.loss,
                Normalize::MicroBatch => {
                    sums.loss / (batch.counts.supervised as f64 * n_micro_batches as f64)
                }
            };
            correct += sums.correct;
        }
        counts += batch.counts;
    }
    let supervised = counts.supervised.max(1) as f64;
    let loss = loss.double_value(&[])
        / match normalize {
            Normalize::Tokens => supervised,
            Normalize::MicroBatch => 1.0,
        };
    Ok(Some(Evaluation {
        loss,
        perplexity: loss.exp(),
        accuracy: correct.int64_value(&[]) as f64 / supervised,
        documents: counts.documents,
        supervised_tokens: counts.supervised,
    }))
}
