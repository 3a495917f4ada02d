//! A folder of shards -> one HTML page about it, for somebody who does not have the folder.
//!
//! The page needs nothing but itself: no network, no script. Every text goes through the template's escaping, so a
//! document may contain any markup.

use std::collections::BTreeMap;

use anyhow::Context as _;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment};
use serde::Serialize;
use shards::manifest::{Bin, LengthSummary};
use shards::{Manifest, PairReader, Role};

use crate::folder::{Folder, Split};
use crate::lengths::Lengths;
use crate::shown::{Shown, turns};

/// Tokens of a document that are shown; the page of a long one would be long.
const SHOWN_TOKENS: usize = 1500;
/// Bins of a histogram.
const BINS: u32 = 32;

#[derive(Debug, Serialize)]
struct Page<'a> {
    title: String,
    program: Option<&'a str>,
    totals: Row,
    splits: Vec<SplitPart>,
    dropped: Vec<Dropped>,
    special: Vec<Special>,
    documents: Vec<Document>,
    config: Option<String>,
    manifest: Option<&'a Manifest>,
    no_tokenizer: Option<&'a str>,
}

#[derive(Debug, Clone, Default, Serialize)]
struct Row {
    name: String,
    documents: u64,
    tokens: u64,
    trained: u64,
    by_role: [u64; Role::ALL.len()],
    lengths: Option<LengthSummary>,
}

#[derive(Debug, Serialize)]
struct SplitPart {
    total: Row,
    sources: Vec<Row>,
    bins: Vec<Bin>,
    most: u64,
}

#[derive(Debug, Serialize)]
struct Dropped {
    source: String,
    place: String,
    reason: String,
    n: u64,
}

/// Strings of special tokens in the texts of a source.
#[derive(Debug, Serialize)]
struct Special {
    source: String,
    split: String,
    documents: u64,
    strings: u64,
}

#[derive(Debug, Serialize)]
struct Document {
    split: String,
    index: usize,
    source: Option<String>,
    n_tokens: usize,
    n_trained: usize,
    n_hidden: usize,
    turns: Vec<Turn>,
}

#[derive(Debug, Serialize)]
struct Turn {
    role: &'static str,
    trained: bool,
    tokens: Vec<Token>,
}

#[derive(Debug, Serialize)]
struct Token {
    id: u32,
    piece: String,
    text: String,
    special: bool,
}

/// The page, with these documents.
pub fn html(
    folder: &Folder,
    splits: &[(&Split, PairReader)],
    documents: &[Shown],
    turn_start: Option<u32>,
    no_tokenizer: Option<&str>,
) -> anyhow::Result<String> {
    let splits: Vec<_> = splits.iter().map(|(split, reader)| split_part(split, reader)).collect();
    let mut totals = Row::default();
    for split in &splits {
        totals.add(&split.total);
    }
    let manifest = folder.manifest.as_ref();
    let is_special = |id| folder.special_tokens.iter().any(|(_, special)| *special == id);
    let whole = fs_err::canonicalize(&folder.path)?;
    let page = Page {
        title: whole.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        program: manifest.map(|it| it.program.as_str()),
        totals,
        splits,
        dropped: manifest.map(dropped).unwrap_or_default(),
        special: manifest.map(special).unwrap_or_default(),
        documents: documents.iter().map(|it| document(it, turn_start, is_special)).collect(),
        config: manifest.map(|it| serde_json::to_string_pretty(&it.config)).transpose()?,
        manifest,
        no_tokenizer,
    };
    let mut templates = Environment::new();
    templates.set_auto_escape_callback(|_| AutoEscape::Html);
    templates.add_filter("thousands", |n: u64| indicatif::HumanCount(n).to_string());
    templates.add_filter("percent", |part: f64, whole: f64| {
        format!("{:.1}", if whole > 0.0 { 100.0 * part / whole } else { 0.0 })
    });
    templates.add_template("page", include_str!("page/page.html.jinja"))?;
    templates.get_template("page")?.render(Serde(page)).context("the page")
}

