//! Checkpoints in the background: training waits for nothing but what an update would overwrite.
//!
//! Every rank writes its part from a snapshot, in a thread of its own. When all parts are on the disk, rank 0 makes a
//! checkpoint of them: it writes down their hashes and renames the folder. One is written at a time. Where that stands is
//! asked for at every step, and by all ranks at once, so that what went wrong on one of them ends all with its error.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use cli::bail_input;
use fs_err as fs;
use shards::atomic;

use crate::checkpoint::part::{self, Part};
use crate::checkpoint::{self, About, Keep, Staged};
use crate::optimizer::AdamW;
use crate::params::Model;
use crate::ranks::Ranks;
use crate::snapshot;

/// Writes a run's checkpoints, with those of the other ranks.
#[derive(Debug)]
pub struct Saver {
    ranks: Rc<Ranks>,
    out: PathBuf,
    /// How much may be copied beyond the largest unit.
    buffer: u64,
    saving: Option<Saving>,
}

/// A checkpoint that is being written.
#[derive(Debug)]
struct Saving {
    target: PathBuf,
    keep: Keep,
    bytes: u64,
    pause: Duration,
    /// How long this rank has written up to now.
    writing: Duration,
    /// What rank 0 makes of the parts.
    lead: Option<(Staged, About)>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Each rank writes its part, and finds how long updates were held up by that.
    Parts(JoinHandle<Result<Written>>),
    /// Rank 0 makes a checkpoint of them, and finds how long that takes.
    Whole(Option<JoinHandle<Result<Duration>>>),
}

/// A part that is on the disk.
#[derive(Debug)]
struct Written {
    part: Part,
    held_up: Duration,
    writing: Duration,
}

/// A checkpoint that is on the disk.
#[derive(Debug, Clone)]
pub struct Saved {
    /// Its folder.
    pub path: PathBuf,
    /// How large it is.
    pub bytes: u64,
    /// How long training stood still for it on this rank: when it began, before updates of what was not written yet, and
    /// before the next one.
    pub pause: Duration,
    /// How long this rank took to write it: its part and, on rank 0, what makes a checkpoint of all parts.
    pub writing: Duration,
}

impl Saver {
    /// A saver into a run's folder. There must be room for so many checkpoints of so many parameters: those that will
    /// be kept, and one more while it is written. Those that are there already have their room. All ranks come here.
    pub fn open(
        ranks: &Rc<Ranks>,
        out: &Path,
        most: u64,
        parameters: i64,
        buffer: u64,
    ) -> Result<Self> {
        ranks.lead(|| {
            checkpoint::clear_partial(out)?;
            let missing = most.saturating_sub(checkpoint::count(out)? as u64);
            let needed = missing.saturating_mul(checkpoint::bytes(parameters));
            let free = free_bytes(out)?;
            if free < needed {
                bail_input!(
                    "`{}` has {} free, and the checkpoints of this run need {}\n\
                     hint: free some space, keep fewer with `checkpoint.keep`, or give another folder with `--out`",
                    out.display(),
                    shown(free),
                    shown(needed)
                );
            }
            Ok(())
        })?;
        Ok(Self { ranks: Rc::clone(ranks), out: out.to_owned(), buffer, saving: None })
    }

    /// Begins to write what model and optimizer are after this step; `begun` is when training stopped for it. The one before
    /// must be [finished](Self::finish).
    pub fn save(
        &mut self,
        model: &Model,
        optimizer: &mut AdamW,
        step: u64,
        about: impl FnOnce() -> Result<About>,
        keep: Keep,
        begun: Instant,
    ) -> Result<()> {
        assert!(self.saving.is_none(), "one checkpoint at a time");
        // What came of ranks that went apart must not be saved over a good checkpoint.
        model.mesh().check_transcripts()?;
        let target = checkpoint::path(&self.out, step);
        let bytes = checkpoint::bytes(model.numel());
        let lead = self.ranks.lead(|| {
            self.check_room(bytes)?;
            let about = about()?;
            let staged = Staged::create(&target).with_context(|| failed(&target))?;
            Ok((staged, about))
        })?;
        let folder = match &lead {
            Some((staged, _)) => Ok(staged.path().to_owned()),
            None => atomic::partial_of(&target).with_context(|| {
                format!(
                    "the folder that rank 0 made for `{}` is not here\n\
                     hint: all ranks write their parts of a checkpoint, so all need the same `--out` on a file system that \
                     they share",
                    target.display()
                )
            }),
        };
        let folder = self.ranks.agree(folder)?;

        let (layout, buffers) = part::share(model, &optimizer.moments);
        let largest = buffers.iter().map(snapshot::bytes).max().unwrap_or(0);
        let snapshot = optimizer.lend(buffers, largest + self.buffer);
        let write = move || {
            let begun = Instant::now();
            let part = layout.write(&folder, &snapshot)?;
            Ok(Written { part, held_up: snapshot.held_up(), writing: begun.elapsed() })
        };
        let thread = thread::Builder::new().name("checkpoint".into()).spawn(write)?;
        let (stage, pause) = (Stage::Parts(thread), begun.elapsed());
        let writing = Duration::ZERO;
        self.saving = Some(Saving { target, keep, bytes, pause, writing, lead, stage });
        Ok(())
    }

