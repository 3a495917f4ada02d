//! What `path` of a datamix says -> files.
//!
//! | `path` | files |
//! |---|---|
//! | a file | itself |
//! | a pattern with `*`, `?` or `[..]` | those that it matches, sorted by name |
//! | a folder | those of the split, as in a dataset of the Hugging Face hub |
//! | `org/name`, or `hf://datasets/org/name` | the same, of the dataset: from the cache of Hugging Face, or fetched |
//! | `hf://datasets/org/name/file` | this file of the dataset |

use std::path::{Path, PathBuf};

use cli::bail_input;
use glob::MatchOptions;

use crate::source::configs::Dataset;
use crate::source::repository;

/// The files of all these paths, in their order; of datasets with several configurations those of `config`.
pub fn files(paths: &[String], config: Option<&str>, split: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        let of_hub = path.strip_prefix("hf://datasets/");
        let path = of_hub.unwrap_or(path);
        if let Some((dataset, file)) = of_hub.and_then(dataset_and_file) {
            files.extend(repository::files(dataset, &[file.to_owned()])?);
        } else if let Some((scheme, _)) = path.split_once("://") {
            bail_input!(
                "`path: {path}`: what stands at `{scheme}://` is not read\nhint: copy it to this machine, and give the path of a file or folder; `hf://datasets/org/name` is fetched"
            );
        } else if Path::new(path).is_file() {
            files.push(PathBuf::from(path));
        } else if path.contains(['*', '?', '[']) {
            files.extend(matching(path)?);
        } else if !Path::new(path).is_dir() && !is_dataset(path) {
            bail_input!(
                "`path: {path}`: there is no such file or folder\nhint: a path starts at the working folder; a dataset of the hub is called `org/name`"
            );
        } else {
            files.extend(repository::split_files(Dataset::named(path, config), split)?);
        }
    }
    Ok(files)
}

/// The two parts of `org/name/file`.
fn dataset_and_file(path: &str) -> Option<(&str, &str)> {
    let (end, _) = path.match_indices('/').nth(1)?;
    let (dataset, file) = (&path[..end], &path[end + 1..]);
    (!file.is_empty()).then_some((dataset, file))
}

/// Whether this can be a dataset, and is no mistyped file.
fn is_dataset(path: &str) -> bool {
    path.split('/').count() == 2 && !repository::is_data(path)
}

fn matching(pattern: &str) -> anyhow::Result<Vec<PathBuf>> {
    // As in a shell, `*` is no hidden file: those are what other programs have not finished, or note for themselves.
    let options = MatchOptions { require_literal_leading_dot: true, ..MatchOptions::new() };
    let found = match glob::glob_with(pattern, options) {
        Ok(found) => found,
        Err(error) => bail_input!("`path: {pattern}`: this is no pattern: {error}"),
    };
    // The library hands paths over in alphabetical order.
    let files: Vec<PathBuf> = found.filter_map(Result::ok).filter(|it| it.is_file()).collect();
    if files.is_empty() {
        bail_input!(
            "`path: {pattern}`: no file matches\nhint: a path starts at the working folder; `**` reaches into folders"
        );
    }
    Ok(files)
}
