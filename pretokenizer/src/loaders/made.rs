//! Which samples were made of which row, for the ledger: noted while a source is read, if there is to be one.

use crate::source::journal::RowList;

/// What became of the rows of one source. Rows and samples go by their numbers in it.
#[derive(Debug, Default)]
pub struct MadeOf {
    /// Where each row stands, and which could not be read.
    pub rows: RowList,
    /// A row, and a sample that it has a share in.
    pub samples: Vec<(u64, u32)>,
    /// Rows that were left out, with the reason.
    pub dropped: Vec<(u64, &'static str)>,
    /// The names of rows: their own, and that of the tree which they are a message of.
    pub names: Vec<(u64, Box<str>, Option<Box<str>>)>,
    /// The names of the messages with which samples end.
    pub last_messages: Vec<(u32, Box<str>)>,
}

impl MadeOf {
    /// The name of the message with which a sample ends.
    #[must_use]
    pub fn last_message(&self, sample: u32) -> Option<&str> {
        let found = self.last_messages.binary_search_by_key(&sample, |(it, _)| *it).ok()?;
        Some(&self.last_messages[found].1)
    }

    /// With the rows that the reader has seen and those that a loader has refused; all in the order of the rows.
    #[must_use]
    pub(crate) fn of_rows(mut self, rows: Option<RowList>, refused: Option<RowList>) -> Self {
        self.rows = rows.unwrap_or_default();
        self.rows.bad.extend(refused.unwrap_or_default().bad);
        self.rows.bad.sort_by_key(|(row, _)| *row);
        self.samples.sort_unstable();
        self.dropped.sort_unstable();
        self.names.sort_by_key(|(row, ..)| *row);
        self
    }
}
