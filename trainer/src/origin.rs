//! A configuration -> the files that a run begins with, by their hashes: another base or other shards are another run.
//!
//! Shards are small and hashed before anything is loaded, so that they can be held against their manifest; a base of 26 GB
//! takes its time, and is hashed while the run trains.

use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow};
use fs_err as fs;
use shards::hash::FileHash;

use crate::adapter;
use crate::checkpoint::Origin;
use crate::config::Config;

/// The hashes of a run's files; those of the base are computed while it trains.
#[derive(Debug)]
pub struct Hashing {
    thread: Option<JoinHandle<Result<Origin>>>,
    done: Origin,
}

impl Hashing {
    /// Begins, with the hashes of the shards.
    pub fn start(config: &Config, shards: Vec<FileHash>) -> Result<Self> {
        let base = base_files(config)?;
        let hash = move || Ok(Origin { base: hash(&base)?, shards });
        let thread = thread::Builder::new().name("hashes".into()).spawn(hash)?;
        Ok(Self { thread: Some(thread), done: Origin::default() })
    }

    /// Waits for them.
    pub fn get(&mut self) -> Result<&Origin> {
        if let Some(thread) = self.thread.take() {
            let done = thread.join().map_err(|_| anyhow!("the thread that hashes files ended"))?;
            self.done = done.context("hashing what the run begins with")?;
        }
        Ok(&self.done)
    }
}

/// What differs between the base model that a run began with and the one that is there now.
pub fn base_differences(before: &Origin, config: &Config) -> Result<Vec<String>> {
    let base = hash(&base_files(config)?)?;
    Ok(differences(before, &Origin { base, shards: before.shards.clone() }))
}

/// What differs between the files that a run began with and those of now, by name.
pub fn differences(before: &Origin, now: &Origin) -> Vec<String> {
    let mut changed = Vec::new();
    for (before, now) in [(&before.base, &now.base), (&before.shards, &now.shards)] {
        let name = |file: &FileHash| {
            Path::new(&file.path).file_name().map(|name| name.to_string_lossy().into_owned())
        };
        for file in before {
            match now.iter().find(|it| name(it) == name(file)) {
                None => changed.push(format!("`{}` is gone", file.path)),
                Some(it) if (it.bytes, &it.sha256) != (file.bytes, &file.sha256) => {
                    changed.push(format!("`{}` has another content", it.path));
                }
                Some(_) => {}
            }
        }
    }
    changed
}

/// `config.json` and every file of weights; of an adapter that the run begins with, both files.
fn base_files(config: &Config) -> Result<Vec<PathBuf>> {
    let base = &config.model.base;
    let mut files = Vec::new();
    for entry in fs::read_dir(base)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let weights = name.ends_with(".safetensors") || name.ends_with(".bin");
        if weights || name == "config.json" {
            files.push(path);
        }
    }
    files.sort();
    if let Some(adapter) = config.lora.as_ref().and_then(|it| it.adapter.as_ref()) {
        files.extend([adapter::CONFIG, adapter::WEIGHTS].map(|name| adapter.join(name)));
    }
    Ok(files)
}

/// The files of the shards with these prefixes.
pub fn shards<'a>(prefixes: impl IntoIterator<Item = &'a PathBuf>) -> Result<Vec<FileHash>> {
    let files = prefixes.into_iter().flat_map(|prefix| {
        ["text.bin", "text.idx", "role.bin", "role.idx"]
            .map(|ending| PathBuf::from(format!("{}-{ending}", prefix.display())))
    });
    hash(&files.collect::<Vec<_>>())
}

fn hash(files: &[PathBuf]) -> Result<Vec<FileHash>> {
    files.iter().map(|path| Ok(FileHash::of(path, path.to_string_lossy())?)).collect()
}
