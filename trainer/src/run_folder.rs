//! A run's folder, held by one process at a time.
//!
//! Two trainings into one folder would mix their metrics and remove each other's checkpoints. The lock is the
//! operating system's, on the file `.lock`: it ends with the process, however that ends, and the file stays.

use std::fs::{File, TryLockError};
use std::path::Path;

use anyhow::{Context, Result};
use cli::bail_input;
use fs_err as fs;

/// The right to write into a run's folder, until it is dropped.
#[derive(Debug)]
pub struct RunFolder {
    _lock: File,
}

impl RunFolder {
    /// Takes the folder if it is there already; refuses one that another process holds, and what is no folder.
    pub fn take(out: &Path) -> Result<Option<Self>> {
        if !out.exists() {
            return Ok(None);
        }
        if !out.is_dir() {
            bail_input!("`--out` is `{}`, a file, and a run needs a folder", out.display());
        }
        let file = fs::File::create(out.join(".lock"))?.into_file();
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _lock: file })),
            Err(TryLockError::WouldBlock) => bail_input!(
                "another process is training into `{}` now\n\
                 hint: wait for it, or give another folder with `--out`",
                out.display()
            ),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("locking `{}`", out.display()))
            }
        }
    }

    /// Makes the folder if need be, and takes it.
    pub fn create(out: &Path) -> Result<Self> {
        fs::create_dir_all(out)?;
        Self::take(out)?.with_context(|| format!("`{}` went away", out.display()))
    }
}
