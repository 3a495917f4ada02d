//! A run's model, optimizer and state <-> disk, bit for bit.
//!
//! A checkpoint is a folder `<out>/checkpoints/step-0000040`:
//!
//! | file | content |
//! |---|---|
//! | `model.safetensors` | the masters in fp32, by Hugging Face's names |
//! | `exp_avg.safetensors`, `exp_avg_sq.safetensors` | AdamW's moments, by the same names |
//! | `config.json` | the model's shape |
//! | `checkpoint.json` | where the run stands, and the SHA-256 of every other file; written last |
//!
//! It is filled under another name and renamed when it is whole. A file that was changed since is found by its hash.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use cli::BadInput;
use fs_err as fs;
use serde::{Deserialize, Serialize};
use shards::atomic::{self, StagedFolder};
use shards::hash::FileHash;
use tch::{Kind, Tensor};

use crate::params::{Model, Moments, ParamSpec};
use crate::state::TrainState;
use crate::stored::Stored;
use crate::weights::{self, Source};

const VERSION: u32 = 1;
const LAST: &str = "checkpoint.json";
const MODEL: &str = "model.safetensors";
const MOMENTS: [&str; 2] = ["exp_avg.safetensors", "exp_avg_sq.safetensors"];
const CONFIG: &str = "config.json";

/// `checkpoint.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    version: u32,
    state: TrainState,
    files: Vec<FileHash>,
}

/// Saves a run, and then removes all but the newest `keep` checkpoints and the one of the step `best`.
pub fn save(
    out: &Path,
    keep: usize,
    best: Option<u64>,
    model: &Model,
    moments: &[Moments],
    state: &TrainState,
) -> Result<PathBuf> {
    let target = folder(out).join(format!("step-{:07}", state.step));
    let saved = || -> Result<()> {
        let staged = StagedFolder::create(&target)?;
        let at = |name: &str| staged.path().join(name);
        write(&at(MODEL), &weights::parameters(model))?;
        for (name, places) in MOMENTS.iter().zip(moment_places(model, moments)) {
            write(&at(name), &places)?;
        }
        atomic::write_json(&at(CONFIG), &model.config.to_json(Kind::Float))?;

        let names = [MODEL, MOMENTS[0], MOMENTS[1], CONFIG];
        let files =
            names.iter().map(|name| FileHash::of(&at(name), *name)).collect::<Result<_, _>>()?;
        let record = Record { version: VERSION, state: *state, files };
        atomic::write_json(&at(LAST), &record)?;
        if target.exists() {
            // Left from before a resume from an older checkpoint: what is saved now takes its place.
            fs::remove_dir_all(&target)?;
        }
        Ok(staged.commit()?)
    };
    saved().with_context(|| {
        format!("saving `{}` failed; what was saved before is still there", target.display())
    })?;
    let mut all = all(out)?;
    all.truncate(all.len().saturating_sub(keep.max(1)));
    let best = best.map(|step| folder(out).join(format!("step-{step:07}")));
    all.retain(|old| Some(old) != best.as_ref());
    for old in all {
        fs::remove_dir_all(old)?;
    }
    Ok(target)
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
    Ok(Some(format!("`{}` has no `{LAST}`, so it is not whole: {instead}", newest.display())))
}

/// Brings model and optimizer to where a checkpoint has them and says where the run stands.
pub fn load(checkpoint: &Path, model: &mut Model, moments: &mut [Moments]) -> Result<TrainState> {
    let state = verify(checkpoint)?;
    let fill = || -> Result<()> {
        weights::fill(&stored(checkpoint, MODEL)?, &weights::parameters(model))?;
        for (name, places) in MOMENTS.iter().zip(moment_places(model, moments)) {
            weights::fill(&stored(checkpoint, name)?, &places)?;
        }
        Ok(())
    };
    fill().with_context(|| checkpoint.display().to_string()).bad_input()?;
    model.refresh();
    Ok(state)
}

/// A checkpoint's weights alone, in `f32`, and where the run stood.
pub fn open_weights(checkpoint: &Path) -> Result<(Stored, TrainState)> {
    let state = verify(checkpoint)?;
    Ok((stored(checkpoint, MODEL).bad_input()?, state))
}

/// Whether a folder is a checkpoint.
pub fn is_checkpoint(path: &Path) -> bool {
    path.join(LAST).is_file()
}

/// Compares every file with its hash.
fn verify(checkpoint: &Path) -> Result<TrainState> {
    let check = || -> Result<TrainState> {
        let path = checkpoint.join(LAST);
        let text = fs::read_to_string(&path)?;
        let record: Record =
            serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        if record.version != VERSION {
            bail!(
                "`{}` has the version {}, and this program reads {VERSION}",
                path.display(),
                record.version
            );
        }
        for expected in &record.files {
            let path = checkpoint.join(&expected.path);
            let found = FileHash::of(&path, expected.path.as_str())?;
            if found.bytes != expected.bytes {
                bail!(
                    "`{}` has {} bytes, expected {}",
                    path.display(),
                    found.bytes,
                    expected.bytes
                );
            }
            if found != *expected {
                bail!(
                    "`{}` was changed after it was written: its SHA-256 is another one",
                    path.display()
                );
            }
        }
        Ok(record.state)
    };
    check().map_err(|error| damaged(checkpoint, &error)).bad_input()
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
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        if name.is_some_and(|name| name.starts_with("step-")) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn folder(out: &Path) -> PathBuf {
    out.join("checkpoints")
}

fn stored(checkpoint: &Path, name: &str) -> Result<Stored> {
    Stored::open_files(&[checkpoint.join(name)])
}

fn write(path: &Path, tensors: &[(ParamSpec, Tensor)]) -> Result<()> {
    let sources: Vec<Source<'_>> =
        tensors.iter().map(|(spec, it)| Source::tensor(spec.name.as_str(), it)).collect();
    weights::write_file(path, &sources, Kind::Float)?;
    Ok(())
}

/// Both moments of every parameter, each under the parameter's name.
fn moment_places(model: &Model, moments: &[Moments]) -> [Vec<(ParamSpec, Tensor)>; 2] {
    let places = |flat: fn(&Moments) -> &Tensor| {
        let units = model.units.iter().zip(moments);
        let of_unit = units.flat_map(|(unit, moments)| {
            unit.spec.params.iter().cloned().zip(unit.spec.views(flat(moments)))
        });
        of_unit.collect()
    };
    [places(|moments| &moments.exp_avg), places(|moments| &moments.exp_avg_sq)]
}
