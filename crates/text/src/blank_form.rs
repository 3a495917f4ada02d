//! A text in *blank form*, as the fast path reads it: each `▁` is an ordinary blank, one byte.
//!
//! There are [`BEHIND`] zeros behind it, so that whole words and blocks of bytes can be read anywhere in it.

use memchr::memmem::Finder;

use crate::model::BLANK;

/// How many bytes may be read from any place in a text, and so over its end.
pub(crate) const BEHIND: usize = 65;

const ZEROS: &str = match str::from_utf8(&[0; BEHIND]) {
    Ok(zeros) => zeros,
    Err(_) => unreachable!(),
};

/// A text, and room for the next one.
#[derive(Debug)]
pub(crate) struct BlankForm {
    text: String,
    length: usize,
    visible_blanks: Finder<'static>,
}

impl BlankForm {
    pub(crate) fn new() -> Self {
        Self { text: String::new(), length: 0, visible_blanks: Finder::new(BLANK) }
    }

    /// Takes over a text, with one blank in front if it is to have one.
    pub(crate) fn read(&mut self, text: &str, dummy_prefix: bool) {
        self.text.clear();
        if dummy_prefix {
            self.text.push(' ');
        }
        let mut start = 0;
        for blank in self.visible_blanks.find_iter(text.as_bytes()) {
            self.text.push_str(&text[start..blank]);
            self.text.push(' ');
            start = blank + BLANK.len();
        }
        self.text.push_str(&text[start..]);
        self.length = self.text.len();
        self.text.push_str(ZEROS);
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// A part of the text.
    #[inline]
    pub(crate) fn part(&self, start: usize, length: usize) -> &str {
        &self.text[start..start + length]
    }

    /// The bytes from a place in the text on; at most [`BEHIND`].
    #[inline]
    pub(crate) fn bytes<const N: usize>(&self, start: usize) -> &[u8; N] {
        self.text.as_bytes()[start..].first_chunk().expect("there are bytes behind the text")
    }
}
