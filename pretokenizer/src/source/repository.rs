//! A Hugging Face dataset name -> the files of one split.
//!
//! The name is a folder below the working directory, as `datasets.load_dataset` takes it too, or a dataset of the hub
//! ([`crate::source::hub`]). Which file belongs to which split, its name says, by the rules of `datasets` 2.14
//! (`data_files.py`), unless its `README.md` does ([`crate::source::configs`]): first `data/<split>-00000-of-00001.*`, where a split may have any name; else a keyword of the split
//! between separators in the path; else everything is `train`. Where files are told by keywords, their order is not simply
//! that of their names: see `by_keywords`.

use std::path::{Path, PathBuf};

use cli::{BadInput, bail_input};

use crate::source::configs::{self, Dataset};
use crate::source::hub;

/// What a dataset's files are called.
const EXTENSIONS: [&str; 7] = ["json", "jsonl", "ndjson", "parquet", "arrow", "gz", "zst"];

/// The splits that have keywords, and the keywords, in the order in which `datasets` looks for them.
const KEYWORDS: [(&str, &[&str]); 3] = [
    ("train", &["train", "training"]),
    ("validation", &["validation", "valid", "dev", "val"]),
    ("test", &["test", "testing", "eval", "evaluation"]),
];

/// What stands around a keyword in a path.
const SEPARATORS: &str = "-._ 0123456789/";

/// Files that describe a dataset and hold no row of it.
const NOT_DATA: [&str; 3] = ["config.json", "dataset_infos.json", "dataset_dict.json"];

/// Whether the dataset lies below the working directory.
#[must_use]
pub fn is_local(name: &str) -> bool {
    Path::new(name).is_dir()
}

/// The named files of a dataset.
pub fn files(name: &str, data_files: &[String]) -> anyhow::Result<Vec<PathBuf>> {
    let folder = folder(name)?;
    let mut files = Vec::new();
    for data_file in data_files {
        let path = folder.join(data_file);
        if !path.is_file() {
            let there = list(&folder)?;
            bail_input!(
                "{}: no such file\nhint: the files there are: {}",
                path.display(),
                there.join(", ")
            );
        }
        files.push(path);
    }
    Ok(files)
}

/// The files of one split of a dataset.
pub fn split_files<'n>(
    dataset: impl Into<Dataset<'n>>,
    split: &str,
) -> anyhow::Result<Vec<PathBuf>> {
    let dataset = dataset.into();
    let name = dataset.name;
    let folder = folder(name)?;
    let there = list(&folder)?;
    if there.is_empty() {
        bail_input!(
            "{name}: there are no data files in this folder\n\
             hint: fetch them with `hf download --repo-type dataset {name} --local-dir {name}`"
        );
    }
    if let Some(splits) = dataset.told(&folder, &there)? {
        let Some((_, found)) = splits.iter().find(|(it, _)| it == split) else {
            let splits: Vec<_> = splits.iter().map(|(it, _)| format!("`{it}`")).collect();
            bail_input!(
                "{name}: its `README.md` names no split `{split}`\nhint: there are {}",
                splits.join(", ")
            );
        };
        return Ok(found.iter().map(|file| folder.join(file)).collect());
    }
    let found = of_split(&there, split);
    if found.is_empty() {
        bail_input!(
            "{name}: no file belongs to the split `{split}`\nhint: the files there are: {}",
            there.join(", ")
        );
    }
    Ok(found.into_iter().map(|file| folder.join(file)).collect())
}

/// The files of all splits of a dataset: train, validation, test, then others by name.
pub fn all_files(name: &str) -> anyhow::Result<Vec<PathBuf>> {
    let folder = folder(name)?;
    let there = list(&folder)?;
    if let Some(splits) = Dataset::from(name).told(&folder, &there)? {
        return Ok(splits
            .into_iter()
            .flat_map(|(_, files)| files)
            .map(|it| folder.join(it))
            .collect());
    }
    let mut splits: Vec<&str> = there.iter().filter_map(|file| split_of_shard(file)).collect();
    splits.sort_unstable();
    splits.dedup();
    splits.retain(|split| KEYWORDS.iter().all(|(known, _)| known != split));
    splits.splice(..0, KEYWORDS.map(|(split, _)| split));
    let files: Vec<_> = splits
        .into_iter()
        .flat_map(|split| of_split(&there, split))
        .map(|file| folder.join(file))
        .collect();
    if files.is_empty() {
        bail_input!("{name}: there are no data files in this folder");
    }
    Ok(files)
}

fn folder(name: &str) -> anyhow::Result<PathBuf> {
    if is_local(name) {
        return Ok(PathBuf::from(name));
    }
    hub::folder(name, is_data, configs::README)
}

/// Whether a file is called like one with data.
#[must_use]
pub fn is_data(file: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or(file);
    let extension = Path::new(file).extension();
    !file.split('/').any(is_hidden)
        && !NOT_DATA.contains(&name)
        && extension.is_some_and(|it| EXTENSIONS.iter().any(|e| it.eq_ignore_ascii_case(e)))
}