    fn check_room(&self, needed: u64) -> Result<()> {
        let free = free_bytes(&self.out)?;
        if free < needed {
            return Err(anyhow!(
                "`{}` has {} free, and a checkpoint needs {}\nhint: free some space, and run the same command again",
                self.out.display(),
                shown(free),
                shown(needed)
            ));
        }
        Ok(())
    }

    /// The checkpoint that was finished since the last look, or what went wrong with it. All ranks look at once.
    pub fn look(&mut self) -> Result<Option<Saved>> {
        let Some(saving) = &self.saving else { return Ok(None) };
        if self.ranks.any(saving.stage.is_busy())? {
            return Ok(None);
        }
        self.advance()
    }

    /// Waits until all is on the disk; training stands still for that, too.
    pub fn finish(&mut self) -> Result<Option<Saved>> {
        let begun = Instant::now();
        while let Some(saving) = &self.saving {
            // Ranks wait for each other in small pieces: a slow disk is not a rank that is gone.
            if self.ranks.size() > 1 && self.ranks.any(saving.stage.is_busy())? {
                thread::sleep(Duration::from_millis(5));
            } else if let Some(saved) = self.advance()? {
                return Ok(Some(Saved { pause: saved.pause + begun.elapsed(), ..saved }));
            }
        }
        Ok(None)
    }

    /// From one stage to the next, whose threads are done, or will be in a moment; gives what was saved after the last.
    fn advance(&mut self) -> Result<Option<Saved>> {
        let Some(mut saving) = self.saving.take() else { return Ok(None) };
        match saving.stage {
            Stage::Parts(thread) => {
                let written = join(thread).with_context(|| failed(&saving.target));
                let Written { part, held_up, writing } = self.ranks.agree(written)?;
                saving.pause += held_up;
                saving.writing = writing;
                let part = serde_json::to_string(&part)?;
                let parts = (0..self.ranks.size())
                    .map(|rank| Ok(serde_json::from_str(&self.ranks.tell(&part, rank)?)?))
                    .collect::<Result<_>>()?;
                let lead = saving.lead.take();
                let begun = lead.map(|lead| self.commit(&saving.target, saving.keep, lead, parts));
                saving.stage = Stage::Whole(self.ranks.agree(begun.transpose())?);
                self.saving = Some(saving);
                Ok(None)
            }
            Stage::Whole(thread) => {
                let done = thread.map_or(Ok(Duration::ZERO), join);
                let done = self.ranks.agree(done.with_context(|| failed(&saving.target)))?;
                let Saving { target: path, bytes, pause, writing, .. } = saving;
                Ok(Some(Saved { path, bytes, pause, writing: writing + done }))
            }
        }
    }

    /// Rank 0 makes a checkpoint of the parts, and removes those that need not be kept.
    fn commit(
        &self,
        target: &Path,
        keep: Keep,
        (staged, about): (Staged, About),
        parts: Vec<Part>,
    ) -> Result<JoinHandle<Result<Duration>>> {
        let (target, out) = (target.to_owned(), self.out.clone());
        let commit = move || {
            let begun = Instant::now();
            staged.commit(&target, about, parts)?;
            checkpoint::prune(&out, keep)?;
            Ok(begun.elapsed())
        };
        Ok(thread::Builder::new().name("checkpoint".into()).spawn(commit)?)
    }
}

impl Drop for Saver {
    /// A run that ends with an error still has what it was about to save, if that takes no other ranks.
    fn drop(&mut self) {
        if self.ranks.size() == 1 {
            let _ = self.finish();
        }
        match self.saving.take().map(|saving| saving.stage) {
            Some(Stage::Parts(thread)) => drop(thread.join()),
            Some(Stage::Whole(thread)) => drop(thread.map(JoinHandle::join)),
            None => {}
        }
    }
}

impl Stage {
    fn is_busy(&self) -> bool {
        match self {
            Self::Parts(thread) => !thread.is_finished(),
            Self::Whole(thread) => thread.as_ref().is_some_and(|thread| !thread.is_finished()),
        }
    }
}

fn join<T>(thread: JoinHandle<Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|_| Err(anyhow!("the thread that saves checkpoints ended")))
}

fn failed(target: &Path) -> String {
    format!("saving `{}` failed; what was saved before is still there", target.display())
}

/// What the file system of a folder, or of the nearest folder above that is there, has left for this user.
fn free_bytes(folder: &Path) -> Result<u64> {
    let there = folder.ancestors().find(|it| it.is_dir());
    let there = there.filter(|it| *it != Path::new("")).unwrap_or(Path::new("."));
    let found = rustix::fs::statvfs(fs::canonicalize(there)?)
        .map_err(|error| anyhow!("asking how much room `{}` has: {error}", there.display()))?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Bytes as a person reads them.
pub(crate) fn shown(bytes: u64) -> String {
    match bytes {
        0..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_for_whose_checkpoints_there_is_no_room_is_refused_before_it_begins() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("run");
        let open = |parameters| Saver::open(&Ranks::alone(), &out, 3, parameters, 0);
        let error = open(1 << 50).unwrap_err().to_string();
        assert!(error.contains("free, and the checkpoints of this run need 40532396"), "{error}");
        assert!(error.contains("hint: free some space"), "{error}");
        assert!(open(1000).is_ok());
    }
}
