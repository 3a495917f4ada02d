//! A run's model, optimizer and state <-> disk, bit for bit, whatever the layout of the ranks.
//!
//! A checkpoint is a folder `<out>/checkpoints/step-0000040`:
//!
//! | file | content |
//! |---|---|
//! | `model.safetensors` | the masters in fp32, by Hugging Face's names |
//! | `exp_avg.safetensors`, `exp_avg_sq.safetensors` | AdamW's moments, by the same names |
//! | `config.json` | the model's shape |
//! | `checkpoint.json` | where the run stands, its configuration, what it began with, which box of which tensor is in which file, and the SHA-256 of every other file; written last |
//!
//! Where several ranks write, each has files of its own (`model-00001-of-00002.safetensors`) with the boxes that it keeps,
//! named as `NAME[rows,columns]`. A reader takes the numbers that it needs, whatever its own layout.
//!
//! The folder is filled under another name and renamed when it is whole: after every rank's files are on the disk and rank
//! 0 has written their hashes. A file that was changed since is found by its hash.

pub mod part;
mod record;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use cli::BadInput;
use fs_err as fs;
use shards::atomic::{self, StagedFolder};
use shards::hash::FileHash;
use tch::Kind;

use crate::checkpoint::part::Part;
use crate::checkpoint::record::{FILE, KINDS, Places, VERSION, part_file};
use crate::fault::{Fault, planted};
use crate::llama_config::LlamaConfig;
use crate::params::{Model, Moments};
use crate::ranks::Ranks;
use crate::state::TrainState;
use crate::stored::{self, Stored};
use crate::weights;

pub use crate::checkpoint::record::{Origin, Record};

const CONFIG: &str = "config.json";

/// What is saved beside tensors.
#[derive(Clone, Debug)]
pub struct About {
    /// The model's shape.
    pub model: LlamaConfig,
    /// Where the run stands.
    pub state: TrainState,
    /// The run's configuration.
    pub config: serde_json::Value,
    /// What it began with.
    pub origin: Origin,
}

/// The folder of a checkpoint that is being written.
#[derive(Debug)]
pub struct Staged(StagedFolder);

/// The folder of the checkpoint after some step.
pub fn path(out: &Path, step: u64) -> PathBuf {
    folder(out).join(format!("step-{step:07}"))
}

impl Staged {
    /// Begins a checkpoint.
    pub fn create(target: &Path) -> Result<Self> {
        Ok(Self(StagedFolder::create(target)?))
    }

    /// Where its files go.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Makes a checkpoint of the parts that were written into the folder.
    pub fn commit(self, target: &Path, about: About, parts: Vec<Part>) -> Result<()> {
        let at = |name: &str| self.path().join(name);
        let n_parts = parts.len();
        let (mut files, mut tensors) = (Vec::new(), BTreeMap::<String, Places>::new());
        for part in parts {
            files.extend(part.files);
            for (name, Places { shape, boxes }) in part.tensors {
                let places = tensors.entry(name);
                places.or_insert_with(|| Places { shape, boxes: Vec::new() }).boxes.extend(boxes);
            }
        }
        let About { model, state, config, origin } = about;
        atomic::write_json(&at(CONFIG), &model.to_json(Kind::Float))?;
        files.push(FileHash::of(&at(CONFIG), CONFIG)?);
        let record = Record {
            version: VERSION,
            program: concat!("trainer ", env!("CARGO_PKG_VERSION")).to_string(),
            state,
            config,
            origin,
            parts: n_parts,
            tensors,
            files,
        };
        atomic::write_json(&at(FILE), &record)?;
        if target.exists() {
            // Left from before a resume from an older checkpoint: what is saved now takes its place.
            remove(target)?;
        }
        Ok(self.0.commit()?)
    }
}

/// How many bytes a checkpoint of so many parameters takes, about: three `f32` each, and a little beside them.
pub fn bytes(parameters: i64) -> u64 {
    3 * 4 * parameters.unsigned_abs() + (1 << 20)
}

/// The newest checkpoint of a run, if it has any.
pub fn latest(out: &Path) -> Result<Option<PathBuf>> {
    Ok(all(out)?.pop())
}

/// What to say of a folder that is newer than the newest checkpoint and is not a whole one, if there is such a folder.
pub fn cut_short(out: &Path) -> Result<Option<String>> {
    let Some(newest) = step_folders(out)?.pop().filter(|it| !is_checkpoint(it)) else {
        return Ok(None);
    };
    let instead = match latest(out)? {
        Some(latest) => format!("`{}` is taken instead", latest.display()),
        None => "there is no older checkpoint".to_string(),
    };
    Ok(Some(format!("`{}` has no `{FILE}`, so it is not whole: {instead}", newest.display())))
}

/// Reads what is no tensor, and compares every file with its hash.
pub fn open(checkpoint: &Path) -> Result<Record> {
    open_on(&Ranks::alone(), checkpoint)
}

/// The same by several ranks, which share the files among them.
pub fn open_on(ranks: &Ranks, checkpoint: &Path) -> Result<Record> {
    let read = || -> Result<Record> {
        let record = Record::read(checkpoint)?;
        record.verify(checkpoint, ranks.rank(), ranks.size())?;
        Ok(record)
    };
    ranks.agree(read().map_err(|error| damaged(checkpoint, &error)).bad_input())
}

