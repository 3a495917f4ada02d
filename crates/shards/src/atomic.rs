//! Files and folders that appear only when they are whole.
//!
//! A file is written beside its place, synced, and renamed onto it; whoever looks sees the old one or the new one.
//! A folder is staged beside its place in the same way. What a killed process left behind carries the name
//! `.NAME.partial`: nobody takes it for a result, and the next run to the same place clears it away.

use std::fs::File as StdFile;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::Serialize;

use crate::direct::DirectFile;

/// Writes a whole small file.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes)?;
    file.commit()
}

/// Writes a value as a whole JSON file, indented and with a last newline.
pub fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    write(path, text.as_bytes())
}

/// A file being written; it takes its name at [`AtomicFile::commit`]. Dropped before that, it leaves nothing.
#[derive(Debug)]
pub struct AtomicFile {
    target: PathBuf,
    partial: PathBuf,
    /// `None` once committed.
    file: Option<File>,
}

#[derive(Debug)]
enum File {
    /// What is written is gathered, and goes through the page cache.
    Buffered(BufWriter<fs::File>),
    /// What is written goes to the disk as it comes.
    Direct(DirectFile),
}

impl AtomicFile {
    /// Begins to write what will be `target`, in the same folder. Clears away what killed processes left of the same file.
    pub fn create(target: &Path) -> io::Result<Self> {
        Self::begin(target, |file| File::Buffered(BufWriter::with_capacity(1 << 18, file)))
    }

    /// The same past the page cache, where the file system can, for a large file that nobody reads soon: what is written
    /// should come in [`Block`](crate::direct::Block)s.
    pub fn create_direct(target: &Path) -> io::Result<Self> {
        Self::begin(target, |file| File::Direct(DirectFile::new(file)))
    }

    fn begin(target: &Path, opened: impl FnOnce(fs::File) -> File) -> io::Result<Self> {
        clear_partial_files(target)?;
        // The process in the name: two processes that write one file (a log, say) do not write into each other.
        let partial = beside(target, &format!("{PARTIAL}{}", std::process::id()))?;
        loop {
            let file = fs::File::create(&partial)?;
            // Held while the file is written. Where there are no locks, nothing is cleared away either.
            let _ = file.file().try_lock();
            // Between its creation and its lock, another process may have taken it for a killed one's.
            if file.metadata()?.nlink() > 0 {
                let file = Some(opened(file));
                return Ok(Self { target: target.to_owned(), partial, file });
            }
        }
    }

    /// What the file will be.
    #[must_use]
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Syncs the file and gives it its name.
    pub fn commit(mut self) -> io::Result<()> {
        let file = match self.file.take().expect("a file is committed once") {
            File::Buffered(file) => file.into_inner().map_err(io::IntoInnerError::into_error),
            File::Direct(file) => Ok(file.into_inner()),
        };
        let result = file
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&self.partial, &self.target))
            .and_then(|()| sync_folder(parent(&self.target)));
        if result.is_err() {
            let _ = fs::remove_file(&self.partial);
        }
        result
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.file.as_mut().expect("written only before commit") {
            File::Buffered(file) => file.write(bytes),
            File::Direct(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.file.as_mut().expect("written only before commit") {
            File::Buffered(file) => file.flush(),
            File::Direct(_) => Ok(()),
        }
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            let _ = fs::remove_file(&self.partial);
        }
    }
}

/// A folder being filled beside its place. Dropped before it is committed, it leaves nothing.
#[derive(Debug)]
pub struct StagedFolder {
    target: PathBuf,
    partial: PathBuf,
    /// Held locked while the folder is filled: a lock that nobody holds tells of a process that was killed.
    lock: Option<StdFile>,
}

const LOCK: &str = ".lock";

impl StagedFolder {
    /// Begins to fill what will be `target`. Clears away what a killed process left of the same folder; refuses if
    /// another process is filling it now.
    pub fn create(target: &Path) -> io::Result<Self> {
        fs::create_dir_all(parent(target))?;
        let partial = beside(target, "partial")?;
        if partial.exists() {
            let left = fs::OpenOptions::new().read(true).open(partial.join(LOCK)).ok();
            if left.is_some_and(|lock| lock.file().try_lock().is_err()) {
                let message = format!(
                    "another process is writing `{}` now\nhint: wait for it, or write to another folder",
                    target.display()
                );
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, message));
            }
            fs::remove_dir_all(&partial)?;
        }
        fs::create_dir(&partial)?;
        let lock = fs::File::create(partial.join(LOCK))?.into_file();
        lock.try_lock()?;
        Ok(Self { target: target.to_owned(), partial, lock: Some(lock) })
    }

    /// Where to write the files meanwhile.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.partial
    }

    /// Gives the folder its name; `target` must not exist, or be an empty folder.
    pub fn commit(mut self) -> io::Result<()> {
        self.settle()?;
        fs::rename(&self.partial, &self.target)?;
        self.lock = None;
        sync_folder(parent(&self.target))
    }

    /// Moves the files into `target`, which may hold others, and `last` at the very end. An older `last` goes first:
    /// at no moment does it stand beside files that it does not describe.
    pub fn commit_into(mut self, last: &str) -> io::Result<()> {
        self.settle()?;
        fs::create_dir_all(&self.target)?;
        match fs::remove_file(self.target.join(last)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => sync_folder(&self.target)?,
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.partial)? {
            names.push(entry?.file_name());
        }
        names.sort_by_key(|name| (name == last, name.clone()));
        for name in names {
            fs::rename(self.partial.join(&name), self.target.join(&name))?;
        }
        fs::remove_dir(&self.partial)?;
        self.lock = None;
        sync_folder(&self.target)
    }

    /// All content is on the disk, and only content is in the folder.
    fn settle(&mut self) -> io::Result<()> {
        fs::remove_file(self.partial.join(LOCK))?;
        sync_folder(&self.partial)
    }
}

