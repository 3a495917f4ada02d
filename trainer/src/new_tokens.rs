//! The tokens that a datamix added to the base's vocabulary -> how often each was trained, and what became of its rows.
//!
//! A row that was hardly trained, or whose norm stands far apart from the others', is the usual reason for a model that
//! does not end its answers.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use cli::BadInput;
use serde::Serialize;
use shards::reader::PairReader;
use tch::Kind;
use text::Tokenizer;

use crate::config::Config;
use crate::documents;
use crate::units::{EMBEDDING, HEAD};
use crate::weights::{self, Source};

/// The added tokens, and the vocabulary to compare them with.
#[derive(Debug, Serialize)]
pub struct NewTokens {
    /// The training shard that was counted.
    shard: String,
    /// Its documents.
    documents: usize,
    /// How many times the run has gone through it.
    passes: f64,
    /// The norms of all rows that stand for a token.
    vocabulary: BTreeMap<&'static str, Norms>,
    /// Rows behind the last token, which only fill up the vocabulary.
    filling_rows: i64,
    /// The added tokens.
    tokens: Vec<NewToken>,
}

#[derive(Debug, Serialize)]
struct Norms {
    mean: f64,
    smallest: f64,
    largest: f64,
}

#[derive(Debug, Serialize)]
struct NewToken {
    token: String,
    id: u32,
    /// How often it stands in the shard.
    occurrences: u64,
    /// How often the model learned to predict it in one pass.
    supervised: u64,
    /// Of its row in the embedding and in the head.
    norms: BTreeMap<&'static str, f64>,
}

/// Counts and measures.
pub fn measure(
    config: &Config,
    step: u64,
    tokenizer: &Tokenizer,
    trained: &[Source<'_>],
) -> Result<NewTokens> {
    let added = added(tokenizer);
    let reader = PairReader::open(&config.data.train).bad_input()?;
    let learning = documents::learning(config)?;
    let first = added.first().map_or(u32::MAX, |(_, id)| *id);
    let mut counts: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    for document in (0..reader.len()).map(|i| reader.document(i)) {
        for (token, weight) in document.tokens().zip(learning.weights(document)) {
            if token >= first {
                let (occurrences, supervised) = counts.entry(token).or_default();
                *occurrences += 1;
                *supervised += u64::from(weight > 0.0);
            }
        }
    }

    let mut norms: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    for source in trained {
        let Some(name) = [EMBEDDING, HEAD].into_iter().find(|name| source.name == *name) else {
            continue;
        };
        for rows in weights::row_ranges(&source.shape) {
            let of_rows = source.rows(rows)?.to_kind(Kind::Double).square();
            let of_rows = of_rows.sum_dim_intlist(1, false, Kind::Double).sqrt();
            norms.entry(name).or_default().extend(Vec::<f64>::try_from(of_rows)?);
        }
    }
    let used = tokenizer.vocab_size() as usize;
    let vocabulary = norms.iter().map(|(name, norms)| {
        let norms = &norms[..used.min(norms.len())];
        let mean = norms.iter().sum::<f64>() / norms.len() as f64;
        let smallest = norms.iter().copied().fold(f64::INFINITY, f64::min);
        (*name, Norms { mean, smallest, largest: norms.iter().copied().fold(0.0, f64::max) })
    });
    let vocabulary = vocabulary.collect();
    let tokens = added.into_iter().map(|(token, id)| {
        let (occurrences, supervised) = counts.get(&id).copied().unwrap_or_default();
        let of_row =
            norms.iter().filter_map(|(name, all)| Some((*name, *all.get(id as usize)?))).collect();
        NewToken { token, id, occurrences, supervised, norms: of_row }
    });
    let n_rows = norms.values().next().map_or(0, Vec::len);
    Ok(NewTokens {
        shard: shown(&config.data.train),
        documents: reader.len(),
        passes: step as f64 * config.batch.global as f64 / reader.len().max(1) as f64,
        vocabulary,
        filling_rows: i64::try_from(n_rows.saturating_sub(used))?,
        tokens: tokens.collect(),
    })
}

impl NewTokens {
    /// What should give a user pause, a line each.
    pub fn remarks(&self) -> Vec<String> {
        let never = self.tokens.iter().filter(|it| it.occurrences > 0 && it.supervised == 0);
        never
            .filter(|it| it.token == text::chatml::TURN_END)
            .map(|it| {
                format!("`{}` was never learned: the model will not end its answers", it.token)
            })
            .collect()
    }
}

/// The special tokens behind the base's own vocabulary, which are the last ids.
fn added(tokenizer: &Tokenizer) -> Vec<(String, u32)> {
    let mut special = tokenizer.special_tokens().to_vec();
    special.sort_by_key(|(_, id)| *id);
    special.dedup_by_key(|(_, id)| *id);
    let mut end = tokenizer.vocab_size();
    let mut first = special.len();
    while first > 0 && special[first - 1].1 + 1 == end {
        end -= 1;
        first -= 1;
    }
    special.split_off(first)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
