//! Documents -> samples: what the model reads of a document, and how much each of its tokens counts.
//!
//! A sample is a document's first `sequence_length + 1` tokens: the model reads all but the last and predicts all but
//! the first. What is cut off is counted.

use std::path::Path;

use anyhow::{Context, Result};
use cli::{BadInput, bail_input, suggest};
use fs_err as fs;
use shards::reader::PairReader;
use shards::{Manifest, Role};

use crate::learning::Learning;

/// What a shard's prefix and the name of its index differ by.
const INDEX: &str = "-text.idx";

/// What the model reads of one document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// At most `sequence_length + 1` token ids.
    pub tokens: Vec<i64>,
    /// How much each of them counts in the loss. The first does not: nothing predicts it.
    pub weights: Vec<f32>,
    /// What was cut off.
    pub cut: Cut,
}

/// What did not fit into a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Tokens cut off.
    pub tokens: u64,
    /// Those of them that would have been learned.
    pub supervised: u64,
}

/// The documents of a shard that do not fit into a sample, in their order, and what is too much of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TooLong {
    /// The documents.
    pub documents: Vec<usize>,
    /// What a cut takes off them all.
    pub cut: Cut,
    /// The most tokens that one of them has.
    pub longest: usize,
}

/// A shard whose token ids fit the model and whose roles are roles, cut into samples.
#[derive(Debug)]
pub struct Rows {
    shard: PairReader,
    sequence_length: usize,
    learning: Learning,
    /// Where the documents of each source end, and its name; empty if that is not known.
    sources: Vec<(usize, String)>,
}

/// Checks that there is a shard with this prefix; `key` is where the configuration has it.
pub fn check_prefix(key: &str, prefix: &Path) -> Result<()> {
    let shown = prefix.display().to_string();
    let endings = ["-text.bin", "-text.idx", "-role.bin", "-role.idx"];
    if let Some(meant) = endings.iter().find_map(|ending| shown.strip_suffix(ending)) {
        bail_input!("`{key}` is the file `{shown}`, expected a prefix\nhint: write `{meant}`");
    }
    let index = format!("{shown}{INDEX}");
    if Path::new(&index).exists() {
        return Ok(());
    }
    let folder = prefix.parent().filter(|it| *it != Path::new("")).unwrap_or(Path::new("."));
    let hint = match prefixes(folder) {
        None => {
            "paths in a configuration are relative to the folder in which the program is started"
                .into()
        }
        Some(names) if names.is_empty() => {
            format!(
                "there are no shards in `{}`; `pretokenizer build` makes them",
                folder.display()
            )
        }
        Some(names) => {
            let path = |name: &str| prefix.with_file_name(name).display().to_string();
            let typed = prefix.file_name().unwrap_or_default().to_string_lossy();
            match suggest::closest(&typed, names.iter().map(String::as_str)) {
                Some(name) => format!("did you mean `{}`?", path(name)),
                None => {
                    let all: Vec<_> =
                        names.iter().map(|name| format!("`{}`", path(name))).collect();
                    format!("the shards there are: {}", all.join(", "))
                }
            }
        }
    };
    bail_input!("`{key}` is the prefix `{shown}`, but there is no file `{index}`\nhint: {hint}");
}

/// The prefixes of the shards in a folder, sorted; none if there is no such folder.
fn prefixes(folder: &Path) -> Option<Vec<String>> {
    let entries = fs::read_dir(folder).ok()?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut prefixes: Vec<String> =
        names.filter_map(|name| name.strip_suffix(INDEX).map(String::from)).collect();
    prefixes.sort();
    Some(prefixes)
}

