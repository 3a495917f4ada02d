//! Bytes of a JSON text -> one slice per row, not parsed yet.
//!
//! A text whose first character is `[` is one array and its elements are the rows; any other is JSON lines, of which
//! blank ones do not count. Slices are found by a scan that knows strings and brackets only, so that the parsing
//! itself can go in parallel.

use std::fmt;

/// A row that is not parsed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice<'a> {
    /// The row's JSON.
    pub bytes: &'a [u8],
    /// Where it stands.
    pub place: Place,
}

/// Where a row stands in its file, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The line of a text.
    Line(usize),
    /// The how-many-eth row of an array or a table.
    Row(usize),
}

impl fmt::Display for Place {
    /// What follows a file's path in a message: `:17` or `: row 17`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(n) => write!(f, ":{n}"),
            Self::Row(n) => write!(f, ": row {n}"),
        }
    }
}

/// What is wrong with a text as a whole; rows are not looked into.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// It begins with a byte order mark.
    #[error("the file begins with a byte order mark\nhint: save it as UTF-8 without one")]
    ByteOrderMark,
    /// The array has no end.
    #[error(
        "the JSON array has no end: the file ends at byte {0}\nhint: the copy was probably damaged or cut short; fetch the file again"
    )]
    NoEnd(usize),
    /// Something follows the array.
    #[error("something follows the end of the JSON array, at byte {0}")]
    Trailing(usize),
    /// Neither an array nor lines of objects.
    #[error(
        "this is not JSON: it begins with {0}, expected `[` (an array) or `{{` (one object a line)"
    )]
    NotJson(String),
}

/// Finds the rows of a text.
pub fn split(text: &[u8]) -> Result<Vec<Slice<'_>>, SplitError> {
    if text.starts_with(b"\xef\xbb\xbf") {
        return Err(SplitError::ByteOrderMark);
    }
    match text.iter().position(|b| !b.is_ascii_whitespace()) {
        None => Ok(Vec::new()),
        Some(start) if text[start] == b'[' => elements(text, start + 1),
        Some(start) if text[start] == b'{' => Ok(lines(text)),
        Some(start) => {
            let head = String::from_utf8_lossy(&text[start..text.len().min(start + 16)]);
            Err(SplitError::NotJson(format!("{head:?}")))
        }
    }
}

fn lines(text: &[u8]) -> Vec<Slice<'_>> {
    text.split(|b| *b == b'\n')
        .enumerate()
        .map(|(i, line)| Slice { bytes: line.trim_ascii(), place: Place::Line(i + 1) })
        .filter(|slice| !slice.bytes.is_empty())
        .collect()
}

fn elements(text: &[u8], mut at: usize) -> Result<Vec<Slice<'_>>, SplitError> {
    let mut rows: Vec<Slice<'_>> = Vec::new();
    loop {
        let end = element_end(text, at).ok_or(SplitError::NoEnd(text.len()))?;
        let bytes = text[at..end].trim_ascii();
        let last = text[end] == b']';
        // `[]` has no row; `[1,]` has a second one, which is empty and which the parser will refuse.
        if !(last && rows.is_empty() && bytes.is_empty()) {
            rows.push(Slice { bytes, place: Place::Row(rows.len() + 1) });
        }
        at = end + 1;
        if last {
            break;
        }
    }
    match text[at..].iter().position(|b| !b.is_ascii_whitespace()) {
        None => Ok(rows),
        Some(offset) => Err(SplitError::Trailing(at + offset)),
    }
}

/// The position of the `,` or `]` that ends the element which begins at `at`.
fn element_end(text: &[u8], at: usize) -> Option<usize> {
    let mut depth = 0usize;
    let mut i = at;
    while let Some(byte) = text.get(i) {
        match byte {
            b'"' => i = string_end(text, i)?,
            b'[' | b'{' => depth += 1,
            b',' | b']' if depth == 0 => return Some(i),
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        i += 1;
    }
    None
}

/// The position of the quote that ends the string which begins at `at`.
fn string_end(text: &[u8], at: usize) -> Option<usize> {
    let mut i = at + 1;
    loop {
        i += memchr::memchr2(b'"', b'\\', text.get(i..)?)?;
        if text[i] == b'"' {
            return Some(i);
        }
        i += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, Place)]) {
        let rows = split(text.as_bytes()).unwrap();
        let rows: Vec<_> =
            rows.iter().map(|row| (std::str::from_utf8(row.bytes).unwrap(), row.place)).collect();
        assert_eq!(rows, expected);
    }

    #[test]
    fn an_array_has_a_row_per_element() {
        check(" [ ]\n", &[]);
        check(
            r#"[{"a": "],\"["} , {"b": [1, {"c": []}]}]"#,
            &[(r#"{"a": "],\"["}"#, Place::Row(1)), (r#"{"b": [1, {"c": []}]}"#, Place::Row(2))],
        );
        check("[1,]", &[("1", Place::Row(1)), ("", Place::Row(2))]);
    }

    #[test]
    fn blank_lines_do_not_count_but_lines_are_numbered_as_an_editor_does() {
        check("", &[]);
        check("{\"a\": 1}\r\n\n  \n{}", &[("{\"a\": 1}", Place::Line(1)), ("{}", Place::Line(4))]);
    }

    #[test]
    fn broken_texts_say_how() {
        for (text, expected) in [
            ("[{\"a\": \"b", SplitError::NoEnd(9)),
            ("[1, 2", SplitError::NoEnd(5)),
            ("[\"\\", SplitError::NoEnd(3)),
            ("[1] x", SplitError::Trailing(4)),
            ("\u{feff}{}", SplitError::ByteOrderMark),
            ("<html>", SplitError::NotJson("\"<html>\"".into())),
        ] {
            assert_eq!(split(text.as_bytes()), Err(expected));
        }
    }
}
