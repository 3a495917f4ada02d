//! One part of a datamix, built on a machine of its own.
//!
//! Parts share nothing but the inputs. Each of them reads all files, since who goes where depends on how many rows there
//! are, but keeps, encodes and writes only the documents at its own places of the output. Its folder has the shards of
//! these documents and `part.json`, the last file to be written, from which `merge` learns what the whole is.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::anyhow;
use cli::{BadInput, bail_input};
use serde::{Deserialize, Serialize};
use shards::atomic;
use shards::hash::FileHash;
use shards::manifest;

use crate::mix::{Divided, Plan};
use crate::split_files::Finished;

/// The file that makes a part's folder valid.
pub const FILE_NAME: &str = "part.json";

/// The version of the format that this code writes and reads.
const VERSION: u32 = 2;

/// Part `number` of `of`, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Which one it is.
    pub number: u32,
    /// How many there are.
    pub of: u32,
}

impl FromStr for Part {
    type Err = String;

    /// Reads `I/N`.
    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("`{text}` is not I/N with I from 1 to N, such as 3/64");
        let (number, of) = text.split_once('/').ok_or_else(expected)?;
        let part = Self {
            number: number.parse().map_err(|_| expected())?,
            of: of.parse().map_err(|_| expected())?,
        };
        if (1..=part.of).contains(&part.number) { Ok(part) } else { Err(expected()) }
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

impl Part {
    /// The folder of the part, in a folder beside the output.
    #[must_use]
    pub fn folder(self, output: &Path) -> PathBuf {
        let name = output.file_name().unwrap_or_default().to_string_lossy();
        let width = self.of.to_string().len();
        let parts = output.with_file_name(format!("{name}.parts"));
        parts.join(format!("part-{:0width$}-of-{}", self.number, self.of))
    }

    /// The part's places among the first `n` of a split. All parts have about as many bytes, as far as the sizes of the
    /// datasets tell.
    #[must_use]
    pub fn share(self, plan: &Plan, n: usize, datasets: &[Divided]) -> Range<usize> {
        let weight = |dataset: usize| {
            let loaded = &datasets[dataset].loaded;
            u128::from(loaded.n_bytes) / (loaded.len() as u128).max(1) + 16
        };
        let stretches: Vec<_> =
            plan.stretches(0..n).map(|(part, here)| (here, weight(part.dataset))).collect();
        let total: u128 = stretches.iter().map(|(here, weight)| here.len() as u128 * weight).sum();
        let boundary = |part: u32| {
            let goal = total * u128::from(part) / u128::from(self.of);
            let mut before = 0;
            for (here, weight) in &stretches {
                let bytes = here.len() as u128 * weight;
                if before + bytes > goal {
                    let documents = (goal - before) / weight;
                    return here.start + usize::try_from(documents).expect("it is below a length");
                }
                before += bytes;
            }
            n
        };
        boundary(self.number - 1)..boundary(self.number)
    }
}

/// What a part says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PartManifest {
    pub(crate) version: u32,
    /// Which part it is.
    pub(crate) part: Part,
    /// What must be the same in all parts.
    pub(crate) whole: Whole,
    /// What the part has of each split.
    pub(crate) splits: Vec<Finished>,
    /// Every file of the folder but this one, by name.
    pub(crate) outputs: Vec<FileHash>,
}

/// The run that a part is a part of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Whole {
    pub(crate) program: String,
    pub(crate) tokenizer: manifest::Tokenizer,
    pub(crate) template: String,
    pub(crate) template_sha256: String,
    pub(crate) config: serde_json::Value,
    pub(crate) max_count: Option<usize>,
    pub(crate) inputs: Vec<FileHash>,
    pub(crate) sources_read: Vec<manifest::SourceRead>,
    /// The file that is to be the ledger.
    pub(crate) ledger: Option<String>,
}

impl Whole {
    /// The manifest of the whole.
    pub(crate) fn manifest(
        self,
        splits: Vec<manifest::Split>,
        outputs: Vec<FileHash>,
    ) -> manifest::Manifest {
        let Self { template_sha256, config, inputs, sources_read, .. } = self;
        let Self { program, tokenizer, template, .. } = self;
        manifest::Manifest {
            version: manifest::VERSION,
            program,
            tokenizer,
            template,
            template_sha256,
            config_sha256: manifest::config_sha256(&config),
            config,
            inputs,
            sources_read,
            splits,
            outputs,
        }
    }

    /// What differs from another part's, in a word; `None` if they belong together.
    pub(crate) fn differs_in(&self, other: &Self) -> Option<&'static str> {
        let Self { program, tokenizer, template, template_sha256, config, .. } = self;
        let Self { max_count, inputs, sources_read, ledger, .. } = self;
        let is_template_same =
            *template == other.template && *template_sha256 == other.template_sha256;
        let differences = [
            ("configuration", *config != other.config),
            ("`--max_count`", *max_count != other.max_count),
            ("`--ledger`", *ledger != other.ledger),
            ("tokenizer", *tokenizer != other.tokenizer),
            ("template", !is_template_same),
            ("inputs", *inputs != other.inputs || *sources_read != other.sources_read),
            ("program's version", *program != other.program),
        ];
        differences.into_iter().find_map(|(what, differs)| differs.then_some(what))
    }
}

impl PartManifest {
    /// Of a part whose other files are written.
    pub(crate) fn new(
        part: Part,
        whole: Whole,
        splits: Vec<Finished>,
        outputs: Vec<FileHash>,
    ) -> Self {
        Self { version: VERSION, part, whole, splits, outputs }
    }

    /// Writes it into a folder, as the last of its files.
    pub(crate) fn write(&self, folder: &Path) -> std::io::Result<()> {
        atomic::write_json(&folder.join(FILE_NAME), self)
    }

    /// Reads the one in a folder.
    pub(crate) fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(FILE_NAME);
        if !path.is_file() {
            bail_input!(
                "`{}` is no part: there is no `{FILE_NAME}` in it\nhint: give the folders that `pretokenizer build --part I/N` wrote, or the folder that they are in",
                folder.display()
            );
        }
        let text = fs_err::read_to_string(&path).bad_input()?;
        let broken = |error: serde_json::Error| {
            anyhow!("{}: {error}\nhint: run this part again", path.display())
        };
        let value: serde_json::Value = serde_json::from_str(&text).map_err(broken).bad_input()?;
        if value["version"] != VERSION {
            bail_input!(
                "{}: the version is {}, and this program reads {VERSION}\nhint: build and merge the parts with one version of the program",
                path.display(),
                value["version"]
            );
        }
        serde_json::from_value(value).map_err(broken).bad_input()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_two_numbers() {
        assert_eq!("3/64".parse(), Ok(Part { number: 3, of: 64 }));
        assert_eq!("1/1".parse(), Ok(Part { number: 1, of: 1 }));
        for text in ["", "3", "0/4", "5/4", "1/0", "-1/2", "1/2/3", "a/b"] {
            assert!(text.parse::<Part>().is_err(), "{text}");
        }
    }

    #[test]
    fn folders_of_parts_sort_by_their_numbers() {
        let part = Part { number: 3, of: 64 };
        assert_eq!(part.folder(Path::new("a/out")), Path::new("a/out.parts/part-03-of-64"));
    }
}
