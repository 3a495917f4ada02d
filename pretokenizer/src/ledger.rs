//! What became of every row: a line of JSON for each, in the order of the datamix and of its files.
//!
//! | field | content |
//! |---|---|
//! | `source` | the name in the datamix |
//! | `file`, `row` | where the row stands, from 1: in JSON lines the line, else the how-many-eth row |
//! | `id`, `tree` | of message trees: the name of the tree or message, and of a single message the tree that it belongs to |
//! | `kept` | `split` and `document` (from 0, in the shards) of each document that has something of the row; of message trees also the last `message`; `truncated` if it was cut to `max_tokens` |
//! | `dropped` | the `reason` for each document or row that was left out, and the `split` that it was meant for, if that was decided |
//!
//! A single message of a tree whose messages are rows of their own has neither: the line of its prompt tells of the tree.
//! Who counts these lines by reason gets the manifest's counts, and the same bytes come out on any number of threads.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::ops::Range;
use std::path::Path;

use anyhow::Context as _;
use cli::interrupt;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use shards::atomic::AtomicFile;

use crate::config::{Datamix, Entry};
use crate::filter::Outcome;
use crate::loaders::made::MadeOf;
use crate::mix::{Divided, Plan};
use crate::part::Part;
use crate::source::json::Place;

/// What a part has of the ledger, in its folder.
pub(crate) const OF_PART: &str = "ledger.jsonl.gz";

/// The reason of a row for which no loader gave one.
const NOTHING: &str = "nothing was made of it";
/// The reason of a sample that its loader put into no document.
const UNUSED: &str = "in no document";

/// A line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    source: Cow<'a, str>,
    file: Cow<'a, str>,
    row: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tree: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    kept: Vec<Kept<'a>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    dropped: Vec<Dropped<'a>>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept<'a> {
    split: Cow<'a, str>,
    document: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Dropped<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    split: Option<Cow<'a, str>>,
    reason: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<Cow<'a, str>>,
}

/// What a ledger is made of.
#[derive(Debug)]
pub(crate) struct Ledger<'a> {
    /// The datamix.
    pub(crate) datamix: &'a Datamix,
    /// Its datasets, read with notes of what was made of which row.
    pub(crate) datasets: &'a [Divided],
    /// The splits.
    pub(crate) plans: &'a [Plan],
    /// Which documents of each were to be written, by their places.
    pub(crate) shares: &'a [Range<usize>],
    /// What became of these, as far as the run came.
    pub(crate) outcomes: &'a [&'a [Outcome]],
    /// At most so many documents in each split.
    pub(crate) max_count: Option<usize>,
    /// The part that this is. It tells of its own documents only, and the first of what never was planned.
    pub(crate) part: Option<Part>,
}

/// What became of a document.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Kept {
        split: &'static str,
        document: u64,
        truncated: bool,
    },
    Dropped {
        split: &'static str,
        reason: &'static str,
    },
    /// Another part tells of it.
    Elsewhere,
}

