//! `P-text.{bin,idx}` and `P-role.{bin,idx}` -> documents, mapped: opening costs the index, reading costs the pages.
//!
//! Everything is checked once, in [`PairReader::open`]: magic, version, element type, lengths, every offset, and that
//! both halves have the same documents. After that, access is plain indexing.

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use memmap2::Mmap;
use thiserror::Error;

use crate::index::{self, CUT};
use crate::layout::Element;
use crate::writer::file;

/// Why shards cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file is missing or unreadable; the message names it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file's bytes are not what an index or its data are.
    #[error("`{}`: {what}\nhint: {hint}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What was found and what was expected.
        what: String,
        /// What to do.
        hint: &'static str,
    },
}

/// The documents of a split.
#[derive(Debug)]
pub struct PairReader {
    prefix: PathBuf,
    text: Half,
    role: Half,
}

#[derive(Debug)]
struct Half {
    element: Element,
    bin: Option<Mmap>,
    /// Where each document begins, in tokens, and where the last one ends.
    starts: Vec<usize>,
}

/// One document: as many roles as tokens.
#[derive(Debug, Clone, Copy)]
pub struct Document<'a> {
    text: (&'a [u8], Element),
    role: (&'a [u8], Element),
}

impl PairReader {
    /// Opens and checks the four files with this prefix.
    pub fn open(prefix: &Path) -> Result<Self, ReadError> {
        let text = Half::open(prefix, "text")?;
        let role = Half::open(prefix, "role")?;
        if text.starts != role.starts {
            let (n_text, n_role) = (text.starts.len() - 1, role.starts.len() - 1);
            let what = if n_text == n_role {
                format!(
                    "its documents have other sizes than those of `{}`",
                    file(prefix, "text", "idx").display()
                )
            } else {
                format!(
                    "it has {n_role} documents, but there are {n_text} in `{}`",
                    file(prefix, "text", "idx").display()
                )
            };
            return Err(broken(&file(prefix, "role", "idx"), what, CUT));
        }
        Ok(Self { prefix: prefix.to_owned(), text, role })
    }

    /// The prefix that was opened.
    #[must_use]
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// How many documents there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.text.starts.len() - 1
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many tokens all documents have.
    #[must_use]
    pub fn n_tokens(&self) -> usize {
        self.text.starts[self.len()]
    }

    /// The document with this index.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn document(&self, index: usize) -> Document<'_> {
        Document { text: self.text.document(index), role: self.role.document(index) }
    }
}

impl<'a> Document<'a> {
    /// How many tokens it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.text.0.len() / self.text.1.bytes()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its token ids. A negative number in a 32-bit shard, which no vocabulary has, comes out as a huge one.
    pub fn tokens(&self) -> impl ExactSizeIterator<Item = u32> + Clone + use<'a> {
        numbers(self.text)
    }

    /// The role of each token, as [`Role::id`](crate::Role::id) gives it.
    pub fn roles(&self) -> impl ExactSizeIterator<Item = u32> + Clone + use<'a> {
        numbers(self.role)
    }
}

fn numbers((bytes, element): (&[u8], Element)) -> impl ExactSizeIterator<Item = u32> + Clone {
    bytes.chunks_exact(element.bytes()).map(|bytes| match *bytes {
        [a, b] => u32::from(u16::from_le_bytes([a, b])),
        [a, b, c, d] => u32::from_le_bytes([a, b, c, d]),
        _ => unreachable!("an element has two or four bytes"),
    })
}

impl Half {
    fn open(prefix: &Path, name: &str) -> Result<Self, ReadError> {
        let idx_path = file(prefix, name, "idx");
        let (element, starts) = index::parse(&fs::read(&idx_path)?)
            .map_err(|(what, hint)| broken(&idx_path, what, hint))?;

        let bin_path = file(prefix, name, "bin");
        let bin = map(&bin_path)?;
        let expected = starts[starts.len() - 1] * element.bytes();
        let found = bin.as_ref().map_or(0, |bin| bin.len());
        if expected != found {
            let what = format!("it has {found} bytes, but its index describes {expected}");
            return Err(broken(&bin_path, what, CUT));
        }
        Ok(Self { element, bin, starts })
    }

    fn document(&self, index: usize) -> (&[u8], Element) {
        let width = self.element.bytes();
        let range = self.starts[index] * width..self.starts[index + 1] * width;
        (self.bin.as_ref().map_or(&[], |bin| &bin[range]), self.element)
    }
}

/// `None` for an empty file, which cannot be mapped.
fn map(path: &Path) -> io::Result<Option<Mmap>> {
    let file = fs::File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(None);
    }
    #[expect(unsafe_code, reason = "mapping a file is unsafe in Rust's terms")]
    // SAFETY: the mapping is only read. Shards are never changed in place, only replaced by rename (`atomic`), which
    // leaves the mapped file alive; a foreign program that truncates one would end this process, not corrupt it.
    let map = unsafe { Mmap::map(file.file()) }?;
    Ok(Some(map))
}

fn broken(path: &Path, what: String, hint: &'static str) -> ReadError {
    ReadError::Broken { path: path.to_owned(), what, hint }
}
