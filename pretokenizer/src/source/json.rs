//! The bytes of a JSON text -> blocks of whole rows, not parsed yet.
//!
//! A text whose first character is `[` is one array and its elements are the rows; any other is JSON lines, of which
//! blank ones do not count. Where rows end is found by a scan that knows strings and brackets only, so that the parsing
//! itself can go in parallel. A block is as large as needed to hold one row at least.
//!
//! Lines end as Python's universal newlines do: with `\n`, `\r\n` or `\r`. A lone `\r` inside an object is white space to the
//! reader of `datasets`, and stays in its row.

use std::fmt;
use std::path::Path;

use anyhow::anyhow;
use cli::exit;

use crate::source::content::Content;

/// Bytes of a block.
const BLOCK: usize = 1 << 18;

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
    /// It is UTF-16, as some editors save texts.
    #[error("the file is UTF-16, expected UTF-8\nhint: convert it with `iconv -f UTF-16 -t UTF-8`")]
    Utf16,
    /// The array has no end.
    #[error(
        "the JSON array has no end: the file ends at byte {0}\nhint: the copy was probably damaged or cut short; fetch the file again"
    )]
    NoEnd(u64),
    /// Something follows the array.
    #[error("something follows the end of the JSON array, at byte {0}")]
    Trailing(u64),
    /// Neither an array nor lines of objects.
    #[error(
        "this is not JSON: it begins with {0}, expected `[` (an array) or `{{` (one object a line)"
    )]
    NotJson(String),
}

/// Whole rows of a text.
#[derive(Debug)]
pub struct Block {
    bytes: Vec<u8>,
    rows: Rows,
}

#[derive(Debug)]
enum Rows {
    /// The number of the first line.
    Lines(usize),
    /// The number of the first element, and where each of them stands.
    Elements(usize, Vec<(usize, usize)>),
}

impl Block {
    /// The rows, in order.
    pub fn rows(&self) -> Box<dyn Iterator<Item = Slice<'_>> + '_> {
        match &self.rows {
            Rows::Lines(first) => {
                let mut number = *first;
                let ends = memchr::memchr_iter(b'\n', &self.bytes).chain([self.bytes.len()]);
                let lines = ends.scan(0, |start, end| {
                    let line = &self.bytes[*start..end];
                    *start = end + 1;
                    Some(line)
                });
                let lines = lines.flat_map(move |line| {
                    let (rows, n_lines) = rows_of_line(line);
                    let first = number;
                    number += n_lines;
                    rows.map(move |(line, bytes)| (first + line, bytes))
                });
                let slices = lines
                    .map(|(n, line)| Slice { bytes: line.trim_ascii(), place: Place::Line(n) });
                Box::new(slices.filter(|slice| !slice.bytes.is_empty()))
            }
            Rows::Elements(first, ends) => {
                Box::new((*first..).zip(ends).map(|(n, (start, end))| Slice {
                    bytes: self.bytes[*start..*end].trim_ascii(),
                    place: Place::Row(n),
                }))
            }
        }
    }
}

/// A text that is being cut into blocks.
#[derive(Debug)]
pub struct Blocks {
    content: Content,
    /// What is read and not handed out yet.
    bytes: Vec<u8>,
    is_all_read: bool,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Unknown,
    /// The number of the next line.
    Lines(usize),
    /// The number of the next element.
    Elements(usize),
    Over,
}

impl Blocks {
    /// Begins with a text.
    #[must_use]
    pub fn new(content: Content) -> Self {
        Self { content, bytes: Vec::new(), is_all_read: false, form: Form::Unknown }
    }

    /// The next rows; `None` behind the last ones.
    pub fn next(&mut self, path: &Path) -> anyhow::Result<Option<Block>> {
        let said = |e: SplitError| exit::bad_input(anyhow!("{}: {e}", path.display()));
        // Twice as much each time: a row of any length is looked through a few times at most.
        let mut more = BLOCK;
        loop {
            if self.form != Form::Over {
                self.read(more)?;
                more *= 2;
            }
            if self.form == Form::Unknown {
                self.form = self.recognise().map_err(said)?;
            }
            let block = match self.form {
                Form::Unknown if !self.is_all_read => None,
                Form::Unknown | Form::Over => return Ok(None),
                Form::Lines(first) => self.lines(first),
                Form::Elements(first) => {
                    let block = self.elements(first).map_err(said)?;
                    if self.form == Form::Over {
                        self.nothing_follows(path)?;
                    }
                    block
                }
            };
            if block.is_some() {
                return Ok(block);
            }
        }
    }

    fn read(&mut self, n: usize) -> anyhow::Result<()> {
        if !self.is_all_read {
            self.is_all_read = self.content.append_to(&mut self.bytes, n)?;
        }
        Ok(())
    }