impl Row {
    fn new(name: &str, reader: &PairReader, first: usize, end: usize) -> (Self, Lengths) {
        let mut row = Self { name: name.into(), ..Self::default() };
        let mut lengths = Lengths::default();
        for i in first..end {
            let document = reader.document(i);
            lengths.add(u32::try_from(document.len()).unwrap_or(u32::MAX));
            for role in document.roles() {
                if let Some(n) = row.by_role.get_mut(role as usize) {
                    *n += 1;
                }
            }
            row.tokens += document.len() as u64;
        }
        row.documents = (end - first) as u64;
        row.trained = row.by_role[usize::from(Role::Assistant.id())];
        row.lengths = lengths.summary();
        (row, lengths)
    }

    fn add(&mut self, other: &Self) {
        self.documents += other.documents;
        self.tokens += other.tokens;
        self.trained += other.trained;
        for (n, other) in self.by_role.iter_mut().zip(other.by_role) {
            *n += other;
        }
    }
}

fn split_part(split: &Split, reader: &PairReader) -> SplitPart {
    let (mut sources, mut lengths, mut first) = (Vec::new(), Lengths::default(), 0);
    let whole = [("all".to_string(), reader.len())];
    let named = if split.sources.is_empty() { &whole[..] } else { &split.sources };
    let mut total = Row { name: split.name.clone(), ..Row::default() };
    for (name, n) in named {
        let end = (first + n).min(reader.len());
        let (row, its_lengths) = Row::new(name, reader, first, end);
        total.add(&row);
        sources.push(row);
        lengths.append(&its_lengths);
        first = end;
    }
    total.lengths = lengths.summary();
    let bins = lengths.even(BINS);
    let most = bins.iter().map(|bin| bin.documents).max().unwrap_or(1).max(1);
    SplitPart { total, sources, bins, most }
}

fn dropped(manifest: &Manifest) -> Vec<Dropped> {
    let mut all = Vec::new();
    let mut add = |source: &str, place: &str, reasons: &BTreeMap<String, u64>| {
        for (reason, n) in reasons {
            let (source, place, reason) = (source.into(), place.into(), reason.clone());
            all.push(Dropped { source, place, reason, n: *n });
        }
    };
    for source in &manifest.sources_read {
        add(&source.name, "read", &source.dropped);
    }
    for split in &manifest.splits {
        for source in &split.sources {
            add(&source.name, &split.name, &source.skipped);
        }
    }
    all
}

fn special(manifest: &Manifest) -> Vec<Special> {
    let sources = manifest.splits.iter().flat_map(|split| {
        split.sources.iter().map(|source| Special {
            source: source.name.clone(),
            split: split.name.clone(),
            documents: source.special_tokens_in_text.documents,
            strings: source.special_tokens_in_text.strings,
        })
    });
    sources.filter(|it| it.strings > 0).collect()
}

fn document(shown: &Shown, turn_start: Option<u32>, is_special: impl Fn(u32) -> bool) -> Document {
    let n_tokens = shown.tokens.len();
    let tokens = &shown.tokens[..n_tokens.min(SHOWN_TOKENS)];
    let turns = turns(tokens, turn_start).map(|turn| Turn {
        role: turn[0].role.map_or("none", Role::name),
        trained: turn[0].is_trained_on(),
        tokens: turn
            .iter()
            .map(|token| Token {
                id: token.id,
                piece: token.piece.clone(),
                text: token.text.clone(),
                special: is_special(token.id),
            })
            .collect(),
    });
    Document {
        split: shown.split.clone(),
        index: shown.index,
        source: shown.source.clone(),
        n_tokens,
        n_trained: shown.tokens.iter().filter(|token| token.is_trained_on()).count(),
        n_hidden: n_tokens - tokens.len(),
        turns: turns.collect(),
    }
}
