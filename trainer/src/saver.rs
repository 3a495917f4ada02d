//! Checkpoints in the background: a step waits for the copy of what it would change, and not for the disk.
//!
//! One is written at a time. What went wrong comes out at the next look, which is every step, and at the end of the run.

use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use cli::bail_input;
use fs_err as fs;

use crate::checkpoint::{self, Keep, Snapshot};

/// Writes a run's checkpoints.
#[derive(Debug)]
pub struct Saver {
    out: PathBuf,
    writing: Option<JoinHandle<Result<Saved>>>,
}

/// A checkpoint that is on the disk.
#[derive(Debug, Clone)]
pub struct Saved {
    /// Its folder.
    pub path: PathBuf,
    /// How large it is.
    pub bytes: u64,
    /// How long training stood still for it.
    pub pause: Duration,
    /// How long it took to write.
    pub writing: Duration,
}

impl Saver {
    /// A saver into a run's folder. There must be room for so many checkpoints of so many parameters: those that will
    /// be kept, and one more while it is written. Those that are there already have their room.
    pub fn new(out: &Path, most: u64, parameters: i64) -> Result<Self> {
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
        Ok(Self { out: out.to_owned(), writing: None })
    }

    /// Begins to write a checkpoint, after the one before; `pause` is how long training stood still for the copy.
    pub fn save(&mut self, snapshot: Snapshot, keep: Keep, pause: Duration) -> Result<()> {
        self.finish()?;
        let (needed, free) = (snapshot.bytes(), free_bytes(&self.out)?);
        if free < needed {
            return Err(anyhow!(
                "`{}` has {} free, and a checkpoint needs {}\nhint: free some space, and run the same command again",
                self.out.display(),
                shown(free),
                shown(needed)
            ));
        }
        let out = self.out.clone();
        let write = move || {
            let started = Instant::now();
            let path = snapshot.write(&out)?;
            checkpoint::prune(&out, keep)?;
            Ok(Saved { path, bytes: needed, pause, writing: started.elapsed() })
        };
        self.writing = Some(thread::Builder::new().name("checkpoint".into()).spawn(write)?);
        Ok(())
    }

    /// The checkpoint that was finished since the last look, or what went wrong with it.
    pub fn look(&mut self) -> Result<Option<Saved>> {
        if self.writing.as_ref().is_some_and(|thread| thread.is_finished()) {
            return self.finish();
        }
        Ok(None)
    }

    /// Waits until all is on the disk.
    pub fn finish(&mut self) -> Result<Option<Saved>> {
        let Some(thread) = self.writing.take() else { return Ok(None) };
        let saved =
            thread.join().map_err(|_| anyhow!("the thread that saves checkpoints ended"))?;
        saved.map(Some)
    }
}

impl Drop for Saver {
    /// A run that ends with an error still has what it was about to save.
    fn drop(&mut self) {
        if let Some(thread) = self.writing.take() {
            let _ = thread.join();
        }
    }
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
        let error = Saver::new(&out, 3, 1 << 50).unwrap_err().to_string();
        assert!(error.contains("free, and the checkpoints of this run need 40532396"), "{error}");
        assert!(error.contains("hint: free some space"), "{error}");
        assert!(Saver::new(&out, 3, 1000).is_ok());
    }
}
