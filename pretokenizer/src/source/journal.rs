//! The rows of one source, as they are read: how many there are, what is wrong with some, and, for the ledger, where each
//! of them stands.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use cli::print;

use crate::source::json::Place;

/// So many bad rows of a source are shown; the others are counted only.
const SHOWN: usize = 3;

/// Where a row stands.
#[derive(Debug, Clone, Copy)]
pub struct RowPlace<'f> {
    /// The file, as the program was given it.
    pub file: &'f Path,
    /// The line or row of it.
    pub place: Place,
    /// Its number among all rows of the source, from 0.
    pub number: u64,
}

impl fmt::Display for RowPlace<'_> {
    /// As messages name it: `path:17` or `path: row 17`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.file.display(), self.place)
    }
}

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRow {
    /// In a few words, by which such rows are counted.
    pub reason: &'static str,
    /// What was found where, and what was expected.
    pub message: String,
}

/// A field in which a loader found something else than it needs.
#[derive(Debug, thiserror::Error)]
pub enum BadField {
    /// It is not there.
    #[error("{0}")]
    Missing(String),
    /// It holds something else.
    #[error("{0}")]
    Wrong(String),
}

/// What was read of one source.
#[derive(Debug, Default)]
pub struct RowsRead {
    n_rows: u64,
    /// How many rows cannot be read, by reason.
    pub refused: BTreeMap<&'static str, usize>,
    /// Whether bad rows are shown.
    is_quiet: bool,
    /// What the ledger needs.
    pub list: Option<RowList>,
}

/// Where each row stands.
#[derive(Debug, Default)]
pub struct RowList {
    /// The files, each as often as it was begun.
    pub files: Vec<PathBuf>,
    /// Of each row the file, by its number, and the place in it.
    pub rows: Vec<(u32, Place)>,
    /// The rows that cannot be read, by their numbers.
    pub bad: Vec<(u64, BadRow)>,
}

impl RowsRead {
    /// Nothing yet; with a list if there is to be a ledger, and without a word if all was said before.
    #[must_use]
    pub fn new(with_list: bool, is_quiet: bool) -> Self {
        Self { is_quiet, list: with_list.then(RowList::default), ..Self::default() }
    }

    /// Notes the next row, and numbers it.
    pub fn note(&mut self, file: &Path, place: Place) -> u64 {
        let number = self.n_rows;
        self.n_rows += 1;
        if let Some(list) = &mut self.list {
            if list.files.last().is_none_or(|last| last != file) {
                list.files.push(file.to_path_buf());
            }
            let file = u32::try_from(list.files.len() - 1).expect("fewer files than 2^32");
            list.rows.push((file, place));
        }
        number
    }

    /// Leaves out a row that cannot be read.
    pub fn refuse(&mut self, row: RowPlace<'_>, bad: BadRow) {
        if !self.is_quiet && self.refused.values().sum::<usize>() < SHOWN {
            print::note(format!("left out: {row}: {bad}"));
        }
        *self.refused.entry(bad.reason).or_default() += 1;
        if let Some(list) = &mut self.list {
            list.bad.push((row.number, bad));
        }
    }
}

impl BadRow {
    /// Of bytes that are no JSON.
    pub(crate) fn not_json(bytes: &[u8], error: &serde_json::Error) -> Self {
        if let Err(error) = std::str::from_utf8(bytes) {
            let at = error.valid_up_to();
            let message = format!(
                "not UTF-8: found the byte 0x{:02x} at byte {} of the row\nhint: convert the file, such as with `iconv -f LATIN1 -t UTF-8`",
                bytes[at],
                at + 1
            );
            return Self { reason: "bad row: not UTF-8", message };
        }
        // The library's line is always 1 here, and its column the byte of the row.
        let (text, at) = (error.to_string(), error.column());
        let what = text.split(" at line ").next().unwrap_or(&text);
        if what == "recursion limit exceeded" {
            let message = format!(
                "nested too deeply: more than 127 lists and objects in each other, at byte {at} of the row"
            );
            return Self { reason: "bad row: nested too deeply", message };
        }
        let message = format!("not JSON: {what}, at byte {at} of the row");
        Self { reason: "bad row: not JSON", message }
    }

    /// Of JSON that is not the row that is needed.
    pub(crate) fn of_field(message: String) -> Self {
        let reason = if message.contains("missing field") {
            "bad row: missing field"
        } else if message.contains("duplicate field") {
            "bad row: duplicate field"
        } else {
            "bad row: wrong type"
        };
        Self { reason, message }
    }
}

impl From<anyhow::Error> for BadRow {
    /// What a loader finds wrong with a row.
    fn from(error: anyhow::Error) -> Self {
        let reason = match error.downcast_ref() {
            Some(BadField::Missing(_)) => "bad row: missing field",
            Some(BadField::Wrong(_)) => "bad row: wrong type",
            None => "bad row: not as expected",
        };
        Self { reason, message: format!("{error:#}") }
    }
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
