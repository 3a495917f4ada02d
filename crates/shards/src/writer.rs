//! Documents -> `P-text.{bin,idx}` and `P-role.{bin,idx}`.
//!
//! Tokens and roles go in together, so that they cannot get out of step. Tokens stream to the disk and are
//! hashed on their way; only a document's size, four bytes, stays in memory.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use crate::atomic::{self, AtomicFile};
use crate::hash::{FileHash, HashingWriter};
use crate::layout::{self, Element, IndexKind};
use crate::role::Role;

/// The reference gives roles a vocabulary of 16, which is why they are 16 bits wide.
const ROLE_VOCABULARY: u32 = 16;

/// Bytes that take longer to hash and to write, some 100 microseconds, than a thread takes to start.
const WORTH_A_THREAD: usize = 1 << 18;

/// How tokens and roles are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    kind: IndexKind,
    text: Element,
    role: Element,
}

/// Documents in the form in which they are stored, ready to be appended: they can be made on any thread.
#[derive(Debug, Clone)]
pub struct Batch {
    format: Format,
    text: Vec<u8>,
    role: Vec<u8>,
    /// In tokens.
    sizes: Vec<u32>,
    /// Tokens of all documents that are ended.
    n_tokens: usize,
}

/// Writes the four files of a split.
#[derive(Debug)]
pub struct PairWriter {
    format: Format,
    text: Half,
    role: Half,
    sizes: Vec<u32>,
    in_parallel: bool,
    /// For [`PairWriter::push`].
    batch: Batch,
}

#[derive(Debug)]
struct Half {
    bin: HashingWriter<AtomicFile>,
    bin_path: PathBuf,
    idx_path: PathBuf,
}

impl Format {
    /// For ids below `vocab_size`.
    #[must_use]
    pub fn new(kind: IndexKind, vocab_size: u32) -> Self {
        let text = Element::for_vocabulary(kind, vocab_size);
        Self { kind, text, role: Element::for_vocabulary(kind, ROLE_VOCABULARY) }
    }

    /// Bytes of a token.
    #[must_use]
    pub const fn token_bytes(self) -> usize {
        self.text.bytes()
    }

    /// Appends tokens as they are stored.
    ///
    /// # Panics
    ///
    /// If an id does not fit the width that the vocabulary asked for.
    pub fn write_tokens(self, tokens: &[u32], out: &mut Vec<u8>) {
        match self.text {
            Element::U16 => {
                let narrow = |id: &u32| {
                    u16::try_from(*id).expect("ids are below the vocabulary's size").to_le_bytes()
                };
                out.extend(tokens.iter().flat_map(narrow));
            }
            Element::I32 => out.extend(tokens.iter().flat_map(|id| id.to_le_bytes())),
        }
    }
}

impl Batch {
    /// No documents yet.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self { format, text: Vec::new(), role: Vec::new(), sizes: Vec::new(), n_tokens: 0 }
    }

    /// Makes room for so many bytes of tokens.
    pub fn reserve(&mut self, token_bytes: usize) {
        self.text.reserve(token_bytes);
        self.role.reserve(token_bytes / self.format.token_bytes() * self.format.role.bytes());
    }

    fn clear(&mut self) {
        self.text.clear();
        self.role.clear();
        self.sizes.clear();
        self.n_tokens = 0;
    }

    /// How many documents there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sizes.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }

    /// Appends tokens to the document that is being made, as [`Format::write_tokens`] made them.
    pub fn push_tokens(&mut self, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
    }

    /// Appends a role for so many tokens to the document that is being made.
    pub fn push_role(&mut self, role: Role, n: usize) {
        let width = self.format.role.bytes();
        let start = self.role.len();
        self.role.resize(start + n * width, 0);
        for token in self.role[start..].chunks_exact_mut(width) {
            token[0] = role.id();
        }
    }

    /// Ends the document that is being made.
    ///
    /// # Panics
    ///
    /// If there is not one role for each of its tokens.
    pub fn end(&mut self) -> io::Result<()> {
        let total = self.text.len() / self.format.text.bytes();
        assert_eq!(total, self.role.len() / self.format.role.bytes(), "one role a token");
        let size = total - self.n_tokens;
        let size = i32::try_from(size).map_err(|_| {
            let message = format!("a document of {size} tokens is too long for an index");
            io::Error::new(io::ErrorKind::InvalidData, message)
        })?;
        self.sizes.push(size.cast_unsigned());
        self.n_tokens = total;
        Ok(())
    }
}

