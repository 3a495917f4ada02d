//! The one file of a tar archive, as a stream.
//!
//! Open-Assistant's exports were published as `.jsonl.tar.gz`. The reference unpacks gzip only, and fails over a true
//! archive; here its file is read. An archive of several files is an error: rows are of a file that has a name.

use std::io::{self, Read};

use tar::{EntryType, Header};

/// Bytes of a header, to a multiple of which files are filled up.
pub(crate) const BLOCK: usize = 512;

/// An archive that is read from its beginning.
#[derive(Debug)]
pub(crate) struct Archive<R> {
    bytes: R,
    /// What is left of the file.
    left: u64,
    /// What fills up its last block.
    filling: u64,
    has_file: bool,
    is_over: bool,
}

/// Whether a file that begins so is an archive.
pub(crate) fn is_archive(head: &[u8]) -> bool {
    let Some(block) = head.first_chunk::<BLOCK>() else { return false };
    // The checksum counts its own eight bytes as blanks.
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    let own: u32 = block[148..156].iter().map(|byte| u32::from(*byte)).sum();
    block[257..].starts_with(b"ustar")
        && Header::from_byte_slice(block).cksum().is_ok_and(|it| it == sum - own + 8 * 32)
}

impl<R: Read> Archive<R> {
    /// Begins with an archive.
    pub(crate) fn new(bytes: R) -> Self {
        Self { bytes, left: 0, filling: 0, has_file: false, is_over: false }
    }

    /// Goes to the file, or behind it to the end of the archive.
    fn go_on(&mut self) -> io::Result<()> {
        self.skip(self.filling)?;
        self.filling = 0;
        let mut block = [0; BLOCK];
        while !self.is_over && self.left == 0 {
            self.bytes.read_exact(&mut block)?;
            if block == [0; BLOCK] {
                // What packs the archive is checked at its own end.
                io::copy(&mut self.bytes, &mut io::sink())?;
                self.is_over = true;
                break;
            }
            if !is_archive(&block) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "no header of tar"));
            }
            let header = Header::from_byte_slice(&block);
            let size = header.entry_size()?;
            let filling = size.next_multiple_of(BLOCK as u64) - size;
            let name = String::from_utf8_lossy(&header.path_bytes()).into_owned();
            let is_hidden = name.rsplit('/').next().is_some_and(|name| name.starts_with('.'));
            let kind = header.entry_type();
            if !matches!(kind, EntryType::Regular | EntryType::Continuous) || is_hidden {
                self.skip(size)?;
                self.skip(filling)?;
                continue;
            }
            if self.has_file {
                let what = format!(
                    "an archive of several files (`{name}` is the second)\nhint: unpack it, and name the folder"
                );
                return Err(io::Error::new(io::ErrorKind::Unsupported, what));
            }
            (self.left, self.filling, self.has_file) = (size, filling, true);
        }
        Ok(())
    }

    fn skip(&mut self, n: u64) -> io::Result<()> {
        match io::copy(&mut (&mut self.bytes).take(n), &mut io::sink())? {
            skipped if skipped == n => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl<R: Read> Read for Archive<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 && !self.is_over {
            self.go_on()?;
        }
        let n = (&mut self.bytes).take(self.left).read(buffer)?;
        if n == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= n as u64;
        Ok(n)
    }
}
