//! `checkpoint.json`: what makes a folder a checkpoint, and everything in it that is no tensor.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fs_err as fs;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shards::hash::FileHash;

use crate::extent::Extent;
use crate::state::TrainState;

/// The version that this program writes and reads.
pub(crate) const VERSION: u32 = 2;

/// The file's name.
pub(crate) const FILE: &str = "checkpoint.json";

/// What is saved of every parameter: its master, and AdamW's running means of the gradient and of its square.
pub(crate) const KINDS: [&str; 3] = ["model", "exp_avg", "exp_avg_sq"];

/// The content of `checkpoint.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    pub(crate) version: u32,
    /// The program that wrote it.
    pub(crate) program: String,
    /// Where the run stands.
    pub(crate) state: TrainState,
    /// The run's configuration, defaults included.
    pub(crate) config: Value,
    /// What it was trained from and on.
    pub(crate) origin: Origin,
    /// How many parts the tensors were written in, by a rank each.
    pub(crate) parts: usize,
    /// Every parameter.
    pub(crate) tensors: BTreeMap<String, Places>,
    /// Every other file.
    pub(crate) files: Vec<FileHash>,
}

/// The files that a run began with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The base model's configuration and weights.
    pub base: Vec<FileHash>,
    /// The shards.
    pub shards: Vec<FileHash>,
}

/// Where a parameter lies; its master and both moments lie alike, in files of their own.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Places {
    pub(crate) shape: Vec<i64>,
    pub(crate) boxes: Vec<Place>,
}

/// A box, and the part that has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    pub(crate) offset: Vec<i64>,
    pub(crate) size: Vec<i64>,
    pub(crate) part: usize,
}

impl Place {
    pub(crate) fn extent(&self) -> Extent {
        Extent { offset: self.offset.clone(), size: self.size.clone() }
    }
}

impl Record {
    /// Reads the one in a checkpoint's folder.
    pub(crate) fn read(checkpoint: &Path) -> Result<Self> {
        let path = checkpoint.join(FILE);
        let text = fs::read_to_string(&path)?;
        // The version first: another one may well have fields that are unknown here.
        let value: Value =
            serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        let found = value["version"].as_u64().unwrap_or_default();
        if found != u64::from(VERSION) {
            bail!("`{}` has the version {found}, and this program reads {VERSION}", path.display());
        }
        serde_json::from_value(value).with_context(|| path.display().to_string())
    }

    /// Compares files with their hashes: of `n` readers, the `i`-th takes every `n`-th.
    pub(crate) fn verify(&self, checkpoint: &Path, i: usize, n: usize) -> Result<()> {
        for expected in &self.files {
            let path = checkpoint.join(&expected.path);
            // A length is seen at once; a hash takes the whole file.
            let bytes = fs::metadata(&path)?.len();
            if bytes != expected.bytes {
                bail!("`{}` has {bytes} bytes, expected {}", path.display(), expected.bytes);
            }
        }
        for expected in self.files.iter().skip(i).step_by(n) {
            let path = checkpoint.join(&expected.path);
            if FileHash::of(&path, expected.path.as_str())? != *expected {
                bail!(
                    "`{}` was changed after it was written: its SHA-256 is another one",
                    path.display()
                );
            }
        }
        Ok(())
    }
}

/// The file of one kind of number and one part of them.
pub(crate) fn part_file(kind: &str, part: usize, parts: usize) -> PathBuf {
    PathBuf::from(match parts {
        1 => format!("{kind}.safetensors"),
        _ => format!("{kind}-{:05}-of-{parts:05}.safetensors", part + 1),
    })
}