/// Brings model and optimizer to where a checkpoint has them, whatever the layout that wrote it. Each rank reads what it
/// keeps; says how many bytes that were on this one.
pub fn load(
    checkpoint: &Path,
    record: &Record,
    model: &mut Model,
    moments: &mut [Moments],
) -> Result<u64> {
    let fill = || -> Result<u64> {
        let model = &*model;
        let [masters, means, squares] = tensors(checkpoint, record)?;
        weights::fill_units(&masters, model, |unit| &model.units[unit].master)?;
        if planted(Fault::NoMoments) {
            return Ok(masters.bytes_read());
        }
        weights::fill_units(&means, model, |unit| &moments[unit].exp_avg)?;
        weights::fill_units(&squares, model, |unit| &moments[unit].exp_avg_sq)?;
        Ok([masters, means, squares].iter().map(Stored::bytes_read).sum())
    };
    let filled = fill().with_context(|| checkpoint.display().to_string()).bad_input();
    let bytes = model.mesh().world.agree(filled)?;
    model.refresh()?;
    Ok(bytes)
}

/// A checkpoint's masters and both moments, in `f32`, by the parameters' names.
pub fn tensors(checkpoint: &Path, record: &Record) -> Result<[Stored; 3]> {
    let [masters, means, squares] = KINDS.map(|kind| stored(checkpoint, record, kind));
    Ok([masters?, means?, squares?])
}

/// A checkpoint's weights alone, in `f32`, and where the run stood.
pub fn open_weights(checkpoint: &Path) -> Result<(Stored, TrainState)> {
    let record = open(checkpoint)?;
    Ok((stored(checkpoint, &record, KINDS[0]).bad_input()?, record.state))
}

/// Whether a folder is a checkpoint.
pub fn is_checkpoint(path: &Path) -> bool {
    path.join(FILE).is_file()
}

impl Record {
    /// Where the run stood.
    pub fn state(&self) -> TrainState {
        self.state
    }

    /// The configuration that it had.
    pub fn config(&self) -> &serde_json::Value {
        &self.config
    }

    /// What it began with.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

/// Which checkpoints stay on disk.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// So many of the newest.
    pub last: usize,
    /// Every one of a step that this divides.
    pub every: Option<u64>,
    /// The one of this step.
    pub best: Option<u64>,
}

/// Removes all checkpoints that need not be kept, and what is left of any.
pub fn prune(out: &Path, keep: Keep) -> Result<()> {
    let (mut old, broken): (Vec<PathBuf>, Vec<PathBuf>) =
        step_folders(out)?.into_iter().partition(|path| is_checkpoint(path));
    let Some(newest) = old.last().cloned() else { return Ok(()) };
    old.truncate(old.len().saturating_sub(keep.last.max(1)));
    old.retain(|path| {
        let step = step(path).unwrap_or_default();
        let kept = keep.every.is_some_and(|every| step.is_multiple_of(every));
        !kept && keep.best != Some(step)
    });
    let broken = broken.into_iter().filter(|path| *path < newest);
    for path in old.into_iter().chain(broken) {
        remove(&path)?;
    }
    Ok(())
}

/// Clears away what a killed process had begun to write. The caller holds the run's folder: nobody writes there now.
pub fn clear_partial(out: &Path) -> Result<()> {
    let folder = folder(out);
    if !folder.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with(".step-") && name.ends_with(".partial") {
            fs::remove_dir_all(&path)?;
        }
    }
    Ok(())
}

/// How many checkpoints a run has.
pub fn count(out: &Path) -> Result<usize> {
    Ok(all(out)?.len())
}

/// What makes it a checkpoint goes first: half of one is never taken for a whole one.
fn remove(checkpoint: &Path) -> Result<()> {
    if is_checkpoint(checkpoint) {
        fs::remove_file(checkpoint.join(FILE))?;
    }
    Ok(fs::remove_dir_all(checkpoint)?)
}

/// What to say of a damaged checkpoint, and which one to go on from instead.
fn damaged(checkpoint: &Path, error: &anyhow::Error) -> anyhow::Error {
    let older = checkpoint.parent().and_then(Path::parent).and_then(|out| all(out).ok());
    let older = older.unwrap_or_default().into_iter().rfind(|it| it.as_path() < checkpoint);
    let remedy = match older {
        Some(older) => format!("remove it to go on from `{}`", older.display()),
        None => "there is no older one: remove it to begin anew".to_string(),
    };
    anyhow!("the checkpoint `{}` is damaged: {error:#}\nhint: {remedy}", checkpoint.display())
}

/// The checkpoints of a run, oldest first.
fn all(out: &Path) -> Result<Vec<PathBuf>> {
    let mut found = step_folders(out)?;
    found.retain(|path| is_checkpoint(path));
    Ok(found)
}

/// Everything that is named as a checkpoint, oldest first.
fn step_folders(out: &Path) -> Result<Vec<PathBuf>> {
    let folder = folder(out);
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if step(&path).is_some() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The step of a checkpoint's folder, by its name.
fn step(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix("step-")?.parse().ok()
}

fn folder(out: &Path) -> PathBuf {
    out.join("checkpoints")
}

/// The tensors of one kind: masters or moments.
fn stored(checkpoint: &Path, record: &Record, kind: &str) -> Result<Stored> {
    let tensor = |(name, places): (&String, &Places)| {
        let parts = places.boxes.iter().map(|place| stored::Part {
            path: checkpoint.join(part_file(kind, place.part, record.parts)),
            key: place.extent().key(name, &places.shape),
            offset: place.offset.clone(),
            size: place.size.clone(),
        });
        (name.clone(), (places.shape.clone(), parts.collect()))
    };
    Stored::open_parts(&record.tensors.iter().map(tensor).collect())
}
