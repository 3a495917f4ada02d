//! What does not fit into memory: one temporary file beside the output.
//!
//! The file has no name in its folder, so nothing is left of it whatever ends the process. It is written from its
//! beginning to its end, and made on the first write only: a small build never touches the disk for it.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use anyhow::Context as _;
use cli::print;

/// The temporary file of a run.
#[derive(Debug)]
pub struct Scratch {
    folder: PathBuf,
    file: OnceLock<File>,
    /// Where the next stretch goes.
    end: Mutex<u64>,
}

/// A stretch of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    at: u64,
    len: usize,
}

/// Marks an error of the temporary file: the disk's, not the input's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScratchFailed(String);

impl std::fmt::Display for ScratchFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Extent {
    /// Some of its bytes.
    #[must_use]
    pub fn part(&self, bytes: Range<usize>) -> Self {
        assert!(bytes.start <= bytes.end && bytes.end <= self.len, "a part of the stretch");
        Self { at: self.at + bytes.start as u64, len: bytes.len() }
    }

    /// Its bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Scratch {
    /// A file in this folder, which need not be there yet.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.into(), file: OnceLock::new(), end: Mutex::new(0) }
    }

    /// Whether anything was written.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.file.get().is_some()
    }

    /// Appends bytes.
    pub fn write(&self, bytes: &[u8]) -> anyhow::Result<Extent> {
        let mut end = self.end.lock().expect("nobody panics while writing");
        let file = self.file()?;
        let extent = Extent { at: *end, len: bytes.len() };
        file.write_all_at(bytes, extent.at).with_context(|| self.what("write"))?;
        *end += bytes.len() as u64;
        Ok(extent)
    }

    /// Reads a stretch back.
    pub fn read(&self, extent: Extent) -> anyhow::Result<Vec<u8>> {
        let mut bytes = vec![0; extent.len];
        self.file()?.read_exact_at(&mut bytes, extent.at).with_context(|| self.what("read"))?;
        Ok(bytes)
    }

    /// Another file of the same kind, for content that needs one of its own.
    pub fn another(&self) -> io::Result<File> {
        fs_err::create_dir_all(&self.folder)?;
        tempfile::tempfile_in(&self.folder)
    }

    fn file(&self) -> anyhow::Result<&File> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let file = self.another().with_context(|| self.what("make"))?;
        print::note(format!(
            "note: what does not fit into memory goes to a temporary file in `{}`, which is gone when the run ends",
            Path::new(".").join(&self.folder).display()
        ));
        Ok(self.file.get_or_init(|| file))
    }

    /// What cannot be done with it.
    pub(crate) fn what(&self, verb: &str) -> ScratchFailed {
        ScratchFailed(format!("cannot {verb} a temporary file in `{}`", self.folder.display()))
    }
}