    fn recognise(&mut self) -> Result<Form, SplitError> {
        if self.bytes.starts_with(b"\xef\xbb\xbf") {
            return Err(SplitError::ByteOrderMark);
        }
        let Some(start) = self.bytes.iter().position(|b| !b.is_ascii_whitespace()) else {
            return Ok(Form::Unknown);
        };
        // A byte order mark, or a character with a zero byte beside it.
        if let [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [b'[' | b'{', 0, ..] | [0, b'[' | b'{', ..] =
            self.bytes[start..]
        {
            return Err(SplitError::Utf16);
        }
        match self.bytes[start] {
            b'[' => {
                self.bytes.drain(..=start);
                Ok(Form::Elements(1))
            }
            b'{' => Ok(Form::Lines(1)),
            _ => {
                let head = &self.bytes[start..self.bytes.len().min(start + 16)];
                Err(SplitError::NotJson(format!("{:?}", String::from_utf8_lossy(head))))
            }
        }
    }

    fn lines(&mut self, first: usize) -> Option<Block> {
        let end = if self.is_all_read {
            self.form = Form::Over;
            self.bytes.len()
        } else {
            let end = match memchr::memrchr(b'\n', &self.bytes) {
                Some(end) => end + 1,
                // A `\n` may follow the last byte.
                None => *row_ends(&self.bytes[..self.bytes.len().saturating_sub(1)]).last()? + 1,
            };
            let n_lines = memchr::memchr_iter(b'\n', &self.bytes[..end]).count();
            self.form = Form::Lines(first + n_lines + n_returns(&self.bytes[..end]));
            end
        };
        Some(Block { bytes: self.take(end), rows: Rows::Lines(first) })
    }

    fn elements(&mut self, first: usize) -> Result<Option<Block>, SplitError> {
        let (mut ends, mut at) = (Vec::new(), 0);
        while let Some(end) = element_end(&self.bytes, at) {
            let is_last = self.bytes[end] == b']';
            // `[]` has no row; `[1,]` has a second one, which is empty and which the parser will refuse.
            let is_only = is_last && first == 1 && ends.is_empty();
            if !(is_only && self.bytes[at..end].trim_ascii().is_empty()) {
                ends.push((at, end));
            }
            at = end + 1;
            if is_last {
                self.form = Form::Over;
                let bytes = self.take(at);
                return Ok(Some(Block { bytes, rows: Rows::Elements(first, ends) }));
            }
        }
        if self.is_all_read {
            return Err(SplitError::NoEnd(self.content.n_read()));
        }
        if ends.is_empty() {
            return Ok(None);
        }
        self.form = Form::Elements(first + ends.len());
        Ok(Some(Block { bytes: self.take(at), rows: Rows::Elements(first, ends) }))
    }

    /// Only white space may stand behind an array.
    fn nothing_follows(&mut self, path: &Path) -> anyhow::Result<()> {
        loop {
            if let Some(at) = self.bytes.iter().position(|b| !b.is_ascii_whitespace()) {
                let behind = (self.bytes.len() - at) as u64;
                let error = SplitError::Trailing(self.content.n_read() - behind);
                return Err(exit::bad_input(anyhow!("{}: {error}", path.display())));
            }
            if self.is_all_read {
                return Ok(());
            }
            self.bytes.clear();
            self.read(BLOCK)?;
        }
    }

    /// The first bytes; the others stay.
    fn take(&mut self, n: usize) -> Vec<u8> {
        let mut rest = Vec::with_capacity(self.bytes.len() - n + BLOCK);
        rest.extend(&self.bytes[n..]);
        self.bytes.truncate(n);
        std::mem::replace(&mut self.bytes, rest)
    }
}

/// The rows of what ends with `\n`, each with the number of its first line, from 0; and how many lines these are.
fn rows_of_line(line: &[u8]) -> (impl Iterator<Item = (usize, &[u8])>, usize) {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    // Nearly always none.
    let n_returns = n_returns(line);
    let ends = if n_returns == 0 { Vec::new() } else { row_ends(line) };
    let (mut start, mut number) = (0, 0);
    let rows = ends.into_iter().chain([line.len()]).map(move |end| {
        let row = &line[start..end];
        let at = number;
        start = (end + 1).min(line.len());
        number += 1 + self::n_returns(row);
        (at, row)
    });
    (rows, n_returns + 1)
}

/// How many `\r` end a line by themselves.
fn n_returns(text: &[u8]) -> usize {
    memchr::memchr_iter(b'\r', text).filter(|at| text.get(at + 1) != Some(&b'\n')).count()
}

/// Where a `\r` ends a row: outside of all strings and brackets.
fn row_ends(text: &[u8]) -> Vec<usize> {
    let (mut ends, mut depth, mut i) = (Vec::new(), 0usize, 0);
    while let Some(byte) = text.get(i) {
        match byte {
            b'"' => match string_end(text, i) {
                Some(end) => i = end,
                None => break,
            },
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'\r' if depth == 0 => ends.push(i),
            _ => {}
        }
        i += 1;
    }
    ends
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
    use std::io::Write;

    use super::*;

    /// The rows of all blocks, or what is wrong.
    fn split(text: &[u8]) -> anyhow::Result<Vec<(String, Place)>> {
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(text)?;
        let mut blocks = Blocks::new(Content::open(file.path())?);
        let mut rows = Vec::new();
        while let Some(block) = blocks.next(Path::new("f"))? {
            let slices = block.rows();
            rows.extend(slices.map(|it| (String::from_utf8_lossy(it.bytes).into(), it.place)));
        }
        Ok(rows)
    }

    #[track_caller]
    fn check(text: &str, expected: &[(&str, Place)]) {
        let rows = split(text.as_bytes()).unwrap();
        let rows: Vec<_> = rows.iter().map(|(row, place)| (row.as_str(), *place)).collect();
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
        check("\n{}\n", &[("{}", Place::Line(2))]);
    }

    #[test]
    fn a_lone_return_ends_a_line_but_not_inside_an_object() {
        // python -c 'import io; print(list(io.TextIOWrapper(io.BytesIO(b"{}\r{\"a\": 1}\r\n\r{}\r\r\n{}\r"))))'
        // ['{}\n', '{"a": 1}\n', '\n', '{}\n', '\n', '{}\n']
        let rows = [("{}", 1), ("{\"a\": 1}", 2), ("{}", 4), ("{}", 6)];
        let rows = rows.map(|(row, n)| (row, Place::Line(n)));
        check("{}\r{\"a\": 1}\r\n\r{}\r\r\n{}\r", &rows);
        // python -c 'import io, pyarrow.json as p; print(p.read_json(io.BytesIO(b"{\"a\": 1,\r\"b\": 2}\r{\"a\": 3}\n{}")).to_pylist())'
        // [{'a': 1, 'b': 2}, {'a': 3, 'b': None}, {'a': None, 'b': None}]
        let rows = [("{\"a\": 1,\r\"b\": 2}", 1), ("{\"a\": 3}", 3), ("{}", 4)];
        check("{\"a\": 1,\r\"b\": 2}\r{\"a\": 3}\n{}", &rows.map(|(row, n)| (row, Place::Line(n))));
        check("{\"\r}\r{", &[("{\"\r}\r{", Place::Line(1))]);
    }

    #[test]
    fn lines_that_end_with_returns_only_are_cut_into_blocks_too() {
        let rows: Vec<_> =
            (0..20).map(|i| format!("{{\"a\": \"{}\"}}", "x".repeat(i * BLOCK / 7))).collect();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(rows.join("\r\r").as_bytes()).unwrap();
        let mut blocks = Blocks::new(Content::open(file.path()).unwrap());
        let (mut found, mut n_blocks) = (Vec::new(), 0);
        while let Some(block) = blocks.next(Path::new("f")).unwrap() {
            found.extend(block.rows().map(|it| (it.bytes.to_vec(), it.place)));
            n_blocks += 1;
        }
        assert!(n_blocks > 5, "{n_blocks}");
        let expected = rows.into_iter().map(String::into_bytes);
        let expected = expected.zip((1..).step_by(2).map(Place::Line));
        assert!(found.into_iter().eq(expected));
    }

    #[test]
    fn rows_are_the_same_wherever_blocks_end() {
        // Rows from nothing to three blocks, with blanks and brackets between, before and in them.
        let row =
            |i: usize| format!("{{\"a\": \"{}\\\"],[\"}}", "x".repeat(i * 7919 % (3 * BLOCK)));
        let blank = " ".repeat(BLOCK + 17);
        let rows: Vec<_> = (0..20).map(row).collect();
        let found =
            split(format!("{blank}[{}]{blank}", rows.join(&format!("{blank},"))).as_bytes());
        let expected = rows.iter().cloned().zip((1..).map(Place::Row));
        assert!(found.unwrap().into_iter().eq(expected));
        let found = split(format!("\n{blank}\n{}", rows.join("\n\n")).as_bytes());
        let expected = rows.iter().cloned().zip((3..).step_by(2).map(Place::Line));
        assert!(found.unwrap().into_iter().eq(expected));
    }

    #[test]
    fn broken_texts_say_how() {
        let long = format!("[\"{}\"", "x".repeat(2 * BLOCK));
        let end = long.len() as u64;
        for (text, expected) in [
            ("[{\"a\": \"b", SplitError::NoEnd(9)),
            ("[1, 2", SplitError::NoEnd(5)),
            ("[\"\\", SplitError::NoEnd(3)),
            ("[1] x", SplitError::Trailing(4)),
            ("\u{feff}{}", SplitError::ByteOrderMark),
            ("<html>", SplitError::NotJson("\"<html>\"".into())),
            (&long, SplitError::NoEnd(end)),
            (&format!("{long}] ]"), SplitError::Trailing(end + 2)),
        ] {
            let error = split(text.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), format!("f: {expected}"));
        }
    }
}