impl Rows {
    /// Opens the shard with this prefix. Every role, and every token id against the model's vocabulary, is
    /// checked once, here.
    pub fn open(
        prefix: &Path,
        vocab_size: i64,
        sequence_length: usize,
        learning: Learning,
    ) -> Result<Self> {
        let shard = PairReader::open(prefix).bad_input()?;
        let sources = sources(prefix, shard.len())?;
        let rows = Self { shard, sequence_length, learning, sources };
        rows.check_documents(vocab_size)
            .with_context(|| prefix.display().to_string())
            .bad_input()?;
        Ok(rows)
    }

    /// How many documents there are.
    pub fn len(&self) -> usize {
        self.shard.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many tokens of a document the model reads at most.
    pub fn sequence_length(&self) -> usize {
        self.sequence_length
    }

    /// The name of the source that a document is from, if the manifest says so.
    pub fn source(&self, document: usize) -> Option<&str> {
        let at = self.sources.partition_point(|(end, _)| *end <= document);
        self.sources.get(at).map(|(_, name)| name.as_str())
    }

    /// What the model reads of a document.
    pub fn sample(&self, document: usize) -> Sample {
        let document = self.shard.document(document);
        let mut weights = self.learning.weights(document);
        let kept = document.len().min(self.sequence_length + 1);
        let tokens = document.tokens().take(kept).map(i64::from).collect();
        let lost = weights[kept..].iter().filter(|weight| **weight > 0.0).count();
        let cut = Cut { tokens: (document.len() - kept) as u64, supervised: lost as u64 };
        weights.truncate(kept);
        Sample { tokens, weights, cut }
    }

    /// Whether any token of these documents counts.
    pub fn any_learned(&self, documents: &[usize]) -> bool {
        documents.iter().any(|&it| self.sample(it).weights.iter().any(|weight| *weight > 0.0))
    }

    /// The documents that do not fit.
    pub fn too_long(&self) -> TooLong {
        let mut found = TooLong::default();
        for index in 0..self.len() {
            let length = self.shard.document(index).len();
            if length > self.sequence_length + 1 {
                let cut = self.sample(index).cut;
                found.documents.push(index);
                found.cut.tokens += cut.tokens;
                found.cut.supervised += cut.supervised;
                found.longest = found.longest.max(length);
            }
        }
        found
    }

    fn check_documents(&self, vocab_size: i64) -> Result<()> {
        for index in 0..self.len() {
            let document = self.shard.document(index);
            let is_role = |id: u32| u8::try_from(id).is_ok_and(|id| Role::try_from(id).is_ok());
            if let Some(role) = document.roles().find(|role| !is_role(*role)) {
                bail_input!(
                    "document {index} has a token of the role {role}, expected 0 to 3\n\
                     hint: the shard is damaged: make it anew with `pretokenizer build`"
                );
            }
            let highest = document.tokens().max().unwrap_or(0);
            if i64::from(highest) >= vocab_size {
                bail_input!(
                    "document {index} has the token {highest}, but the base model's vocabulary has {vocab_size}\n\
                     hint: make the shards with the base model's tokenizer, or let it grow with `model.new_rows`"
                );
            }
        }
        Ok(())
    }
}

/// Where the documents of each source end, as the manifest has it.
fn sources(prefix: &Path, n_documents: usize) -> Result<Vec<(usize, String)>> {
    let Some(manifest) = Manifest::of_shards(prefix).bad_input()? else { return Ok(Vec::new()) };
    let name = prefix.file_name().unwrap_or_default();
    let Some(split) = manifest.splits.iter().find(|split| name == split.prefix.as_str()) else {
        return Ok(Vec::new());
    };
    let mut end = 0;
    let mut sources = Vec::new();
    for source in &split.sources {
        end += usize::try_from(source.documents).unwrap_or(usize::MAX);
        sources.push((end, source.name.clone()));
    }
    if !sources.is_empty() && end != n_documents {
        bail_input!(
            "`{}` has {n_documents} documents, but its manifest counts {end}\n\
             hint: the shard and its manifest are not of one build: make them anew with `pretokenizer build`",
            prefix.display()
        );
    }
    Ok(sources)
}
