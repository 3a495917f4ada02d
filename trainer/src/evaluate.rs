//! Documents -> how well the model predicts them.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Serialize;
use tch::{Kind, Tensor};

use crate::backward::idle_forward;
use crate::batch::{Batcher, Batching, MicroBatch};
use crate::config::Normalize;
use crate::fault::{Fault, planted};
use crate::loss::{self, Objective};
use crate::params::Model;
use crate::pipeline;
use crate::ranks::Ranks;
use crate::turns;

/// How well the model predicts some documents.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Of all documents together.
    #[serde(flatten)]
    pub total: Prediction,
    /// Of those of each source, if the shard says which are; in the order of their names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, Prediction>,
}

/// How well some documents are predicted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// Mean cross-entropy, divided as the training loss is.
    pub loss: f64,
    /// Its exponential. With `normalize: micro_batch` the reference's metric: the mean of the micro-batches' own, none of
    /// which counts a loss above 20.
    pub perplexity: f64,
    /// The share of the learned tokens that have the highest probability; with `normalize: micro_batch` the mean of the
    /// micro-batches' shares.
    pub accuracy: f64,
    /// Documents.
    pub documents: u64,
    /// Tokens that count.
    pub supervised_tokens: u64,
}

/// Evaluates the model, `window` documents at a time, whose rows are laid out together; none if a signal asks the process
/// to stop meanwhile.
pub fn evaluate(
    model: &Model,
    batcher: &Batcher,
    documents: &[usize],
    window: usize,
    objective: Objective,
) -> Result<Option<Evaluation>> {
    // The divisor of the loss is applied to whole documents afterwards; in rows, all tokens are alike.
    let batching = Batching { normalize: Normalize::Tokens, ..batcher.batching.clone() };
    let mesh = model.mesh();
    let (ranks, data) = (&mesh.world, &mesh.data);
    let mut found = Vec::with_capacity(documents.len());
    for window in documents.chunks(window) {
        let samples: Vec<_> = window.iter().map(|&it| batcher.rows.sample(it)).collect();
        let mut of_window = vec![Document::default(); window.len()];
        // As in training, the ranks take turns, and stop together. Stages go on with the next micro-batch before the
        // others are through with this one: there it is only asked at the beginning.
        let batches = batching.update(&samples);
        for (round, ours) in
            turns::of_rank(&batches, data.rank(), data.size()).into_iter().enumerate()
        {
            let asked = round == 0 || !mesh.is_pipeline();
            if asked && ranks.any(cli::interrupt::requested())? {
                return Ok(None);
            }
            match ours.filter(|batch| batch.counts.supervised > 0) {
                Some(batch) => count(model, batch, objective, &mut of_window)?,
                None => idle_forward(model)?,
            }
        }
        // Those of a tensor group found the same.
        if !mesh.tensor.leads() {
            of_window.fill(Document::default());
        }
        let of_all = Document::of_all_ranks(ranks, &of_window)?;
        found.extend(if planted(Fault::OwnEvaluation) { of_window } else { of_all });
    }
    let batching = &batcher.batching;
    let mut sources = BTreeMap::new();
    for name in documents.iter().filter_map(|&it| batcher.rows.source(it)) {
        if !sources.contains_key(name) {
            let own = documents.iter().zip(&found);
            let own = own.filter(|(document, _)| batcher.rows.source(**document) == Some(name));
            let own: Vec<Document> = own.map(|(_, found)| *found).collect();
            sources.insert(name.to_string(), Prediction::of(&own, batching));
        }
    }
    Ok(Some(Evaluation { total: Prediction::of(&found, batching), sources }))
}

/// What was found of one document.
#[derive(Clone, Copy, Debug, Default)]
struct Document {
    /// The weighted sum of its token losses.
    loss: f64,
    /// The sum of their weights.
    weight: f64,
    supervised: u64,
    correct: u64,
}

impl Document {
    /// The same documents, with what all ranks found of them.
    fn of_all_ranks(ranks: &Ranks, documents: &[Self]) -> Result<Vec<Self>> {
        let sums = documents.iter().flat_map(|it| [it.loss, it.weight]).collect::<Vec<f64>>();
        let counts = documents.iter().flat_map(|it| [it.supervised, it.correct]);
        let sums = ranks.sums(&sums)?;
        let counts = ranks.counts(&counts.collect::<Vec<u64>>())?;
        let all = sums.chunks_exact(2).zip(counts.chunks_exact(2));
        Ok(all
            .map(|(sums, counts)| Self {
                loss: sums[0],
                weight: sums[1],
                supervised: counts[0],
                correct: counts[1],
            })
            .collect())
    }
}

impl Document {
    /// What was found of several together.
    fn sum(documents: &[Self]) -> Self {
        documents.iter().fold(Self::default(), |sum, it| Self {
            loss: sum.loss + it.loss,
            weight: sum.weight + it.weight,
            supervised: sum.supervised + it.supervised,
            correct: sum.correct + it.correct,
        })
    }

    fn mean_loss(&self) -> f64 {
        if self.weight > 0.0 { self.loss / self.weight } else { 0.0 }
    }
}

/// Adds what a micro-batch shows to its documents.
fn count(
    model: &Model,
    batch: &MicroBatch,
    objective: Objective,
    documents: &mut [Document],
) -> Result<()> {
    let Some(x_btd) = pipeline::forward(model, batch)? else { return Ok(()) };
    let losses = loss::token_losses(model, &x_btd, batch, objective)?;
    let numbers = |it: &Tensor| Vec::<f64>::try_from(it.to_kind(Kind::Double));
    let found = numbers(&losses.loss_n).context("the losses of an evaluation")?;
    let correct = numbers(&losses.correct_n).context("the hits of an evaluation")?;
    let weights = match &batch.weights_n {
        None => vec![1.0; found.len()],
        Some(weights_n) => numbers(weights_n).context("the weights of an evaluation")?,
    };
    let mut start = 0;
    for part in &batch.documents {
        let sum = &mut documents[part.document];
        for place in start..start + part.predicted {
            if weights[place] > 0.0 {
                sum.loss += found[place] * weights[place];
                sum.weight += weights[place];
                sum.supervised += 1;
                sum.correct += u64::from(correct[place] > 0.0);
            }
        }
        start += part.predicted;
    }
    Ok(())
}

impl Prediction {
    fn of(documents: &[Document], batching: &Batching) -> Self {
        let size = match batching.normalize {
            Normalize::Tokens => documents.len().max(1),
            Normalize::MicroBatch => batching.micro,
        };
        let groups: Vec<Document> = documents.chunks(size).map(Document::sum).collect();
        let mean = |of: fn(&Document) -> f64| {
            groups.iter().map(of).sum::<f64>() / groups.len().max(1) as f64
        };
        let loss = mean(Document::mean_loss);
        Self {
            loss,
            perplexity: match batching.normalize {
                Normalize::Tokens => loss.exp(),
                Normalize::MicroBatch => mean(|it| it.mean_loss().min(20.0).exp()),
            },
            accuracy: mean(|it| it.correct as f64 / it.supervised.max(1) as f64),
            documents: documents.len() as u64,
            supervised_tokens: documents.iter().map(|it| it.supervised).sum(),
        }
    }
}
