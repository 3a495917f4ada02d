//! The file format of a `.wandb` file: LevelDB's log in blocks of 32 KiB, with a header of its own.
//!
//! ```text
//! file   := ":W&B" u16 0xBEE1, u8 0, then fragments          (the first block is 7 bytes shorter)
//! fragment := u32 crc, u16 length, u8 type, data            type: 1 whole, 2 first, 3 middle, 4 last
//! ```
//!
//! All little-endian. The checksum is CRC-32 (zlib's) of type and data, not masked. Less than 7 bytes at the end of a
//! block are zeros. This is what `wandb/sdk/internal/datastore.py` of wandb 0.24 reads and `core/pkg/leveldb` writes.

use std::io::{self, Write};
use std::path::Path;

use fs_err as fs;
use prost::Message;

const BLOCK: usize = 32 * 1024;
const FRAGMENT_HEADER: usize = 7;
const FILE_HEADER: [u8; 7] = [b':', b'W', b'&', b'B', 0xe1, 0xbe, 0];

/// A log that is being written.
#[derive(Debug)]
pub(super) struct RecordLog {
    file: io::BufWriter<fs::File>,
    /// How much of the present block is filled.
    filled: usize,
}

impl RecordLog {
    /// Begins a file; one that is there is replaced.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        // A new file, so that a reader of the old one keeps what it has.
        if path.exists() {
            fs::remove_file(path)?;
        }
        let file = fs::OpenOptions::new().write(true).create_new(true).open(path)?;
        let mut file = io::BufWriter::new(file);
        file.write_all(&FILE_HEADER)?;
        Ok(Self { file, filled: FILE_HEADER.len() })
    }

    /// Appends a message.
    pub(super) fn push(&mut self, message: &impl Message) -> io::Result<()> {
        let data = message.encode_to_vec();
        let mut rest = data.as_slice();
        let mut first = true;
        loop {
            let mut room = BLOCK - self.filled;
            if room < FRAGMENT_HEADER {
                self.file.write_all(&[0; FRAGMENT_HEADER][..room])?;
                self.filled = 0;
                room = BLOCK;
            }
            let (now, later) = rest.split_at(rest.len().min(room - FRAGMENT_HEADER));
            rest = later;
            let kind = match (first, rest.is_empty()) {
                (true, true) => 1,
                (true, false) => 2,
                (false, false) => 3,
                (false, true) => 4,
            };
            self.fragment(kind, now)?;
            if rest.is_empty() {
                return Ok(());
            }
            first = false;
        }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    fn fragment(&mut self, kind: u8, data: &[u8]) -> io::Result<()> {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&[kind]);
        crc.update(data);
        let length = u16::try_from(data.len()).expect("a fragment is shorter than a block");
        self.file.write_all(&crc.finalize().to_le_bytes())?;
        self.file.write_all(&length.to_le_bytes())?;
        self.file.write_all(&[kind])?;
        self.file.write_all(data)?;
        self.filled += FRAGMENT_HEADER + data.len();
        Ok(())
    }
}
