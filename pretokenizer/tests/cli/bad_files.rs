//! A table of bad files: what is in the file, what the program says of it (`stop`), and what it leaves out, counts and writes in
//! the ledger where bad rows are skipped (`skip`).
//!
//! Damage of a file as a whole comes first, for each kind of file; then rows, for each kind of source.

mod damage; // files that are damaged, of each kind
mod generic; // rows of sources whose columns the datamix names
mod named; // rows of the reference's sources
mod trees; // message trees

use std::fmt::Write as _;

use serde_json::Value;

use crate::workplace::{Outcome, Workplace};

/// A table of what the program says of files.
struct Table {
    workplace: Workplace,
    file: String,
    text: String,
}

impl Table {
    /// Of a datamix with this entry, which reads this file.
    fn new(entry: &str, file: &str) -> Self {
        let workplace = Workplace::with_datasets(&format!("[{entry}]"));
        Self { workplace, file: file.into(), text: String::new() }
    }

    /// A line for a file of this content.
    fn row(&mut self, what: &str, content: impl AsRef<[u8]>) {
        self.workplace.write(&self.file, content);
        let flags = ["--configs", "a", "--threads", "2", "--ledger", "ledger.jsonl"];
        let stopped = said(&self.workplace.run(&flags));
        let outcome = self.workplace.run(&[&flags[..], &["--on_error", "skip"]].concat());
        let skipped = match outcome.code {
            Some(0) => self.left_out(),
            _ => said(&outcome),
        };
        let skipped = if skipped == stopped { "the same".into() } else { skipped };
        writeln!(self.text, "{what}\n  stop: {stopped}\n  skip: {skipped}").expect("a text");
    }

    /// How many rows there are, which are counted as left out, and what the ledger says of them.
    fn left_out(&self) -> String {
        let manifest = self.workplace.manifest();
        let mut text = String::new();
        for source in manifest["sources_read"].as_array().expect("a list") {
            write!(text, "{} kept", source["samples"]).expect("a text");
            for (reason, n) in source["dropped"].as_object().expect("counts") {
                write!(text, ", {n} {reason}").expect("a text");
            }
        }
        let ledger = String::from_utf8(self.workplace.read("ledger.jsonl")).expect("UTF-8");
        for line in ledger.lines() {
            let line: Value = serde_json::from_str(line).expect("JSON");
            for dropped in line["dropped"].as_array().into_iter().flatten() {
                let error = dropped["error"].as_str().map(one_line).unwrap_or_default();
                let (row, reason) = (&line["row"], dropped["reason"].as_str().unwrap_or_default());
                write!(text, "\n        row {row}: {reason}: {error}").expect("a text");
            }
        }
        text
    }
}

/// The program's error, without the source's place in the datamix, which is the same for all.
fn said(outcome: &Outcome) -> String {
    match outcome.code {
        Some(0) => return "no error".into(),
        code => assert_eq!(code, Some(2), "{}", outcome.err),
    }
    let at = outcome.err.find("error: ").expect("an error is told");
    let error = outcome.err[at..].trim_end();
    let place = error.find("`: ").filter(|_| error.starts_with("error: configs/a.yaml:2:"));
    one_line(place.map_or(error, |at| &error[at + 3..]))
}

fn one_line(text: &str) -> String {
    text.replace('\n', " | ")
}
