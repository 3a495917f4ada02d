//! What a folder of shards says about itself, in `manifest.json`.
//!
//! Enough to tell whether it is the same again (hashes of every input, of the tokenizer and of every output), and
//! whether it fits a base model (vocabulary and special tokens), without the inputs or the tokenizer at hand. The
//! same run writes the same bytes: there is no time and no machine in it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::atomic;
use crate::hash::{self, FileHash};

/// The version of the format that this code writes and reads.
pub const VERSION: u32 = 2;

/// The file that makes a folder valid.
pub const FILE_NAME: &str = "manifest.json";

/// The Jinja template that the conversations were written with, where it is not ChatML; transformers' name for it.
pub const CHAT_TEMPLATE: &str = "chat_template.jinja";

/// The whole manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`VERSION`] of the code that wrote it.
    pub version: u32,
    /// Program and version, such as `pretokenizer 0.1.0`.
    pub program: String,
    /// What the tokens mean.
    pub tokenizer: Tokenizer,
    /// How a conversation became text, such as `chatml`.
    pub template: String,
    /// SHA-256 of the template's source, or of its name where the program has it.
    pub template_sha256: String,
    /// The resolved configuration, all sections and flags merged.
    pub config: serde_json::Value,
    /// SHA-256 of the configuration, as [`config_sha256`] has it.
    pub config_sha256: String,
    /// Every file that was read, in the order of the datamix.
    pub inputs: Vec<FileHash>,
    /// What was made of them before they were divided into splits, in the order of the datamix.
    pub sources_read: Vec<SourceRead>,
    /// What came out, a split at a time.
    pub splits: Vec<Split>,
    /// Every file that was written but this one, by name.
    pub outputs: Vec<FileHash>,
}

/// What the tokens mean.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokenizer {
    /// Such as `SentencePieceTokenizer`.
    pub kind: String,
    /// The vocabulary file.
    pub file: FileHash,
    /// All ids are below it.
    pub vocab_size: u32,
    /// Special tokens with their ids, in the order in which they were registered.
    pub special_tokens: Vec<(String, u32)>,
}

/// What the files of one source became.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceRead {
    /// Its name in the datamix.
    pub name: String,
    /// How many conversations were made of its rows.
    pub samples: u64,
    /// How many rows became none, by reason.
    pub dropped: BTreeMap<String, u64>,
}

/// What came out for one split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// `train` or `val`.
    pub name: String,
    /// The start of its files' names.
    pub prefix: String,
    /// How long its documents are; absent if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lengths: Option<LengthSummary>,
    /// Its sources, in the order in which their documents stand in the files.
    pub sources: Vec<Source>,
}

/// What one source gave to a split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Its name in the datamix.
    pub name: String,
    /// How many of its conversations were taken, after splitting and sampling.
    pub samples: u64,
    /// How many of these became documents.
    pub documents: u64,
    /// Tokens in these documents.
    pub tokens: u64,
    /// Tokens of the assistant's turns among them.
    pub assistant_tokens: u64,
    /// All of these tokens, by the name of the role.
    pub tokens_by_role: BTreeMap<String, u64>,
    /// How long its documents are; absent if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lengths: Option<LengthSummary>,
    /// How many of the documents were longer, and were cut (`too_long: truncate`); absent if none was.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub truncated: u64,
    /// How many of the samples did not, by reason.
    pub skipped: BTreeMap<String, u64>,
    /// Strings of special tokens in the documents' texts; absent where there are none.
    #[serde(default, skip_serializing_if = "SpecialTokensInText::is_none")]
    pub special_tokens_in_text: SpecialTokensInText,
}

/// How long documents are, in tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LengthSummary {
    /// The shortest.
    pub min: u32,
    /// The average, to a hundredth.
    pub mean: f64,
    /// Half of the documents are at most so long.
    pub median: u32,
    /// 90 of 100 are.
    pub p90: u32,
    /// 99 of 100 are.
    pub p99: u32,
    /// The longest.
    pub max: u32,
    /// How many are how long, in bins that double in width.
    pub histogram: Vec<Bin>,
}

/// How many documents are from `from` to before `to` tokens long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bin {
    /// The shortest length in it.
    pub from: u32,
    /// The shortest that is not.
    pub to: u32,
    /// Documents.
    pub documents: u64,
}

/// SHA-256 of a configuration: of its JSON without white space, the keys in the order of the manifest.
#[must_use]
pub fn config_sha256(config: &serde_json::Value) -> String {
    hash::sha256(config.to_string().as_bytes())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// How often the texts of documents, without what a template lays around them, have the string of a special token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpecialTokensInText {
    /// How many documents have one.
    pub documents: u64,
    /// How many there are in all.
    pub strings: u64,
}

impl SpecialTokensInText {
    /// Whether there are none.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Why a manifest cannot be read.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// The file is missing or unreadable; the message names it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is not a manifest.
    #[error("`{}`: {message}\nhint: rebuild the shards with `pretokenizer build`", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What the JSON reader says.
        message: String,
    },
    /// It comes from another version of the programs.
    #[error("`{}` has the version {found}, and this program reads {VERSION}\nhint: use the program that wrote it, or rebuild the shards", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The version in it.
        found: u64,
    },
}

impl Manifest {
    /// Writes it into a folder, as the last of its files.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        atomic::write_json(&folder.join(FILE_NAME), self)
    }

    /// Reads the one in a folder.
    pub fn read(folder: &Path) -> Result<Self, ManifestError> {
        let path = folder.join(FILE_NAME);
        let text = fs::read_to_string(&path)?;
        let broken = |e: serde_json::Error| ManifestError::Broken {
            path: path.clone(),
            message: e.to_string(),
        };
        // The version first: a newer manifest may well have fields that are unknown here.
        let value: serde_json::Value = serde_json::from_str(&text).map_err(broken)?;
        match value["version"].as_u64() {
            Some(found) if found != u64::from(VERSION) => {
                Err(ManifestError::Version { path, found })
            }
            _ => serde_json::from_value(value).map_err(broken),
        }
    }

    /// Reads the one that describes the shards with this prefix: it stands in their folder and names their files.
    /// `None` for shards that came without one, as the reference's do.
    pub fn of_shards(prefix: &Path) -> Result<Option<Self>, ManifestError> {
        let folder = prefix.parent().unwrap_or(Path::new(""));
        if !folder.join(FILE_NAME).exists() {
            return Ok(None);
        }
        let manifest = Self::read(folder)?;
        let text = crate::writer::file(prefix, "text", "bin");
        let names_it =
            |output: &FileHash| text.file_name().is_some_and(|name| name == &*output.path);
        Ok(manifest.outputs.iter().any(names_it).then_some(manifest))
    }
}
