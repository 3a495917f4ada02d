//! Bytes -> SHA-256, as lower-case hexadecimal.

use std::io::{self, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A file as a manifest names it: enough to tell that it is still the same one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileHash {
    /// The path as the program was given it.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its content.
    pub sha256: String,
}

impl FileHash {
    /// Reads the file once; `name` is what the manifest calls it.
    pub fn of(path: &Path, name: impl Into<String>) -> io::Result<Self> {
        let mut file = fs_err::File::open(path)?;
        let mut sha = Sha256::new();
        let mut buffer = vec![0; 1 << 18];
        let mut bytes = 0;
        loop {
            let n = file.read(&mut buffer)?;
            if n == 0 {
                break;
            }
            sha.update(&buffer[..n]);
            bytes += n as u64;
        }
        Ok(Self { path: name.into(), bytes, sha256: hexadecimal(&sha.finalize()) })
    }

    /// Of bytes at hand.
    #[must_use]
    pub fn of_bytes(bytes: &[u8], name: impl Into<String>) -> Self {
        Self { path: name.into(), bytes: bytes.len() as u64, sha256: sha256(bytes) }
    }
}

/// Hashes what passes on its way to a file.
#[derive(Debug)]
pub struct HashingWriter<W> {
    inner: W,
    sha: Sha256,
    bytes: u64,
}

impl<W: Write> HashingWriter<W> {
    /// Nothing has passed yet.
    pub fn new(inner: W) -> Self {
        Self { inner, sha: Sha256::new(), bytes: 0 }
    }

    /// The writer back, and what passed; `name` is what a manifest calls it.
    pub fn finish(self, name: impl Into<String>) -> (W, FileHash) {
        let sha256 = hexadecimal(&self.sha.finalize());
        (self.inner, FileHash { path: name.into(), bytes: self.bytes, sha256 })
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.sha.update(&bytes[..n]);
        self.bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Every file of a folder, named as it is there and in the order of the names. Names that begin with a dot, which are
/// those of locks and of files being written, do not count.
pub fn folder(folder: &Path) -> io::Result<Vec<FileHash>> {
    folder_knowing(folder, &[])
}

/// The same, without reading files again whose hashes are known from writing them.
pub fn folder_knowing(folder: &Path, known: &[FileHash]) -> io::Result<Vec<FileHash>> {
    let mut names = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    let hash = |name: String| match known.iter().find(|it| it.path == name) {
        Some(known) => Ok(known.clone()),
        None => FileHash::of(&folder.join(&name), name),
    };
    names.into_iter().map(hash).collect()
}

/// SHA-256 of bytes at hand.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// SHA-256 of a file.
pub fn sha256_file(path: &Path) -> io::Result<String> {
    Ok(FileHash::of(path, "")?.sha256)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_sha256sum() {
        // printf abc | sha256sum
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc"), expected);

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        crate::atomic::write(&path, b"abc").unwrap();
        let hash = FileHash::of(&path, "data/abc").unwrap();
        assert_eq!(
            (hash.path.as_str(), hash.bytes, hash.sha256.as_str()),
            ("data/abc", 3, expected)
        );
    }
}
