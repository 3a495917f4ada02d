//! A configuration -> the files that a run begins with, by their hashes: another base or other shards are another run.

use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow};
use fs_err as fs;
use shards::hash::FileHash;

use crate::adapter;
use crate::checkpoint::Origin;
use crate::config::Config;

/// The hashes of a run's files, which are computed while it trains: those of a base of 26 GB take their time.
#[derive(Debug)]
pub struct Hashing {
    thread: Option<JoinHandle<Result<Origin>>>,
    done: Origin,
}

impl Hashing {
    /// Begins.
    pub fn start(config: &Config) -> Result<Self> {
        let (base, shards) = (base_files(config)?, shard_files(config));
        let hash = move || {
            let hash = |path: &PathBuf| FileHash::of(path, path.to_string_lossy());
            Ok(Origin {
                base: base.iter().map(hash).collect::<Result<_, _>>()?,
                shards: shards.iter().map(hash).collect::<Result<_, _>>()?,
            })
        };
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
    let hash = |path: &PathBuf| FileHash::of(path, path.to_string_lossy());
    let base = base_files(config)?.iter().map(hash).collect::<Result<_, _>>()?;
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

fn shard_files(config: &Config) -> Vec<PathBuf> {
    let prefixes = [Some(&config.data.train), config.data.validation.as_ref()];
    let files = prefixes.into_iter().flatten().flat_map(|prefix| {
        ["text.bin", "text.idx", "role.bin", "role.idx"]
            .map(|ending| PathBuf::from(format!("{}-{ending}", prefix.display())))
    });
    files.collect()
}
