//! Large blocks -> a file, past the page cache.
//!
//! To write through the cache, the processor copies every byte once more and then waits for the disk to take all of it at
//! the end; and what else the machine had in its cache is driven out by what nobody reads soon. Past it (`O_DIRECT`), the disk
//! takes the bytes from where they lie. It asks for blocks that begin and end at multiples of its sectors, in memory and in
//! the file. A file system that cannot, and what is no such block, is written in the ordinary way.

use std::io::{self, Write};

use fs_err as fs;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

/// What positions in memory and in the file must be multiples of: no disk has larger sectors.
const ALIGNMENT: usize = 4096;

/// Memory for bytes that come to a file, of a size that a disk takes at once without waiting for the next.
#[derive(Debug)]
pub struct Block {
    memory: Vec<u8>,
    start: usize,
    filled: usize,
}

impl Block {
    /// How many bytes it holds: few enough to be in the processor's cache when they are read again.
    pub const SIZE: usize = 1 << 20;

    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        let memory = vec![0; Self::SIZE + ALIGNMENT];
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        Self { memory, start, filled: 0 }
    }

    /// What is in it.
    #[must_use]
    pub fn filled(&self) -> &[u8] {
        &self.memory[self.start..][..self.filled]
    }

    /// The room behind that, to be filled from its beginning.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..][self.filled..Self::SIZE]
    }

    /// So many bytes of the room were filled.
    pub fn advance(&mut self, n: usize) {
        self.filled += n;
        assert!(self.filled <= Self::SIZE, "more than there was room for");
    }

    /// Nothing is in it any more.
    pub fn clear(&mut self) {
        self.filled = 0;
    }
}

impl Default for Block {
    fn default() -> Self {
        Self::new()
    }
}

/// A new file that is written past the page cache, as long as blocks come that allow it.
#[derive(Debug)]
pub(crate) struct DirectFile {
    file: fs::File,
    direct: bool,
}

impl DirectFile {
    pub(crate) fn new(file: fs::File) -> Self {
        let mut this = Self { file, direct: false };
        this.direct = this.set(true).is_ok();
        this
    }

    pub(crate) fn into_inner(self) -> fs::File {
        self.file
    }

    fn set(&self, direct: bool) -> io::Result<()> {
        let mut flags = fcntl_getfl(&self.file)?;
        flags.set(OFlags::DIRECT, direct);
        Ok(fcntl_setfl(&self.file, flags)?)
    }

    /// From here on in the ordinary way.
    fn give_up(&mut self) -> io::Result<()> {
        self.set(false)?;
        self.direct = false;
        Ok(())
    }
}

impl Write for DirectFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let is_block =
            bytes.as_ptr().align_offset(ALIGNMENT) == 0 && bytes.len().is_multiple_of(ALIGNMENT);
        if self.direct && !is_block {
            self.give_up()?;
        }
        match self.file.write(bytes) {
            // What a file system says that cannot after all, or not at this place in the file.
            Err(error) if self.direct && error.kind() == io::ErrorKind::InvalidInput => {
                self.give_up()?;
                self.file.write(bytes)
            }
            result => result,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(folder: &std::path::Path, pieces: &[usize]) {
        let path = folder.join("file");
        let mut file = DirectFile::new(fs::File::create(&path).unwrap());
        let mut block = Block::new();
        let mut expected = Vec::new();
        for (i, &n) in pieces.iter().enumerate() {
            let byte = u8::try_from(i + 1).unwrap();
            block.room()[..n].fill(byte);
            block.advance(n);
            file.write_all(block.filled()).unwrap();
            block.clear();
            expected.resize(expected.len() + n, byte);
        }
        file.into_inner().sync_all().unwrap();
        assert!(fs::read(&path).unwrap() == expected, "{pieces:?}");
    }

    #[test]
    fn a_file_has_the_bytes_that_were_written_whether_or_not_they_are_whole_blocks() {
        let mut folders = vec![tempfile::tempdir().unwrap()];
        // Memory that is a file system, where there is one: it may not have disk blocks to write.
        folders.extend(tempfile::tempdir_in("/dev/shm"));
        for folder in &folders {
            check(folder.path(), &[]);
            check(folder.path(), &[5]);
            check(folder.path(), &[Block::SIZE; 3]);
            check(folder.path(), &[Block::SIZE, ALIGNMENT, 7]);
            // What follows such a piece lies at no multiple in the file.
            check(folder.path(), &[Block::SIZE, 7, Block::SIZE, ALIGNMENT, 1]);
        }
    }

    #[test]
    fn a_block_is_filled_in_pieces_and_no_further_than_it_is_large() {
        let mut block = Block::new();
        assert_eq!(block.room().len(), Block::SIZE);
        block.room()[..3].copy_from_slice(b"abc");
        block.advance(3);
        block.room()[0] = b'd';
        block.advance(1);
        assert_eq!(block.room().len(), Block::SIZE - 4);
        assert_eq!(block.filled(), b"abcd");
        assert_eq!(block.filled().as_ptr() as usize % ALIGNMENT, 0);
        block.clear();
        assert!(block.filled().is_empty());
    }
}
