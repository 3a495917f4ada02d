//! A path -> the bytes that stand in the file, unpacked if it is compressed.

use std::io::Read;
use std::path::Path;

use bytes::Bytes;
use cli::{BadInput, bail_input};
use flate2::read::MultiGzDecoder;
use fs_err::File;
use memmap2::Mmap;

/// Reads a file: a plain one is mapped, a gzipped one is unpacked to its end, all members of it.
pub fn read(path: &Path) -> anyhow::Result<Bytes> {
    let file = File::open(path).bad_input()?;
    let size = file.metadata().bad_input()?.len();
    if size == 0 {
        // An empty file cannot be mapped.
        return Ok(Bytes::new());
    }
    #[expect(unsafe_code, reason = "a mapping lets threads parse rows without a copy of the file")]
    // SAFETY: the mapping is private to this process and only read; that nobody shortens an input while a run reads
    // it is the same assumption that any reading in two passes makes.
    let mapped = unsafe { Mmap::map(file.file()) }.bad_input()?;
    match mapped.get(..4) {
        Some([0x1f, 0x8b, ..]) => unpack(path, &mapped).map(Bytes::from),
        Some([0x28, 0xb5, 0x2f, 0xfd]) => {
            bail_input!(
                "{}: zstd files are not supported\nhint: unpack it with `zstd -d`",
                path.display()
            )
        }
        _ => Ok(Bytes::from_owner(mapped)),
    }
}

fn unpack(path: &Path, packed: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut unpacked = Vec::with_capacity(packed.len().saturating_mul(4));
    let outcome = MultiGzDecoder::new(packed).read_to_end(&mut unpacked);
    if let Err(error) = outcome {
        let n = unpacked.len();
        let what = if error.kind() == std::io::ErrorKind::UnexpectedEof {
            "the gzip data ends in the middle".to_string()
        } else {
            format!("the gzip data is corrupt ({error})")
        };
        bail_input!(
            "{}: {what}, after {n} unpacked bytes\nhint: the copy was probably damaged or cut short; fetch the file again",
            path.display()
        );
    }
    Ok(unpacked)
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

    #[test]
    fn all_members_of_a_gzipped_file_are_read() {
        let packed = [gzipped("one\n"), gzipped("two\n")].concat();
        assert_eq!(&*read(file(&packed).path()).unwrap(), b"one\ntwo\n");
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
}
