//! A Hugging Face dataset name -> the files of one split.
//!
//! The name is a folder below the working directory, as `datasets.load_dataset` takes it too, or a dataset of the hub
//! ([`crate::source::hub`]). Which file belongs to which split, its name says, by the rules of `datasets` 2.14 (`data_files.py`): first `data/<split>-00000-of-00001.*`;
//! else a keyword of the split between separators in the path; else everything is `train`.

use std::path::{Path, PathBuf};

use cli::{BadInput, bail_input};

use crate::source::hub;

/// What a dataset's files are called.
const EXTENSIONS: [&str; 7] = ["json", "jsonl", "ndjson", "parquet", "arrow", "gz", "zst"];

/// The words in a path that name a split.
const KEYWORDS: [(&str, &[&str]); 3] = [
    ("train", &["train", "training"]),
    ("validation", &["validation", "valid", "dev", "val"]),
    ("test", &["test", "testing", "eval", "evaluation"]),
];

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

/// The files of one split of a dataset, sorted by name.
pub fn split_files(name: &str, split: &str) -> anyhow::Result<Vec<PathBuf>> {
    let folder = folder(name)?;
    let there = list(&folder)?;
    if there.is_empty() {
        bail_input!(
            "{name}: there are no data files in this folder\n\
             hint: fetch them with `hf download --repo-type dataset {name} --local-dir {name}`"
        );
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

/// The files of all splits of a dataset: train, validation, test, each sorted by name.
pub fn all_files(name: &str) -> anyhow::Result<Vec<PathBuf>> {
    let folder = folder(name)?;
    let there = list(&folder)?;
    let splits = KEYWORDS.iter().flat_map(|(split, _)| of_split(&there, split));
    let files: Vec<_> = splits.map(|file| folder.join(file)).collect();
    if files.is_empty() {
        bail_input!("{name}: there are no data files in this folder");
    }
    Ok(files)
}

fn folder(name: &str) -> anyhow::Result<PathBuf> {
    if is_local(name) {
        return Ok(PathBuf::from(name));
    }
    hub::folder(name, is_data)
}

/// Whether a file is called like one with data.
#[must_use]
pub fn is_data(file: &str) -> bool {
    let is_hidden = |part: &str| part.starts_with(['.', '_']);
    let extension = Path::new(file).extension();
    !file.split('/').any(is_hidden)
        && extension.is_some_and(|it| EXTENSIONS.iter().any(|e| it.eq_ignore_ascii_case(e)))
}

/// The data files below a folder, as relative paths with `/`, sorted; hidden ones do not count.
fn list(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(below) = folders.pop() {
        for entry in fs_err::read_dir(folder.join(&below)).bad_input()? {
            let entry = entry.bad_input()?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(['.', '_']) {
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

fn of_split(files: &[String], split: &str) -> Vec<String> {
    if files.iter().any(|file| KEYWORDS.iter().any(|(name, _)| is_shard(file, name))) {
        return files.iter().filter(|file| is_shard(file, split)).cloned().collect();
    }
    let named = |file: &str, split: &str| {
        let own = [split];
        let words =
            KEYWORDS.iter().find(|(name, _)| *name == split).map_or(&own[..], |(_, words)| words);
        path_words(file).any(|word| words.contains(&word.to_lowercase().as_str()))
    };
    let any_named = files.iter().any(|file| KEYWORDS.iter().any(|(name, _)| named(file, name)));
    if any_named || split != "train" {
        files.iter().filter(|file| named(file, split)).cloned().collect()
    } else {
        files.to_vec()
    }
}

/// `data/<split>-00000-of-00001.parquet`.
fn is_shard(file: &str, split: &str) -> bool {
    let rest = file.strip_prefix("data/").and_then(|file| file.strip_prefix(split));
    let Some((part, of)) = rest.and_then(|rest| rest.strip_prefix('-')?.split_once("-of-")) else {
        return false;
    };
    part.len() == 5
        && part.bytes().all(|b| b.is_ascii_digit())
        && of.starts_with(|c: char| c.is_ascii_digit())
}

/// The words of a path: what stands between `-`, `.`, `_`, `/`, blanks and digits.
fn path_words(file: &str) -> impl Iterator<Item = &str> {
    file.split(|c: char| "-._ /".contains(c) || c.is_ascii_digit())
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

    #[test]
    fn files_that_name_no_split_are_all_train() {
        check(&["a.json", "trainer.json"], "train", &["a.json", "trainer.json"]);
        check(&["a.json"], "test", &[]);
    }
}