impl Drop for StagedFolder {
    fn drop(&mut self) {
        if self.lock.take().is_some() {
            let _ = fs::remove_dir_all(&self.partial);
        }
    }
}

/// What stands between the name of a file that is written and the number of the process that writes it.
const PARTIAL: &str = "partial-";

/// Removes what processes that were killed have left of a file: a living one holds a lock.
fn clear_partial_files(target: &Path) -> io::Result<()> {
    let beginning = beside(target, PARTIAL)?;
    let beginning = beginning.file_name().unwrap_or_default().to_string_lossy();
    // A folder into which one may write, but not look, is none of this function's business.
    for entry in std::fs::read_dir(parent(target)).into_iter().flatten() {
        let entry = entry?;
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(&*beginning));
        if process.is_some_and(|it| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_digit()))
            && let Ok(left) = fs::OpenOptions::new().read(true).open(entry.path())
            && left.file().try_lock().is_ok()
        {
            // Another process may have been faster.
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// What a process that fills `target`, or that was killed while it did, has beside it; `None` if there is nothing.
#[must_use]
pub fn partial_of(target: &Path) -> Option<PathBuf> {
    beside(target, "partial").ok().filter(|it| it.exists())
}

/// `folder/.NAME.suffix`.
fn beside(target: &Path, suffix: &str) -> io::Result<PathBuf> {
    let name = target.file_name().ok_or_else(|| {
        let message = format!("`{}` names no file or folder", target.display());
        io::Error::new(io::ErrorKind::InvalidInput, message)
    })?;
    Ok(parent(target).join(format!(".{}.{suffix}", name.to_string_lossy())))
}

/// The folder that a path stands in; a bare name stands in the working folder.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// A rename is on the disk only when its folder is.
fn sync_folder(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_when_it_is_committed_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write(&path, b"old").unwrap();

        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"half").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        drop(file);
        assert_eq!(names(folder.path()), ["a.txt"]);

        write(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[test]
    fn what_is_left_of_a_file_is_cleared_and_what_another_process_writes_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in [".a.txt.partial-1", ".a.txt.partial-x", ".b.txt.partial-1"] {
            fs::write(path(name), "half").unwrap();
        }
        let living = fs::File::create(path(".a.txt.partial-2")).unwrap();
        living.file().try_lock().unwrap();
        write(&path("a.txt"), b"new").unwrap();
        let left = [".a.txt.partial-2", ".a.txt.partial-x", ".b.txt.partial-1", "a.txt"];
        assert_eq!(names(folder.path()), left);
        drop(living);
        write(&path("a.txt"), b"newer").unwrap();
        assert_eq!(names(folder.path()), [".a.txt.partial-x", ".b.txt.partial-1", "a.txt"]);
    }

    #[test]
    fn a_folder_appears_whole_or_not_at_all() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("out");

        let staged = StagedFolder::create(&target).unwrap();
        write(&staged.path().join("a"), b"1").unwrap();
        drop(staged);
        assert!(names(home.path()).is_empty());

        let staged = StagedFolder::create(&target).unwrap();
        write(&staged.path().join("a"), b"1").unwrap();
        staged.commit().unwrap();
        assert_eq!(names(home.path()), ["out"]);
        assert_eq!(names(&target), ["a"]);
    }

    #[test]
    fn files_join_a_folder_and_the_last_one_comes_last() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("out");
        fs::create_dir(&target).unwrap();
        write(&target.join("other"), b"0").unwrap();
        write(&target.join("manifest.json"), b"old").unwrap();

        let staged = StagedFolder::create(&target).unwrap();
        write(&staged.path().join("manifest.json"), b"new").unwrap();
        write(&staged.path().join("a"), b"1").unwrap();
        staged.commit_into("manifest.json").unwrap();
        assert_eq!(names(home.path()), ["out"]);
        assert_eq!(names(&target), ["a", "manifest.json", "other"]);
        assert_eq!(fs::read(target.join("manifest.json")).unwrap(), b"new");
    }

    #[test]
    fn what_a_killed_process_left_is_cleared_and_what_a_living_one_writes_is_not() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("out");
        fs::create_dir(home.path().join(".out.partial")).unwrap();
        write(&home.path().join(".out.partial/half"), b"?").unwrap();

        let staged = StagedFolder::create(&target).unwrap();
        assert_eq!(names(staged.path()), [LOCK]);
        let error = StagedFolder::create(&target).unwrap_err().to_string();
        assert!(error.contains("another process is writing"), "{error}");
    }
}
