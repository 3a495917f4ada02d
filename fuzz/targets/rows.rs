//! Any bytes as a file of rows: JSON, parquet or arrow, packed or not. What is JSON to `serde_json` comes out as its rows.

#![no_main]

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use pretokenizer::config::OnError;
use pretokenizer::scratch::Scratch;
use pretokenizer::source::{Reader, RowsRead};
use serde_json::Value;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder"));

fuzz_target!(|bytes: &[u8]| {
    let files = [FOLDER.path().join("rows")];
    fs::write(&files[0], bytes).expect("writable");
    let _ = rows(&files, OnError::Skip);
    let found = rows(&files, OnError::Stop);
    // Line ends, and names of numbers, that `serde_json` does not know.
    let has = |what: &[u8]| bytes.windows(what.len()).any(|it| it == what);
    let returns = bytes.windows(2).any(|it| it[0] == b'\r' && it[1] != b'\n');
    if has(b"NaN") || has(b"Inf") || returns {
        return;
    }
    let is_too_large = Cell::new(false);
    let value = |bytes: &[u8]| match serde_json::from_slice::<Value>(bytes) {
        Ok(value) => Some(value),
        Err(error) => {
            is_too_large.set(is_too_large.get() || error.to_string().contains("out of range"));
            None
        }
    };
    let expected = match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'[') => value(bytes).and_then(|list| list.as_array().cloned()),
        Some(b'{') => {
            let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
            lines.filter(|line| !line.is_empty()).map(value).collect()
        }
        _ => return,
    };
    // Nor does it know numbers that are too large for it.
    if is_too_large.get() {
        return;
    }
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
