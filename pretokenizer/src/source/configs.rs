//! The `README.md` of a dataset -> which of its files make which configuration and split.
//!
//! A dataset of the hub may say so in the YAML at the head of its README, and `datasets` believes it more than the files'
//! names:
//!
//! ```yaml
//! configs:
//! - config_name: main
//!   data_files:
//!   - {split: train, path: main/train-*}
//!   - {split: test, path: [main/test-*.parquet]}
//! ```
//!
//! `data_files` may also be a pattern or a list of patterns, all of the split `train`; `data_dir` stands before the patterns. A
//! `*` does not reach into folders, `**` does. Files of a pattern are sorted by name, patterns come in their order.

use std::path::Path;

use anyhow::Context as _;
use cli::{BadInput, Yaml, bail_input};
use serde::Deserialize;
use serde_json::Value;

/// The file that may describe a dataset.
pub(crate) const README: &str = "README.md";

/// Splits, each with its files, in the order of the README.
pub(crate) type FilesBySplit = Vec<(String, Vec<String>)>;

/// A dataset's name, and which of its configurations is meant.
#[derive(Debug, Clone, Copy)]
pub struct Dataset<'n> {
    /// A folder, or a dataset of the hub.
    pub name: &'n str,
    config: Wanted<'n>,
}

#[derive(Debug, Clone, Copy)]
enum Wanted<'n> {
    /// The only one, or the one that the README calls its default.
    Default,
    /// This one.
    Named(&'n str),
    /// This one where there is one of this name.
    IfThere(&'n str),
}

impl<'n> From<&'n str> for Dataset<'n> {
    /// A dataset that the reference reads without naming a configuration.
    fn from(name: &'n str) -> Self {
        Self::of_reference(name, "default")
    }
}

impl<'n> Dataset<'n> {
    /// A dataset of which the user may name a configuration, and must where there are several and no default.
    #[must_use]
    pub fn named(name: &'n str, config: Option<&'n str>) -> Self {
        Self { name, config: config.map_or(Wanted::Default, Wanted::Named) }
    }

    /// A dataset of which the reference reads this configuration. A folder need not know of it.
    #[must_use]
    pub fn of_reference(name: &'n str, config: &'n str) -> Self {
        Self { name, config: Wanted::IfThere(config) }
    }

    /// The files of the meant configuration by split, as the README says it; `None` if it says nothing. `files` are the
    /// dataset's, sorted.
    pub(crate) fn told(
        self,
        folder: &Path,
        files: &[String],
    ) -> anyhow::Result<Option<FilesBySplit>> {
        let configs = read(folder)?;
        let names = || {
            let names: Vec<_> = configs.iter().map(|it| format!("`{}`", it.config_name)).collect();
            names.join(", ")
        };
        let find = |name: &str| configs.iter().find(|it| it.config_name == name);
        let is_strict = !matches!(self.config, Wanted::IfThere(_));
        let chosen = match self.config {
            Wanted::Named(name) => match find(name) {
                None if configs.is_empty() => bail_input!(
                    "`config: {name}`: the `{README}` of `{}` names no configurations\nhint: leave `config` away, or give a folder of the dataset as `path`",
                    self.name
                ),
                None => bail_input!(
                    "`config: {name}`: `{}` has no configuration of this name\nhint: there are {}",
                    self.name,
                    names()
                ),
                found => found,
            },
            Wanted::IfThere(name) if find(name).is_some() => find(name),
            Wanted::IfThere(_) | Wanted::Default => {
                let default = configs.iter().find(|it| it.default || it.config_name == "default");
                match (default, &configs[..]) {
                    (Some(default), _) => Some(default),
                    (None, [only]) => Some(only),
                    (None, _) if configs.is_empty() || !is_strict => None,
                    (None, _) => bail_input!(
                        "`{}` has several configurations and no default one\nhint: give one of them as `config`: {}",
                        self.name,
                        names()
                    ),
                }
            }
        };
        chosen.map(|config| config.files(self.name, files)).transpose()
    }
}

/// What stands at the head of a README, as far as it is of use here.
#[derive(Debug, Default, Deserialize)]
struct Card {
    #[serde(default)]
    configs: Vec<Config>,
}

#[derive(Debug, Deserialize)]
struct Config {
    config_name: String,
    data_files: Option<Value>,
    data_dir: Option<String>,
    #[serde(default)]
    default: bool,
}

/// The configurations of which the README names the files.
fn read(folder: &Path) -> anyhow::Result<Vec<Config>> {
    let path = folder.join(README);
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let text = String::from_utf8_lossy(&fs_err::read(&path).bad_input()?).replace("\r\n", "\n");
    let head = text.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---"));
    let Some((head, _)) = head.filter(|(head, _)| head.contains("configs:")) else {
        return Ok(Vec::new());
    };
    let card: Card = Yaml::from_text(path.display().to_string(), head)
        .parse()
        .context("the YAML at the head of a dataset's README cannot be read")
        .bad_input()?;
    let tells = |it: &Config| it.data_files.is_some() || it.data_dir.is_some();
    Ok(card.configs.into_iter().filter(tells).collect())
}

