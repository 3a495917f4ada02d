//! A path -> the bytes that stand in the file, unpacked if it is compressed or an archive, from the first to the last.

use std::fs::File;
use std::io::{self, BufReader, Chain, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cli::BadInput;
use flate2::read::MultiGzDecoder;

use crate::scratch::Scratch;
use crate::source::archive::{self, Archive};

/// The content of a file.
pub struct Content {
    path: PathBuf,
    /// The first bytes, which say what the file is.
    head: Vec<u8>,
    bytes: Chain<Cursor<Vec<u8>>, Bytes>,
    n_read: u64,
}

enum Bytes {
    Plain(File),
    Gzip(Box<MultiGzDecoder<File>>),
    Zstd(Box<zstd::Decoder<'static, BufReader<File>>>),
    Tar(Box<Archive<Chain<Cursor<Vec<u8>>, Bytes>>>),
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let packing = self.bytes.get_ref().1.packing();
        f.debug_struct("Content").field("path", &self.path).field("packing", &packing).finish()
    }
}

impl Content {
    /// Opens a file.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let mut file = fs_err::File::open(path).bad_input()?.into_file();
        let magic = first_bytes(&mut file, 4).with_context(|| path.display().to_string());
        let magic = magic.bad_input()?;
        file.seek(SeekFrom::Start(0)).bad_input()?;
        let mut bytes = match magic[..] {
            // All members of the file, to its end.
            [0x1f, 0x8b, ..] => Bytes::Gzip(Box::new(MultiGzDecoder::new(file))),
            // All frames of the file, to its end.
            [0x28, 0xb5, 0x2f, 0xfd] => {
                let decoder = zstd::Decoder::new(file).with_context(|| path.display().to_string());
                Bytes::Zstd(Box::new(decoder.bad_input()?))
            }
            _ => Bytes::Plain(file),
        };
        let path = path.to_path_buf();
        let mut head = first_bytes(&mut bytes, archive::BLOCK as u64)
            .map_err(|error| broken(&path, bytes.packing(), 0, &error))?;
        if archive::is_archive(&head) {
            bytes = Bytes::Tar(Box::new(Archive::new(Cursor::new(head).chain(bytes))));
            head = first_bytes(&mut bytes, archive::BLOCK as u64)
                .map_err(|error| broken(&path, bytes.packing(), 0, &error))?;
        }
        let bytes = Cursor::new(head.clone()).chain(bytes);
        Ok(Self { path, head, bytes, n_read: 0 })
    }

    /// The first bytes, which say what the file is; fewer than eight only if there are no more.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// How many bytes were read.
    #[must_use]
    pub fn n_read(&self) -> u64 {
        self.n_read
    }

    /// Appends so many bytes to a buffer, or as many as are left; whether that was all.
    pub fn append_to(&mut self, buffer: &mut Vec<u8>, n: usize) -> anyhow::Result<bool> {
        let start = buffer.len();
        buffer.reserve(n);
        let outcome = (&mut self.bytes).take(n as u64).read_to_end(buffer);
        self.n_read += (buffer.len() - start) as u64;
        outcome.map_err(|error| {
            broken(&self.path, self.bytes.get_ref().1.packing(), self.n_read, &error)
        })?;
        Ok(buffer.len() - start < n)
    }

    /// Reads what is left, to learn whether it can be read.
    pub fn read_to_end(&mut self) -> anyhow::Result<()> {
        let mut buffer = Vec::new();
        while !self.append_to(&mut buffer, 1 << 16)? {
            buffer.clear();
        }
        Ok(())
    }

    /// The content as a file of its own, for formats that are read here and there.
    pub fn into_file(mut self, scratch: &Scratch) -> anyhow::Result<File> {
        let (_, bytes) = self.bytes.into_inner();
        if let Bytes::Plain(mut file) = bytes {
            file.seek(SeekFrom::Start(0)).bad_input()?;
            return Ok(file);
        }
        self.bytes = Cursor::new(self.head.clone()).chain(bytes);
        let mut file = scratch.another().with_context(|| scratch.what("make"))?;
        let mut buffer = Vec::new();
        loop {
            buffer.clear();
            let is_all = self.append_to(&mut buffer, 1 << 18)?;
            io::Write::write_all(&mut file, &buffer).with_context(|| scratch.what("write"))?;
            if is_all {
                file.seek(SeekFrom::Start(0))?;
                return Ok(file);
            }
        }
    }
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.bytes.read(buffer)?;
        self.n_read += n as u64;
        Ok(n)
    }
}

impl Bytes {
    /// How the file is packed.
    const fn packing(&self) -> &'static str {
        match self {
            Self::Plain(_) => "plain",
            Self::Gzip(_) => "gzip",
            Self::Zstd(_) => "zstd",
            Self::Tar(_) => "tar",
        }
    }
}

impl Read for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(buffer),
            Self::Gzip(unpacked) => unpacked.read(buffer),
            Self::Zstd(unpacked) => unpacked.read(buffer),
            Self::Tar(file) => file.read(buffer),
        }
    }
}

fn first_bytes(bytes: &mut impl Read, n: u64) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    bytes.take(n).read_to_end(&mut head)?;
    Ok(head)
}

fn broken(path: &Path, packing: &str, n_read: u64, error: &io::Error) -> anyhow::Error {
    let what = match error.kind() {
        io::ErrorKind::UnexpectedEof => format!("the {packing} data ends in the middle"),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::Other => {
            format!("the {packing} data is corrupt ({error})")
        }
        _ => return cli::exit::bad_input(anyhow::anyhow!("{}: {error}", path.display())),
    };
    cli::exit::bad_input(anyhow::anyhow!(
        "{}: {what}, after {n_read} unpacked bytes\nhint: the copy was probably damaged or cut short; fetch the file again",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzipped(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
        let (mut content, mut bytes) = (Content::open(path)?, Vec::new());
        while !content.append_to(&mut bytes, 3)? {}
        Ok(bytes)
    }

    #[test]
    fn all_members_of_a_gzipped_file_are_read() {
        let packed = [gzipped("one\n"), gzipped("two\n")].concat();
        assert_eq!(read(file(&packed).path()).unwrap(), b"one\ntwo\n");
    }

    #[test]
    fn a_gzipped_file_that_was_cut_short_is_an_error_wherever_the_cut_is() {
        let packed = gzipped("a line that is long enough to be cut in many places\n");
        for cut in 4..packed.len() {
            let error = read(file(&packed[..cut]).path()).unwrap_err().to_string();
            assert!(error.contains("ends in the middle"), "cut at {cut}: {error}");
        }
    }

    #[test]
    fn an_empty_file_has_no_bytes() {
        assert!(read(file(b"").path()).unwrap().is_empty());
    }

    #[test]
    fn content_can_become_a_file_packed_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(folder.path());
        for bytes in [b"0123456789".to_vec(), gzipped("0123456789")] {
            let mut file = Content::open(file(&bytes).path()).unwrap().into_file(&scratch).unwrap();
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text, "0123456789");
        }
    }
}