impl Ledger<'_> {
    /// Writes it all; the file has its name when it is committed.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<AtomicFile> {
        let mut file = LedgerFile::create(path)?;
        let fates = self.fates();
        for ((entry, divided), fates) in self.datamix.entries().zip(self.datasets).zip(&fates) {
            interrupt::check()?;
            let made_of = divided.loaded.made_of.as_ref().context("the rows were not noted")?;
            self.write_source(entry, divided, made_of, fates, &mut file)?;
        }
        file.finish()
    }

    fn is_first(&self) -> bool {
        self.part.is_none_or(|part| part.number == 1)
    }

    /// What became of each document of each dataset.
    fn fates(&self) -> Vec<Vec<Fate>> {
        let never_planned = self.datamix.entries().zip(self.datasets).map(|(entry, divided)| {
            if !self.is_first() {
                return vec![Fate::Elsewhere; divided.loaded.len()];
            }
            let dropped = |split, reason| Fate::Dropped { split, reason };
            let mut fates = vec![dropped("val", "max_val_set"); divided.loaded.len()];
            let mixing = entry.source.mixing();
            let sampled = if mixing.fraction.is_some() { "fraction" } else { "size" };
            for (documents, fate) in [
                (divided.train(), dropped("train", sampled)),
                (divided.val(), dropped("val", "name stands twice in the datamix")),
                (divided.cut_by_eval_size(), dropped("val", "eval_size")),
            ] {
                documents.iter().for_each(|document| fates[*document as usize] = fate);
            }
            fates
        });
        let mut fates: Vec<Vec<Fate>> = never_planned.collect();
        for ((plan, share), outcomes) in self.plans.iter().zip(self.shares).zip(self.outcomes) {
            let split = plan.split;
            for part in plan.parts.iter().filter(|_| self.is_first()) {
                for (document, reason) in &part.removed {
                    fates[part.dataset][*document as usize] =
                        Fate::Dropped { split, reason: reason.name() };
                }
            }
            let planned = plan.len().min(self.max_count.unwrap_or(usize::MAX));
            let mut next = 0;
            for (place, (dataset, document)) in plan.documents(0..plan.len()).enumerate() {
                // Where some are left out, a run on one machine comes to more places than it was to write documents.
                let is_own = self.part.is_none() || share.contains(&place);
                let outcome = place.checked_sub(share.start).and_then(|i| outcomes.get(i));
                fates[dataset][document as usize] = match outcome {
                    Some(Outcome::Kept { is_truncated }) if is_own => {
                        next += 1;
                        Fate::Kept { split, document: next - 1, truncated: *is_truncated }
                    }
                    Some(Outcome::LeftOut(reason)) if is_own => {
                        Fate::Dropped { split, reason: reason.name() }
                    }
                    _ if self.part.is_some() && (place < planned || !self.is_first()) => {
                        Fate::Elsewhere
                    }
                    _ => Fate::Dropped { split, reason: "max_count" },
                };
            }
        }
        fates
    }

    fn write_source(
        &self,
        entry: &Entry,
        divided: &Divided,
        made_of: &MadeOf,
        fates: &[Fate],
        file: &mut LedgerFile,
    ) -> anyhow::Result<()> {
        let uses = uses(divided, made_of);
        let mut uses = uses.iter().peekable();
        let mut bad = made_of.rows.bad.iter().peekable();
        let mut dropped = made_of.dropped.iter().peekable();
        let mut names = made_of.names.iter().peekable();
        let files: Vec<_> =
            made_of.rows.files.iter().map(|path| path.display().to_string()).collect();
        for (number, (in_file, place)) in (0..).zip(&made_of.rows.rows) {
            let (Place::Line(row) | Place::Row(row)) = *place;
            let (mut kept_in, mut dropped_for) = (Vec::new(), Vec::new());
            let reason = |reason: &'static str| Dropped {
                split: None,
                reason: reason.into(),
                message: None,
                error: None,
            };
            while let Some((_, bad)) = bad.next_if(|(row, _)| *row == number) {
                let error = Some(bad.message.as_str().into());
                dropped_for.push(Dropped { error, ..reason(bad.reason) });
            }
            while let Some((_, why)) = dropped.next_if(|(row, _)| *row == number) {
                dropped_for.push(reason(why));
            }
            let has_none = uses.peek().is_none_or(|it| it.row != number);
            let name = names.next_if(|(row, ..)| *row == number);
            let tree = name.and_then(|(.., tree)| tree.as_deref());
            while let Some(it) = uses.next_if(|it| it.row == number) {
                let message = made_of.last_message(it.sample).map(Cow::from);
                match it.document.map(|document| fates[document as usize]) {
                    Some(Fate::Kept { split, document, truncated }) => {
                        kept_in.push(Kept { split: split.into(), document, message, truncated });
                    }
                    Some(Fate::Dropped { split, reason: why }) => {
                        let split = Some(split.into());
                        dropped_for.push(Dropped { split, message, ..reason(why) });
                    }
                    Some(Fate::Elsewhere) => {}
                    None => dropped_for.push(Dropped { message, ..reason(UNUSED) }),
                }
            }
            if has_none && dropped_for.is_empty() && tree.is_none() {
                dropped_for.push(reason(NOTHING));
            }
            if !self.is_first() {
                // What the rows alone decide, the first part tells.
                dropped_for.retain(|it| it.split.is_some());
                if kept_in.is_empty() && dropped_for.is_empty() {
                    file.push(None)?;
                    continue;
                }
            }
            let line = Line {
                source: entry.name.as_str().into(),
                file: files[*in_file as usize].as_str().into(),
                row,
                id: name.map(|(_, id, _)| Cow::from(&**id)),
                tree: tree.map(Cow::from),
                kept: kept_in,
                dropped: dropped_for,
            };
            file.push(Some(line))?;
        }
        Ok(())
    }
}

/// A row, and a document that has something of it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Use {
    row: u64,
    document: Option<u32>,
    sample: u32,
}

