//! The files of a split: shards, texts where they are asked for, statistics.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

use cli::print;
use serde::{Deserialize, Serialize};
use shards::Role;
use shards::atomic::{self, AtomicFile};
use shards::hash::FileHash;
use shards::manifest;
use shards::writer::PairWriter;
use text::Tokenizer;

use crate::assemble::Assembled;
use crate::config::datamix::path_of;
use crate::config::{Datamix, SpecialTokensInText};
use crate::filter::{Outcome, SpecialStrings};
use crate::lengths::Lengths;
use crate::mix::Plan;
use crate::statistics::{Counts, OfDataset, Statistics};

/// Files that are being written.
#[derive(Debug)]
pub(crate) struct SplitFiles<'p> {
    plan: &'p Plan,
    tokenizer: &'p Tokenizer,
    refuses_special: bool,
    name: String,
    shards: PairWriter,
    json: Option<AtomicFile>,
    statistics: Statistics,
    max_count: usize,
    n_kept: usize,
    n_seen: usize,
    outcomes: Option<Vec<Outcome>>,
}

impl<'p> SplitFiles<'p> {
    /// Begins the files in a folder, with the document at this place of the plan; they take at most so many. For a ledger, it
    /// is noted what becomes of each.
    pub(crate) fn create(
        datamix: &Datamix,
        tokenizer: &'p Tokenizer,
        plan: &'p Plan,
        first: usize,
        max_count: Option<usize>,
        for_ledger: bool,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let name = format!("{}-{}", datamix.filename_prefix, plan.split);
        let prefix = folder.join(&name);
        let json = match datamix.write_json {
            true => Some(AtomicFile::create(&folder.join(format!("{name}.jsonl")))?),
            false => None,
        };
        let mut statistics = Statistics::new(plan);
        statistics.pass_over(first);
        Ok(Self {
            plan,
            tokenizer,
            refuses_special: datamix.special_tokens_in_text == SpecialTokensInText::Refuse,
            shards: PairWriter::create(&prefix, datamix.index_kind, tokenizer.vocab_size())?,
            json,
            statistics,
            max_count: max_count.unwrap_or(usize::MAX),
            n_kept: 0,
            n_seen: first,
            outcomes: for_ledger.then(Vec::new),
            name,
        })
    }

    /// The files, tokens and roles of which are written at the same time.
    pub(crate) fn in_parallel(self, in_parallel: bool) -> Self {
        Self { shards: self.shards.in_parallel(in_parallel), ..self }
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
            if let Some(outcomes) = &mut self.outcomes {
                outcomes.push(match outcome {
                    Ok(length) => Outcome::Kept { is_truncated: length.is_truncated },
                    Err(reason) => Outcome::LeftOut(*reason),
                });
            }
            match outcome {
                Ok(length) => {
                    if self.refuses_special && length.special.n > 0 {
                        return Err(self.refusal(place, length.special));
                    }
                    n += 1;
                    self.n_kept += 1;
                    self.statistics.keep(place, *length);
                }
                Err(reason) => self.statistics.refuse(place, *reason),
            }
        }
        self.shards.append(&assembled.batch, n)?;
        if let (Some(json), Some(last)) = (&mut self.json, n.checked_sub(1)) {
            json.write_all(&assembled.json.as_bytes()[..assembled.json_ends[last]])?;
        }
        Ok(if self.is_full() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// What is said of a document with special strings in its texts.
    fn refusal(&self, place: usize, special: SpecialStrings) -> anyhow::Error {
        let (part, _) =
            self.plan.stretches(place..place + 1).next().expect("the document was planned");
        let (_, document) =
            self.plan.documents(place..place + 1).next().expect("the document was planned");
        let (token, id) = &self.tokenizer.special_tokens()[special.first as usize];
        cli::exit::bad_input(anyhow::anyhow!(
            "`{}`, conversation {}: its text has `{token}`, which would become the special token {id} (`special_tokens_in_text: refuse`)\n\
             hint: take it out of the source, or set `special_tokens_in_text: escape`, which leaves it text, or `keep`",
            part.name,
            document + 1
        ))
    }

    /// Gives the files their names.
    pub(crate) fn finish(self) -> anyhow::Result<Finished> {
        let files = self.shards.finish()?;
        if let Some(json) = self.json {
            json.commit()?;
        }
        Ok(Finished {
            split: self.plan.split.into(),
            prefix: self.name,
            statistics: self.statistics,
            files,
            outcomes: self.outcomes.unwrap_or_default(),
        })
    }
}

/// A split of which the shards are written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Finished {
    /// `train` or `val`.
    pub(crate) split: String,
    /// The start of its files' names.
    pub(crate) prefix: String,
    /// What was counted.
    pub(crate) statistics: Statistics,
    /// The hashes of its shards.
    #[serde(skip)]
    pub(crate) files: Vec<FileHash>,
    /// What became of the documents, one after the other, where a ledger is asked for.
    #[serde(skip)]
    pub(crate) outcomes: Vec<Outcome>,
}

