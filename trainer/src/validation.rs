//! A configuration and its shards -> the documents of each evaluation.

use std::sync::Arc;

use anyhow::{Context, Result};
use cli::bail_input;

use crate::batch::Batcher;
use crate::config::Config;

/// What the run is evaluated on.
#[derive(Debug)]
pub(crate) enum Validation {
    /// Nothing.
    None,
    /// These documents of a shard of its own, each time.
    Shard(Arc<Batcher>, Vec<usize>),
    /// These documents of the training shard, evaluation after evaluation.
    Split(Arc<Batcher>, Vec<usize>),
}

impl Validation {
    /// The documents of the `number`-th evaluation, from 0.
    pub(crate) fn documents(
        &self,
        config: &Config,
        number: u64,
    ) -> Result<Option<(&Batcher, &[usize])>> {
        let batches = config.evaluate.as_ref().and_then(|it| it.batches);
        let wanted = batches.map(|batches| batches * config.batch.global);
        Ok(match self {
            Self::None => None,
            Self::Shard(batcher, documents) => {
                let most = wanted.unwrap_or(usize::MAX).min(documents.len());
                Some((batcher, &documents[..most]))
            }
            Self::Split(batcher, documents) => {
                let wanted = wanted.context("a split's evaluation says how many batches")?;
                let first = usize::try_from(number).context("more evaluations than memory")?;
                Some((batcher, &documents[first * wanted..][..wanted]))
            }
        })
    }
}

/// What the run is evaluated on, if there is anything in it. A part of a split may round to no document at all: the reference
/// evaluates nothing then. What hangs on evaluations cannot be had without.
pub(crate) fn some_validation(
    config: &Config,
    validation: Validation,
    remarks: &mut Vec<String>,
) -> Result<Validation> {
    let Some(evaluate) = &config.evaluate else { return Ok(validation) };
    let (rows, documents) = match &validation {
        Validation::None => return Ok(validation),
        Validation::Shard(batcher, documents) | Validation::Split(batcher, documents) => {
            (&batcher.rows, documents)
        }
    };
    if rows.any_learned(documents) {
        return Ok(validation);
    }
    let problem = match (documents.is_empty(), &config.data.validation) {
        (true, Some(prefix)) => {
            format!("`data.validation`, `{}`, has no documents", prefix.display())
        }
        (true, None) => {
            format!("`data.split` leaves none of the {} documents to evaluate on", rows.len())
        }
        (false, _) => "no token of the documents to evaluate on is of a role that counts".into(),
    };
    for (key, hangs_on_it) in [
        ("evaluate.early_stopping", evaluate.early_stopping.is_some()),
        ("checkpoint.keep_best", config.checkpoint.keep_best),
    ] {
        if hangs_on_it {
            bail_input!(
                "{problem}, and `{key}` needs evaluations\nhint: take it out, or evaluate on something"
            );
        }
    }
    remarks.push(format!("{problem}: nothing is evaluated"));
    Ok(Validation::None)
}