/// Which rows have something in which documents, in the order of the rows.
fn uses(divided: &Divided, made_of: &MadeOf) -> Vec<Use> {
    let loaded = &divided.loaded;
    let mut rows_of: Vec<(u32, u64)> =
        made_of.samples.iter().map(|(row, it)| (*it, *row)).collect();
    rows_of.sort_unstable();
    let mut is_used = vec![false; loaded.pieces.len()];
    let mut uses = Vec::with_capacity(rows_of.len());
    let documents = u32::try_from(loaded.len()).expect("the store refuses more rows than 2^32");
    for document in 0..documents {
        for piece in loaded.pieces_for(document) {
            let sample = piece - loaded.pieces.start;
            is_used[sample as usize] = true;
            let first = rows_of.partition_point(|(it, _)| *it < sample);
            let rows = rows_of[first..].iter().take_while(|(it, _)| *it == sample);
            uses.extend(rows.map(|(_, row)| Use { row: *row, document: Some(document), sample }));
        }
    }
    let unused = rows_of.iter().filter(|(sample, _)| !is_used[*sample as usize]);
    uses.extend(unused.map(|(sample, row)| Use { row: *row, document: None, sample: *sample }));
    uses.sort_unstable();
    uses.dedup_by_key(|it| (it.row, it.document));
    uses
}

/// The file, packed if its name ends so.
struct LedgerFile {
    out: Out,
    line: Vec<u8>,
}

enum Out {
    Plain(AtomicFile),
    Gzip(Box<GzEncoder<BufWriter<AtomicFile>>>),
}

impl LedgerFile {
    fn create(path: &Path) -> anyhow::Result<Self> {
        let file = AtomicFile::create(path)?;
        let out = if path.extension().is_some_and(|it| it == "gz") {
            let file = BufWriter::with_capacity(1 << 16, file);
            Out::Gzip(Box::new(GzEncoder::new(file, Compression::default())))
        } else {
            Out::Plain(file)
        };
        Ok(Self { out, line: Vec::new() })
    }

    /// Appends a line, which is empty if there is nothing to tell.
    fn push(&mut self, line: Option<Line<'_>>) -> anyhow::Result<()> {
        if let Some(mut line) = line {
            // In an order that does not depend on who tells what.
            line.kept.sort_unstable();
            line.dropped.sort_unstable();
            serde_json::to_writer(&mut self.line, &line)?;
        }
        self.line.push(b'\n');
        if self.line.len() >= 1 << 16 {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match &mut self.out {
            Out::Plain(file) => file.write_all(&self.line)?,
            Out::Gzip(file) => file.write_all(&self.line)?,
        }
        self.line.clear();
        Ok(())
    }

    fn finish(mut self) -> anyhow::Result<AtomicFile> {
        self.flush()?;
        match self.out {
            Out::Plain(file) => Ok(file),
            Out::Gzip(file) => {
                Ok(file.finish()?.into_inner().map_err(|error| error.into_error())?)
            }
        }
    }
}

/// The parts' ledgers -> the whole one. Each part comes with how many documents of each split stand before its own.
pub(crate) fn join(parts: &[(&Path, Vec<(&str, u64)>)], path: &Path) -> anyhow::Result<AtomicFile> {
    let open = |folder: &Path| {
        let file = fs_err::File::open(folder.join(OF_PART))?;
        anyhow::Ok(BufReader::new(MultiGzDecoder::new(file.into_file())))
    };
    let mut readers =
        parts.iter().map(|(folder, _)| open(folder)).collect::<Result<Vec<_>, _>>()?;
    let mut file = LedgerFile::create(path)?;
    let mut text = String::new();
    loop {
        let mut whole: Option<Line<'_>> = None;
        let mut lengths = BTreeSet::new();
        for (reader, (_, before)) in readers.iter_mut().zip(parts) {
            text.clear();
            lengths.insert(reader.read_line(&mut text)? == 0);
            if text.trim_ascii().is_empty() {
                continue;
            }
            let mut line: Line<'_> = serde_json::from_str(&text)?;
            for kept in &mut line.kept {
                let before = before.iter().find(|(split, _)| *split == kept.split);
                kept.document += before.map_or(0, |(_, n)| *n);
            }
            match &mut whole {
                None => whole = Some(line),
                Some(whole) => {
                    whole.kept.extend(line.kept);
                    whole.dropped.extend(line.dropped);
                }
            }
        }
        if lengths.len() > 1 {
            anyhow::bail!("the parts' ledgers have different numbers of lines");
        }
        if lengths.contains(&true) {
            return file.finish();
        }
        file.push(whole)?;
    }
}
