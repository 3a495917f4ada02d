//! Any bytes as the indices of a pair of shards: opened or refused, and what is open can be read to its end.

#![no_main]

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use shards::PairReader;
use shards::layout::{IndexKind, sizes};
use tempfile::TempDir;

/// The longest data that is laid beside an index; none of it takes room, since nothing is written into it.
const LONGEST: u64 = 1 << 20;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder"));

fuzz_target!(|bytes: &[u8]| {
    let sizes = sizes(IndexKind::Mmap, bytes).or_else(|_| sizes(IndexKind::Legacy, bytes));

    let prefix = FOLDER.path().join("fuzz");
    let file = |name: &str| PathBuf::from(format!("{}-{name}", prefix.display()));
    // So much data as the index asks for, or its head alone would be looked at.
    let n_tokens = sizes.as_ref().map_or(0, |sizes| sizes.iter().map(|it| u64::from(*it)).sum());
    let is_narrow = bytes.starts_with(b"MMIDIDX") && bytes.get(17) != Some(&4);
    let width = if is_narrow { 2 } else { 4 };
    let length = (n_tokens * width).min(LONGEST);
    for half in ["text", "role"] {
        fs::write(file(&format!("{half}.idx")), bytes).expect("writable");
        let data = File::create(file(&format!("{half}.bin"))).expect("writable");
        data.set_len(length).expect("writable");
    }
    let Ok(reader) = PairReader::open(&prefix) else { return };
    let sizes = sizes.expect("what can be opened has sizes");
    assert_eq!(reader.len(), sizes.len());
    let mut n = 0;
    for (i, size) in sizes.iter().enumerate() {
        let document = reader.document(i);
        assert_eq!(document.tokens().count(), *size as usize);
        assert_eq!(document.roles().filter(|role| *role == 0).count(), document.len());
        n += document.len();
    }
    assert_eq!(n, reader.n_tokens());
});
