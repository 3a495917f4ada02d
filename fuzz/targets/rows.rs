//! Any bytes as a file of rows: JSON, parquet or arrow, packed or not. What is JSON to `serde_json` comes out as its rows.

#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use pretokenizer::config::OnError;
use pretokenizer::scratch::Scratch;
use pretokenizer::source::{Reader, RowsRead, typed};
use serde_json::Value;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder"));

fuzz_target!(|bytes: &[u8]| {
    let files = [FOLDER.path().join("rows")];
    fs::write(&files[0], bytes).expect("writable");
    let _ = rows(&files, OnError::Skip);
    let found = rows(&files, OnError::Stop);
    let expected = match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'[') => serde_json::from_slice(bytes).ok(),
        Some(b'{') => {
            let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
            let lines = lines.filter(|line| !line.is_empty());
            lines.map(|line| serde_json::from_slice(line).ok()).collect()
        }
        _ => return,
    };
    // A list is no row, and no rows are no file.
    let is_one = |rows: &Vec<Value>| !rows.is_empty() && !rows.iter().any(Value::is_array);
    let expected: Option<Vec<Value>> = expected.filter(is_one);
    assert_eq!(found, expected);
});

/// The rows of the files; `None` if they are refused.
fn rows(files: &[PathBuf], on_error: OnError) -> Option<Vec<Value>> {
    let mut reader = Reader::new(1, on_error, Arc::new(Scratch::new(FOLDER.path())));
    reader.begin(RowsRead::new(true, true));
    let rows = reader.rows(files).ok()?;
    Some(rows.into_iter().map(|(_, row)| row).collect())
}