/// Whether `datasets` passes over a file or folder of this name.
fn is_hidden(name: &str) -> bool {
    name.starts_with('.') || name.starts_with("__")
}

/// The data files below a folder, as relative paths with `/`, sorted; hidden ones do not count.
fn list(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(below) = folders.pop() {
        for entry in fs_err::read_dir(folder.join(&below)).bad_input()? {
            let entry = entry.bad_input()?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_hidden(&name) {
                continue;
            }
            let path = format!("{below}{name}");
            if entry.path().is_dir() {
                folders.push(path + "/");
            } else if is_data(&name) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The files of a split; `files` are sorted.
fn of_split(files: &[String], split: &str) -> Vec<String> {
    if files.iter().any(|file| split_of_shard(file).is_some()) {
        return files.iter().filter(|file| split_of_shard(file) == Some(split)).cloned().collect();
    }
    if KEYWORDS.iter().any(|(_, keywords)| !by_keywords(files, keywords).is_empty()) {
        let keywords = KEYWORDS.iter().find(|(name, _)| *name == split);
        return keywords.map(|(_, keywords)| by_keywords(files, keywords)).unwrap_or_default();
    }
    // Beyond `datasets`: a split of its own name, such as a language, may also be told by the files' names.
    if split == "train" { files.to_vec() } else { by_keywords(files, &[split]) }
}

/// The split of `data/<split>-00000-of-00001.parquet`.
fn split_of_shard(file: &str) -> Option<&str> {
    let is_number = |text: &str| text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit());
    let (rest, of) = file.strip_prefix("data/")?.rsplit_once("-of-")?;
    let (split, part) = rest.rsplit_once('-')?;
    let (n_parts, name) = of.split_at_checked(5)?;
    let is_file = !file["data/".len()..].contains('/') && name.contains('.');
    (is_file && is_number(part) && is_number(n_parts)).then_some(split)
}

/// The files with a keyword in their path.
///
/// For one keyword after the other: first the paths that begin with it, then those with it between separators. Each file
/// comes once, where `datasets` reads one such as `train/train_1.json` twice.
fn by_keywords(files: &[String], keywords: &[&str]) -> Vec<String> {
    let is_separator = |c: Option<char>| c.is_some_and(|c| SEPARATORS.contains(c));
    let mut found: Vec<String> = Vec::new();
    for keyword in keywords {
        let ends = |file: &str, end: usize| is_separator(file[end..].chars().next());
        let begins =
            |file: &&String| file.starts_with(keyword) && ends(file.as_str(), keyword.len());
        let has = |file: &&String| {
            file.match_indices(keyword).any(|(at, _)| {
                is_separator(file[..at].chars().next_back())
                    && ends(file.as_str(), at + keyword.len())
            })
        };
        for file in files.iter().filter(begins).chain(files.iter().filter(has)) {
            if !found.contains(file) {
                found.push(file.clone());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(files: &[&str], split: &str, expected: &[&str]) {
        let files: Vec<String> = files.iter().map(ToString::to_string).collect();
        assert_eq!(of_split(&files, split), expected);
    }

    #[test]
    fn names_say_the_split() {
        check(&["train.jsonl", "validation.jsonl"], "validation", &["validation.jsonl"]);
        check(&["a_test_1.json", "b.json", "my-train.json"], "train", &["my-train.json"]);
        check(&["val/a.json", "train/b.json"], "validation", &["val/a.json"]);
    }

    #[test]
    fn shards_in_the_data_folder_come_first() {
        let files = ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"];
        check(&[files[0], files[1], "train_old.json"], "train", &files);
    }

    // The expected orders are those of `datasets` 2.14.4.

    #[test]
    fn any_name_may_stand_before_the_number_of_a_shard() {
        let files = ["data/test-00000-of-00001.json", "data/train_eli5-00000-of-00001-0a1b.json"];
        check(&files, "train_eli5", &files[1..]);
        check(&files, "train", &[]);
        check(
            &["data/train-00000-of-00001/x.json"],
            "train",
            &["data/train-00000-of-00001/x.json"],
        );
    }

    #[test]
    fn paths_that_begin_with_a_keyword_come_first_and_keywords_come_one_by_one() {
        let files = ["a/train_1.json", "my-train-0.json", "train.json", "training/x.json"];
        check(&files, "train", &[files[2], files[0], files[1], files[3]]);
        let files = ["eval.json", "my-test-1.json", "test_0.json", "train.json"];
        check(&files, "test", &[files[2], files[1], files[0]]);
        check(&["Test.json", "Train.json"], "train", &["Test.json", "Train.json"]);
    }

    #[test]
    fn files_that_name_no_split_are_all_train() {
        check(&["a.json", "trainer.json"], "train", &["a.json", "trainer.json"]);
        check(&["a.json"], "test", &[]);
    }
}
