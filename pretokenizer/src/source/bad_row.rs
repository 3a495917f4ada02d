//! What is wrong with a row, in words: what was found where, and what was expected.
//!
//! The parsers' own messages speak of sequences and maps, quote whole texts, and count bytes of a line where a row may have
//! several; here they are said as everything else is.

use std::fmt;

use serde_json::Value;
use serde_path_to_error::{Path, Segment};

/// So many characters of a row are shown.
const SHOWN: usize = 24;

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
        let (text, at) = (error.to_string(), byte_of(bytes, error));
        let what = text.split(" at line ").next().unwrap_or(&text);
        if what == "recursion limit exceeded" {
            let message = format!(
                "nested too deeply: more than 127 lists and objects in each other, at byte {at} of the row"
            );
            return Self { reason: "bad row: nested too deeply", message };
        }
        let expected = match what {
            "expected value" | "expected ident" => "a value",
            "key must be a string" => "a name in quotes",
            "trailing characters" => "the end of the row",
            "trailing comma" => "something more behind the comma",
            "unexpected end of hex escape" | "lone leading surrogate in hex escape" => {
                "both halves of a `\\u` pair"
            }
            "invalid escape" => "an escape of JSON",
            "invalid number" => "a number of JSON",
            what if what.starts_with("control character") => "a control character to be escaped",
            what => what.strip_prefix("expected ").unwrap_or(what),
        };
        let message = match what.strip_prefix("EOF while parsing ") {
            None if what == "number out of range" => {
                format!("not JSON: the number that ends at byte {at} of the row is too large")
            }
            Some(inside) => format!(
                "not JSON: the row ends at byte {at}, inside {inside}\nhint: is the file whole? In JSON lines, a row is a whole line"
            ),
            None => format!(
                "not JSON: found {} at byte {at} of the row, expected {expected}",
                excerpt(&bytes[at.saturating_sub(1).min(bytes.len())..])
            ),
        };
        Self { reason: "bad row: not JSON", message }
    }

    /// Of JSON that is not the row that is needed: what serde says of it, and at which field.
    pub(crate) fn of_field(row: &Value, at: &Path, error: &str) -> Self {
        let (reason, hint) = if error.starts_with("missing field") {
            let hint = match &*fields_of(place(row, at).unwrap_or(row)) {
                "" => "\nhint: there are no fields".into(),
                there => format!("\nhint: the fields there are: {there}"),
            };
            ("bad row: missing field", hint)
        } else if error.starts_with("duplicate field") {
            ("bad row: duplicate field", String::new())
        } else {
            ("bad row: wrong type", String::new())
        };
        let at = match at.iter().next() {
            Some(_) => format!("field `{at}`: "),
            None => String::new(),
        };
        Self { reason, message: format!("{at}{}{hint}", in_our_words(error)) }
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

/// What stands at a path.
fn place<'r>(row: &'r Value, path: &Path) -> Option<&'r Value> {
    path.iter().try_fold(row, |value, segment| match segment {
        Segment::Seq { index } => value.get(index),
        Segment::Map { key } => value.get(key),
        Segment::Enum { .. } | Segment::Unknown => None,
    })
}

/// The names of an object's fields.
pub(crate) fn fields_of(row: &Value) -> String {
    let names = row.as_object().map(|row| row.keys().map(|key| format!("`{key}`")));
    names.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// The byte of the row that an error is about, from 1; a row of an array may have several lines.
fn byte_of(bytes: &[u8], error: &serde_json::Error) -> usize {
    let before = bytes.split_inclusive(|byte| *byte == b'\n').take(error.line().saturating_sub(1));
    before.map(<[u8]>::len).sum::<usize>() + error.column()
}

/// The beginning of a text, in quotes; `nothing` if there is none.
fn excerpt(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * SHOWN)]);
    let shown: String = text.chars().take(SHOWN).collect();
    let more = if bytes.len() > shown.len() { "..." } else { "" };
    if shown.is_empty() { "nothing".into() } else { format!("{shown:?}{more}") }
}

/// What serde says, such as `invalid type: sequence, expected a map`: `found a list, expected an object`.
fn in_our_words(error: &str) -> String {
    // A list where a struct is read field by field.
    if error.starts_with("invalid length") && error.contains("expected struct") {
        return "found a list, expected an object".into();
    }
    let rest = ["invalid type: ", "invalid value: "].iter().find_map(|it| error.strip_prefix(it));
    let Some((found, expected)) = rest.and_then(|rest| rest.rsplit_once(", expected ")) else {
        return error.to_owned();
    };
    let found = match found.split_once(' ') {
        Some(("string", text)) => match serde_json::from_str::<String>(text) {
            Ok(text) => format!("the text {}", excerpt(text.as_bytes())),
            // Quoted as Rust does, which is not quite as JSON does.
            Err(_) => format!("the text {}", excerpt(text.trim_matches('"').as_bytes())),
        },
        Some(("integer", n)) => format!("the number {n}"),
        Some(("floating", n)) => format!("the number {}", n.trim_start_matches("point ")),
        Some(("boolean", value)) => format!("the truth value {value}"),
        _ => match found {
            "sequence" => "a list",
            "map" => "an object",
            "string" => "a text",
            found => found,
        }
        .to_owned(),
    };
    let expected = match expected {
        "a map" => "an object",
        "a sequence" => "a list",
        "a string" => "a text",
        "i64" | "u64" | "f64" => "a number",
        // The name of a type of ours tells a user nothing.
        expected if expected.starts_with("struct ") => "an object",
        expected => expected,
    };
    format!("found {found}, expected {expected}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_byte_is_counted_over_all_lines_of_a_row() {
        let row = b"{\n \"a\":\n nonsense}";
        let error = serde_json::from_slice::<serde_json::Value>(row).unwrap_err();
        // `n` could begin `null`.
        let expected = "not JSON: found \"onsense}\" at byte 11 of the row, expected a value";
        assert_eq!(BadRow::not_json(row, &error).message, expected);
    }

    #[test]
    fn a_long_text_is_not_quoted_whole() {
        let error = format!("invalid type: string {:?}, expected a sequence", "Lima, ".repeat(999));
        let expected = "found the text \"Lima, Lima, Lima, Lima, \"..., expected a list";
        assert_eq!(in_our_words(&error), expected);
    }
}