impl Finished {
    /// Says what came out, and writes it into the folder; `output_dir` is the folder's name as the reference prints it.
    pub(crate) fn report(
        self,
        output_dir: &str,
        folder: &Path,
        in_text: SpecialTokensInText,
    ) -> anyhow::Result<manifest::Split> {
        let Self { split, prefix, statistics, .. } = self;
        let text = statistics.text(&path_of(output_dir, &prefix));
        for OfDataset { name, counts, removed, .. } in &statistics.datasets {
            let mut refused = counts.refused.iter().chain(removed).peekable();
            if counts.documents == 0 && refused.peek().is_some() {
                let reasons: Vec<_> =
                    refused.map(|(reason, n)| format!("{n} {}", reason.name())).collect();
                print::note(format!(
                    "warning: `{name}` gives nothing to the split `{split}`: {}",
                    reasons.join(", ")
                ));
            }
        }
        for OfDataset { name, counts, .. } in &statistics.datasets {
            let manifest::SpecialTokensInText { documents, strings } = counts.special;
            if strings > 0 {
                let became = match in_text {
                    SpecialTokensInText::Escape => "stayed text",
                    _ => "became these tokens",
                };
                print::note(format!(
                    "warning: `{name}`: strings of special tokens stand in the texts of {documents} of {} documents of `{split}`, {strings} in all; they {became} (see `special_tokens_in_text`)",
                    counts.documents
                ));
            }
        }
        print::out(text.trim_end_matches('\n').to_string() + "\n");
        atomic::write(&folder.join(format!("{prefix}_stats.txt")), text.as_bytes())?;
        let source = |dataset: OfDataset| manifest::Source {
            name: dataset.name,
            samples: dataset.samples as u64 + dataset.removed.values().sum::<u64>(),
            documents: dataset.counts.documents,
            tokens: dataset.counts.tokens,
            assistant_tokens: of_role(&dataset.counts, Role::Assistant),
            tokens_by_role: Role::ALL
                .map(|role| (role.name().into(), of_role(&dataset.counts, role)))
                .into(),
            lengths: dataset.lengths.summary(),
            truncated: dataset.counts.truncated,
            skipped: (dataset.counts.refused.iter().chain(&dataset.removed))
                .map(|(reason, n)| (reason.name().into(), *n))
                .collect(),
            special_tokens_in_text: dataset.counts.special,
        };
        let mut lengths = Lengths::default();
        statistics.datasets.iter().for_each(|dataset| lengths.append(&dataset.lengths));
        let lengths = lengths.summary();
        let sources = statistics.datasets.into_iter().map(source).collect();
        Ok(manifest::Split { name: split, prefix, lengths, sources })
    }
}

fn of_role(counts: &Counts, role: Role) -> u64 {
    counts.by_role[usize::from(role.id())]
}