impl Config {
    /// The files by split, in the order of the README.
    fn files(&self, dataset: &str, files: &[String]) -> anyhow::Result<FilesBySplit> {
        let mut splits = FilesBySplit::new();
        for (split, pattern) in self.patterns() {
            let pattern = match &self.data_dir {
                Some(folder) => format!("{}/{pattern}", folder.trim_matches('/')),
                None => pattern,
            };
            let within_folders =
                glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
            let glob = glob::Pattern::new(pattern.trim_start_matches("./"));
            let glob = glob.map_err(|error| {
                anyhow::anyhow!("the `{README}` of `{dataset}`: `{pattern}` is no pattern: {error}")
            });
            let glob = glob.bad_input()?;
            let found: Vec<String> =
                files.iter().filter(|it| glob.matches_with(it, within_folders)).cloned().collect();
            if found.is_empty() {
                bail_input!(
                    "the `{README}` of `{dataset}` names `{pattern}` for the split `{split}` of `{}`, and there is no such file\nhint: the files there are: {}",
                    self.config_name,
                    files.join(", ")
                );
            }
            match splits.iter_mut().find(|(known, _)| *known == split) {
                Some((_, known)) => known.extend(found),
                None => splits.push((split, found)),
            }
        }
        Ok(splits)
    }

    /// Split and pattern, one after the other.
    fn patterns(&self) -> Vec<(String, String)> {
        let texts = |value: &Value| -> Vec<String> {
            let list = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
            list.iter().filter_map(|it| it.as_str().map(String::from)).collect()
        };
        let Some(data_files) = &self.data_files else {
            return vec![("train".into(), "**/*".into())];
        };
        let of_splits = data_files.as_array().into_iter().flatten().filter_map(|it| {
            let split = it["split"].as_str()?.to_owned();
            Some(texts(&it["path"]).into_iter().map(move |pattern| (split.clone(), pattern)))
        });
        let of_train = texts(data_files).into_iter().map(|pattern| ("train".into(), pattern));
        of_splits.flatten().chain(of_train).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARD: &str = "---
license: mit
dataset_info:
- config_name: main
  features: [{name: question, dtype: string}]
configs:
- config_name: main
  data_files:
  - split: train
    path: main/train-*
  - split: test
    path: [main/test-*]
- config_name: all
  data_files: ['**/train-*', 'extra.json']
- config_name: other
  data_dir: other
---
# A dataset
---
";
    const FILES: [&str; 5] = [
        "deep/main/train-1.json",
        "extra.json",
        "main/test-0.json",
        "main/train-0.json",
        "other/a.json",
    ];

    #[track_caller]
    fn check(card: &str, dataset: Dataset<'_>, expected: Result<&[(&str, &[&str])], &str>) {
        let folder = tempfile::tempdir().unwrap();
        shards::atomic::write(&folder.path().join(README), card.as_bytes()).unwrap();
        let found = dataset.told(folder.path(), &FILES.map(String::from));
        match (found, expected) {
            (Ok(found), Ok(expected)) => {
                let found = found.unwrap_or_default();
                let found: Vec<(&str, Vec<&str>)> = found
                    .iter()
                    .map(|(split, files)| {
                        (split.as_str(), files.iter().map(String::as_str).collect())
                    })
                    .collect();
                let expected: Vec<(&str, Vec<&str>)> =
                    expected.iter().map(|(split, files)| (*split, files.to_vec())).collect();
                assert_eq!(found, expected);
            }
            (Err(error), Err(expected)) => {
                assert!(format!("{error:#}").contains(expected), "{error:#}");
            }
            (found, _) => panic!("{found:?}"),
        }
    }

    #[test]
    fn a_configuration_names_its_files_split_by_split() {
        let main: &[(&str, &[&str])] =
            &[("train", &["main/train-0.json"]), ("test", &["main/test-0.json"])];
        check(CARD, Dataset::named("x", Some("main")), Ok(main));
        check(CARD, Dataset::of_reference("x", "main"), Ok(main));
        let all = ["deep/main/train-1.json", "main/train-0.json", "extra.json"];
        check(CARD, Dataset::named("x", Some("all")), Ok(&[("train", &all)]));
        check(CARD, Dataset::named("x", Some("other")), Ok(&[("train", &["other/a.json"])]));
    }

    #[test]
    fn where_none_is_named_the_default_one_counts_or_the_only_one() {
        let expected = "give one of them as `config`: `main`, `all`, `other`";
        check(CARD, Dataset::named("x", None), Err(expected));
        // A source of the reference goes by the files' names then.
        check(CARD, Dataset::of_reference("x", "rc"), Ok(&[]));
        let default = CARD.replace("data_dir: other", "data_dir: other\n  default: true");
        check(&default, "x".into(), Ok(&[("train", &["other/a.json"])]));
        check("no head\nconfigs:\n", "x".into(), Ok(&[]));
        check("---\nlicense: mit\n---\n", "x".into(), Ok(&[]));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let there = "has no configuration of this name\nhint: there are `main`, `all`, `other`";
        check(CARD, Dataset::named("x", Some("socratic")), Err(there));
        check("", Dataset::named("x", Some("main")), Err("names no configurations"));
        let moved = CARD.replace("main/test-*", "main/dev-*");
        let expected =
            "names `main/dev-*` for the split `test` of `main`, and there is no such file";
        check(&moved, Dataset::named("x", Some("main")), Err(expected));
        check("---\nconfigs: [\n---\n", "x".into(), Err("README"));
    }
}
