//! Marks in a text: they go into a template with the messages, and come out where the messages stand.
//!
//! A mark is made of noncharacters (U+FDD0 to U+FDE3), which Unicode keeps free for such use inside a program. It stands
//! within the white space that surrounds a message, so that a template that trims its messages trims the marked ones in
//! the same way. Whether a template treats marked messages like plain ones is seen from its output: without marks it must
//! be the same.

use std::ops::Range;

const OPEN: char = '\u{FDD0}';
const CLOSE: char = '\u{FDD1}';
/// The first of sixteen digits, which say which message it is.
const DIGIT: u32 = 0xFDD2;
/// What a template says the model generates stands between these.
pub(crate) const GENERATED: [char; 2] = ['\u{FDE2}', '\u{FDE3}'];

/// Whether a character is of those that marks are made of.
pub(crate) fn is_mark(c: char) -> bool {
    ('\u{FDD0}'..='\u{FDE3}').contains(&c)
}

/// A message's text with marks around all but the white space at its ends; a blank text has nothing to mark.
pub(crate) fn put_in(text: &str, index: usize) -> String {
    let core = text.trim();
    if core.is_empty() {
        return text.to_owned();
    }
    let (before, after) = text.split_once(core).expect("a text contains its trimmed self");
    let index = digits(index);
    format!("{before}{OPEN}{index}{core}{CLOSE}{index}{after}")
}

fn digits(index: usize) -> String {
    let digit = |c: char| c.to_digit(16).and_then(|digit| char::from_u32(DIGIT + digit));
    format!("{index:x}").chars().filter_map(digit).collect()
}

/// A text without its marks, and where they were.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Unmarked {
    pub(crate) text: String,
    /// Which message begins where, in the order of the text.
    pub(crate) starts: Vec<(usize, usize)>,
    /// Which message ends where.
    pub(crate) ends: Vec<(usize, usize)>,
    /// What the model generates, in the template's own words.
    pub(crate) generated: Vec<Range<usize>>,
}

/// Takes the marks out of a text.
pub(crate) fn take_out(marked: &str) -> Unmarked {
    let mut found = Unmarked { text: String::with_capacity(marked.len()), ..Unmarked::default() };
    let mut generated = Vec::new();
    let mut rest = marked;
    while let Some(at) = rest.find(is_mark) {
        found.text.push_str(&rest[..at]);
        rest = &rest[at..];
        let place = found.text.len();
        let mut characters = rest.chars();
        let kind = characters.next();
        rest = characters.as_str();
        if kind == Some(OPEN) || kind == Some(CLOSE) {
            let mut index = 0;
            while let Some(digit) = rest.chars().next().and_then(digit_value) {
                index = index * 16 + digit;
                rest = &rest[OPEN.len_utf8()..];
            }
            let list = if kind == Some(OPEN) { &mut found.starts } else { &mut found.ends };
            list.push((index, place));
        } else if kind == Some(GENERATED[0]) {
            generated.push(place);
        } else if kind == Some(GENERATED[1])
            && let Some(start) = generated.pop()
        {
            found.generated.push(start..place);
        }
    }
    found.text.push_str(rest);
    found
}

fn digit_value(c: char) -> Option<usize> {
    let value = (c as u32).checked_sub(DIGIT).filter(|digit| *digit < 16)?;
    usize::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_come_out_where_they_went_in_and_leave_nothing_behind() {
        let [open, close] = GENERATED;
        let text = format!("<s>{}|{open}{}{close}", put_in(" a b\n", 3), put_in("č", 0x1f));
        let expected = Unmarked {
            text: "<s> a b\n|č".into(),
            starts: vec![(3, 4), (0x1f, 9)],
            ends: vec![(3, 7), (0x1f, 11)],
            generated: std::iter::once(9..11).collect(),
        };
        assert_eq!(take_out(&text), expected);
        assert_eq!(put_in(" \n", 1), " \n");
    }
}
