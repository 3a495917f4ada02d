//! The rows of one source, as they are read: how many there are, which were left out, and, for the ledger, where each of them
//! stands.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use cli::print;

use crate::source::bad_row::BadRow;
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
