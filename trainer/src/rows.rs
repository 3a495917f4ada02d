//! Documents -> rows: what the model reads of a document, and which of its tokens it learns to predict.
//!
//! A row is a document's first `sequence_length + 1` tokens: the model reads all but the last and predicts all but the
//! first. Whether a token is learned hangs on its own role, not on the role of the token before it, so the header and
//! the end marker of an assistant's turn are learned too. What is cut off is counted.

use std::path::Path;

use anyhow::{Context, Result};
use cli::{BadInput, bail_input, suggest};
use fs_err as fs;
use shards::Role;
use shards::reader::PairReader;

/// What a shard's prefix and the name of its index differ by.
const INDEX: &str = "-text.idx";

/// What the model reads of one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// At most `sequence_length + 1` token ids.
    pub tokens: Vec<i64>,
    /// For each of them, whether it is learned. The first never is: nothing predicts it.
    pub supervised: Vec<bool>,
    /// What was cut off.
    pub cut: Cut,
}

/// What did not fit into a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Tokens cut off.
    pub tokens: u64,
    /// Those of them that would have been learned.
    pub supervised: u64,
}

/// A shard whose token ids fit the model and whose roles are roles, cut into rows.
#[derive(Debug)]
pub struct Rows {
    shard: PairReader,
    sequence_length: usize,
    train_on: Vec<Role>,
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
        train_on: Vec<Role>,
    ) -> Result<Self> {
        let shard = PairReader::open(prefix).bad_input()?;
        let rows = Self { shard, sequence_length, train_on };
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

    /// The longest row's `sequence_length`.
    pub fn sequence_length(&self) -> usize {
        self.sequence_length
    }

    /// The row of a document.
    pub fn row(&self, document: usize) -> Row {
        let document = self.shard.document(document);
        let learned =
            |role: u32| self.train_on.iter().any(|learned| u32::from(learned.id()) == role);
        let kept = document.len().min(self.sequence_length + 1);
        let tokens = document.tokens().take(kept).map(i64::from).collect();
        let supervised = document
            .roles()
            .take(kept)
            .enumerate()
            .map(|(i, role)| i > 0 && learned(role))
            .collect();
        let lost = document.roles().skip(kept).filter(|role| learned(*role)).count();
        let cut = Cut { tokens: (document.len() - kept) as u64, supervised: lost as u64 };
        Row { tokens, supervised, cut }
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
