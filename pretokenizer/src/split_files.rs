//! The files of a split: shards, texts where they are asked for, statistics.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use cli::print;
use shards::atomic::{self, AtomicFile};
use shards::manifest;
use shards::writer::PairWriter;

use crate::assemble::Assembled;
use crate::config::Datamix;
use crate::mix::Plan;
use crate::statistics::Statistics;

/// Files that are being written.
#[derive(Debug)]
pub(crate) struct SplitFiles<'p> {
    plan: &'p Plan,
    name: String,
    /// The files' common beginning, as the statistics print it.
    shown: String,
    prefix: PathBuf,
    shards: PairWriter,
    json: Option<AtomicFile>,
    statistics: Statistics,
    max_count: usize,
    n_kept: usize,
    n_seen: usize,
}

impl<'p> SplitFiles<'p> {
    /// Begins the files in a folder; they take at most so many documents.
    pub(crate) fn create(
        datamix: &Datamix,
        vocab_size: u32,
        plan: &'p Plan,
        max_count: Option<usize>,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let name = format!("{}-{}", datamix.filename_prefix, plan.split);
        let prefix = folder.join(&name);
        let json = match datamix.write_json {
            true => Some(AtomicFile::create(&folder.join(format!("{name}.jsonl")))?),
            false => None,
        };
        Ok(Self {
            plan,
            shown: datamix.path_of(&name),
            shards: PairWriter::create(&prefix, datamix.index_kind, vocab_size)?,
            json,
            statistics: Statistics::new(plan),
            max_count: max_count.unwrap_or(usize::MAX),
            n_kept: 0,
            n_seen: 0,
            prefix,
            name,
        })
    }

    /// How many documents of the plan were seen, kept or not.
    pub(crate) fn n_seen(&self) -> usize {
        self.n_seen
    }

    /// Whether no more documents are wanted.
    pub(crate) fn is_full(&self) -> bool {
        self.n_kept >= self.max_count
    }

    /// Takes the next documents of the plan; breaks when no more are wanted.
    pub(crate) fn take(&mut self, assembled: &Assembled) -> anyhow::Result<ControlFlow<()>> {
        let mut n = 0;
        for outcome in &assembled.outcomes {
            if self.is_full() {
                break;
            }
            let place = self.n_seen;
            self.n_seen += 1;
            match outcome {
                Ok(length) => {
                    n += 1;
                    self.n_kept += 1;
                    self.statistics.count(place, |counts| counts.keep(*length));
                }
                Err(reason) => self.statistics.count(place, |counts| counts.refuse(*reason)),
            }
        }
        self.shards.append(&assembled.batch, n)?;
        if let (Some(json), Some(last)) = (&mut self.json, n.checked_sub(1)) {
            json.write_all(&assembled.json.as_bytes()[..assembled.json_ends[last]])?;
        }
        Ok(if self.is_full() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// Gives the files their names and says what came out.
    pub(crate) fn finish(self) -> anyhow::Result<manifest::Split> {
        let Self { plan, name, statistics, .. } = self;
        self.shards.finish()?;
        if let Some(json) = self.json {
            json.commit()?;
        }
        let text = statistics.text(plan, &self.shown);
        for (part, counts) in plan.parts.iter().zip(&statistics.by_part) {
            if counts.documents == 0 && !counts.refused.is_empty() {
                let reasons: Vec<_> = counts
                    .refused
                    .iter()
                    .map(|(reason, n)| format!("{n} {}", reason.name()))
                    .collect();
                print::note(format!(
                    "warning: `{}` gives nothing to the split `{}`: {}",
                    part.name,
                    plan.split,
                    reasons.join(", ")
                ));
            }
        }
        print::out(text.trim_end_matches('\n').to_string() + "\n");
        let mut path = self.prefix.into_os_string();
        path.push("_stats.txt");
        atomic::write(Path::new(&path), text.as_bytes())?;

        let sources =
            plan.parts.iter().zip(&statistics.by_part).map(|(part, counts)| manifest::Source {
                name: part.name.clone(),
                samples: part.indices.len() as u64,
                documents: counts.documents,
                tokens: counts.tokens,
                assistant_tokens: counts.assistant_tokens,
                skipped: counts
                    .refused
                    .iter()
                    .map(|(reason, n)| (reason.name().into(), *n))
                    .collect(),
            });
        Ok(manifest::Split { name: plan.split.into(), prefix: name, sources: sources.collect() })
    }
}
