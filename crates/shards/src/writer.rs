//! Documents -> `P-text.{bin,idx}` and `P-role.{bin,idx}`.
//!
//! Tokens and roles go in together, so that they cannot get out of step. Tokens stream to the disk; only a document's
//! size, four bytes, stays in memory.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::atomic::{self, AtomicFile};
use crate::layout::{self, Element, IndexKind};
use crate::role::Role;

/// The reference gives roles a vocabulary of 16, which is why they are 16 bits wide.
const ROLE_VOCABULARY: u32 = 16;

/// Writes the four files of a split.
#[derive(Debug)]
pub struct PairWriter {
    text: Half,
    role: Half,
    sizes: Vec<u32>,
    kind: IndexKind,
}

#[derive(Debug)]
struct Half {
    element: Element,
    bin: AtomicFile,
    idx: PathBuf,
    bytes: Vec<u8>,
}

impl PairWriter {
    /// Begins the files with this prefix. Token ids will be below `vocab_size`.
    pub fn create(prefix: &Path, kind: IndexKind, vocab_size: u32) -> io::Result<Self> {
        Ok(Self {
            text: Half::create(prefix, "text", Element::for_vocabulary(kind, vocab_size))?,
            role: Half::create(prefix, "role", Element::for_vocabulary(kind, ROLE_VOCABULARY))?,
            sizes: Vec::new(),
            kind,
        })
    }

    /// Appends a document; it may be empty.
    ///
    /// # Panics
    ///
    /// If there is not one role for each token, or a token does not fit the width that the vocabulary asked for.
    pub fn push(&mut self, tokens: &[u32], roles: &[Role]) -> io::Result<()> {
        assert_eq!(tokens.len(), roles.len(), "one role a token");
        self.text.push(tokens.iter().copied())?;
        self.role.push(roles.iter().map(|role| u32::from(role.id())))?;
        let size = i32::try_from(tokens.len()).map_err(|_| {
            let message = format!("a document of {} tokens is too long for an index", tokens.len());
            io::Error::new(io::ErrorKind::InvalidData, message)
        })?;
        self.sizes.push(size.cast_unsigned());
        Ok(())
    }

    /// Finishes the four files; before this, none of them is there.
    pub fn finish(self) -> io::Result<()> {
        for half in [self.text, self.role] {
            half.bin.commit()?;
            atomic::write(&half.idx, &layout::index(self.kind, half.element, &self.sizes))?;
        }
        Ok(())
    }
}

impl Half {
    fn create(prefix: &Path, name: &str, element: Element) -> io::Result<Self> {
        let bin = AtomicFile::create(&file(prefix, name, "bin"))?;
        Ok(Self { element, bin, idx: file(prefix, name, "idx"), bytes: Vec::new() })
    }

    fn push(&mut self, values: impl Iterator<Item = u32>) -> io::Result<()> {
        self.bytes.clear();
        match self.element {
            Element::U16 => {
                let narrow = |id| u16::try_from(id).expect("ids are below the vocabulary's size");
                self.bytes.extend(values.flat_map(|id| narrow(id).to_le_bytes()));
            }
            Element::I32 => self.bytes.extend(values.flat_map(u32::to_le_bytes)),
        }
        self.bin.write_all(&self.bytes)
    }
}

/// `P-NAME.EXTENSION`; a dot in the prefix is part of it.
pub(crate) fn file(prefix: &Path, name: &str, extension: &str) -> PathBuf {
    let mut path = OsString::from(prefix);
    path.push(format!("-{name}.{extension}"));
    PathBuf::from(path)
}