impl PairWriter {
    /// Begins the files with this prefix. Token ids will be below `vocab_size`.
    pub fn create(prefix: &Path, kind: IndexKind, vocab_size: u32) -> io::Result<Self> {
        let format = Format::new(kind, vocab_size);
        Ok(Self {
            format,
            text: Half::create(prefix, "text")?,
            role: Half::create(prefix, "role")?,
            sizes: Vec::new(),
            in_parallel: false,
            batch: Batch::new(format),
        })
    }

    /// The writer, hashing and writing the tokens and the roles of large batches at the same time, on two threads.
    #[must_use]
    pub fn in_parallel(self, in_parallel: bool) -> Self {
        Self { in_parallel, ..self }
    }

    /// Appends a document; it may be empty.
    ///
    /// # Panics
    ///
    /// If there is not one role for each token, or a token does not fit the width that the vocabulary asked for.
    pub fn push(&mut self, tokens: &[u32], roles: &[Role]) -> io::Result<()> {
        let mut batch = std::mem::replace(&mut self.batch, Batch::new(self.format));
        batch.clear();
        self.format.write_tokens(tokens, &mut batch.text);
        for roles in roles.chunk_by(|a, b| a == b) {
            batch.push_role(roles[0], roles.len());
        }
        batch.end()?;
        self.append(&batch, 1)?;
        self.batch = batch;
        Ok(())
    }

    /// Appends the first documents of a batch.
    ///
    /// # Panics
    ///
    /// If the batch has fewer, or was made for another format.
    pub fn append(&mut self, batch: &Batch, n_documents: usize) -> io::Result<()> {
        assert_eq!(batch.format, self.format, "a batch is made for the files it goes to");
        let sizes = &batch.sizes[..n_documents];
        let n_tokens = match n_documents == batch.len() {
            true => batch.n_tokens,
            false => sizes.iter().map(|size| *size as usize).sum(),
        };
        let tokens = &batch.text[..n_tokens * self.format.text.bytes()];
        let roles = &batch.role[..n_tokens * self.format.role.bytes()];
        let Self { text, role, .. } = self;
        if self.in_parallel && tokens.len() >= WORTH_A_THREAD {
            thread::scope(|scope| {
                let role = scope.spawn(|| role.bin.write_all(roles));
                text.bin.write_all(tokens)?;
                role.join().unwrap_or_else(|panic| resume_unwind(panic))
            })?;
        } else {
            text.bin.write_all(tokens)?;
            role.bin.write_all(roles)?;
        }
        self.sizes.extend(sizes);
        Ok(())
    }

    /// Appends all documents of other files of the same format: the content of their `.bin` files, and their sizes.
    pub fn append_stored(
        &mut self,
        text: &mut impl Read,
        role: &mut impl Read,
        sizes: &[u32],
    ) -> io::Result<()> {
        io::copy(text, &mut self.text.bin)?;
        io::copy(role, &mut self.role.bin)?;
        self.sizes.extend(sizes);
        Ok(())
    }

    /// Finishes the four files, and gives their hashes; before this, none of them is there.
    pub fn finish(self) -> io::Result<Vec<FileHash>> {
        let Self { format: Format { kind, text, role }, sizes, .. } = &self;
        let (text_idx, role_idx) =
            (layout::index(*kind, *text, sizes), layout::index(*kind, *role, sizes));
        // Both wait for the disk most of the time.
        thread::scope(|scope| {
            let role = scope.spawn(|| self.role.finish(&role_idx));
            let text = self.text.finish(&text_idx)?;
            let role = role.join().unwrap_or_else(|panic| resume_unwind(panic))?;
            Ok([text, role].concat())
        })
    }
}

impl Half {
    fn create(prefix: &Path, name: &str) -> io::Result<Self> {
        let bin_path = file(prefix, name, "bin");
        let bin = HashingWriter::new(AtomicFile::create(&bin_path)?);
        Ok(Self { bin, bin_path, idx_path: file(prefix, name, "idx") })
    }

    fn finish(self, index: &[u8]) -> io::Result<[FileHash; 2]> {
        let name =
            |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (bin, hash) = self.bin.finish(name(&self.bin_path));
        bin.commit()?;
        atomic::write(&self.idx_path, index)?;
        Ok([hash, FileHash::of_bytes(index, name(&self.idx_path))])
    }
}

/// `P-NAME.EXTENSION`; a dot in the prefix is part of it.
pub(crate) fn file(prefix: &Path, name: &str, extension: &str) -> PathBuf {
    let mut path = OsString::from(prefix);
    path.push(format!("-{name}.{extension}"));
    PathBuf::from(path)
}
