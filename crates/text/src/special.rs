//! Special tokens: strings that become one id wherever they stand in a text.
//!
//! A text is read from the left; of all special strings the one that starts earliest is taken, among those that start
//! there the one registered first - not the longest -, and the search goes on behind it.

use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};

/// The special tokens in the order of their registration, and the automaton that finds them.
#[derive(Debug)]
pub(crate) struct SpecialTokens {
    tokens: Vec<(String, u32)>,
    finder: AhoCorasick,
}

/// What a text is made of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'t> {
    /// A text without special strings; never empty.
    Text(&'t str),
    /// A special token's id.
    Special(u32),
}

impl SpecialTokens {
    /// The tokens in this order; a repeated one keeps its first place.
    pub(crate) fn new(tokens: impl IntoIterator<Item = (String, u32)>) -> Self {
        let mut distinct: Vec<(String, u32)> = Vec::new();
        for (token, id) in tokens {
            if !distinct.iter().any(|(known, _)| *known == token) {
                distinct.push((token, id));
            }
        }
        // "Leftmost first" is the rule above, to the letter.
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostFirst)
            .build(distinct.iter().map(|(token, _)| token))
            .expect("a list of special tokens is far below the automaton's limits");
        Self { tokens: distinct, finder }
    }

    pub(crate) fn tokens(&self) -> &[(String, u32)] {
        &self.tokens
    }

    pub(crate) fn id(&self, token: &str) -> Option<u32> {
        self.tokens.iter().find(|(known, _)| known == token).map(|&(_, id)| id)
    }

    pub(crate) fn token(&self, id: u32) -> Option<&str> {
        self.tokens.iter().find(|&&(_, known)| known == id).map(|(token, _)| token.as_str())
    }

    /// The special strings in a text, by their places in [`SpecialTokens::tokens`].
    pub(crate) fn find(&self, text: &str) -> impl Iterator<Item = usize> {
        self.finder.find_iter(text).map(|found| found.pattern().as_usize())
    }

    /// Cuts a text at its special strings and hands the pieces over, in order.
    pub(crate) fn split<'t>(&self, text: &'t str, piece: impl FnMut(Piece<'t>)) {
        self.split_around(text, 0..0, piece);
    }

    /// The same, but nothing that reaches into these bytes of the text is special.
    pub(crate) fn split_around<'t>(
        &self,
        text: &'t str,
        plain: Range<usize>,
        mut piece: impl FnMut(Piece<'t>),
    ) {
        let found = |from: usize, to: usize| {
            let found = self.finder.find_iter(&text[from..to]);
            found.map(move |it| (from + it.start(), from + it.end(), it.pattern().as_usize()))
        };
        let mut start = 0;
        for (from, to, token) in found(0, plain.start).chain(found(plain.end, text.len())) {
            if start < from {
                piece(Piece::Text(&text[start..from]));
            }
            piece(Piece::Special(self.tokens[token].1));
            start = to;
        }
        if start < text.len() {
            piece(Piece::Text(&text[start..]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tokens: &[&str], text: &str, expected: &[Piece<'_>]) {
        let tokens = SpecialTokens::new(tokens.iter().map(ToString::to_string).zip(100..));
        let mut pieces = Vec::new();
        tokens.split(text, |piece| pieces.push(piece));
        assert_eq!(pieces, expected);
    }

    #[test]
    fn the_earliest_is_taken_and_among_equals_the_one_registered_first() {
        use Piece::{Special, Text};
        check(&["<a>", "<a"], "x<a>y", &[Text("x"), Special(100), Text("y")]);
        check(&["<a", "<a>"], "x<a>y", &[Text("x"), Special(100), Text(">y")]);
        check(&["bc", "ab"], "abc", &[Special(101), Text("c")]);
        check(&["a", "a"], "aa", &[Special(100), Special(100)]);
        check(&[], "a", &[Text("a")]);
        check(&["a"], "", &[]);
    }

    #[test]
    fn what_reaches_into_the_plain_bytes_is_not_special() {
        let tokens = SpecialTokens::new([("<a>".into(), 100)]);
        let check = |text, plain, expected: &[Piece<'_>]| {
            let mut pieces = Vec::new();
            tokens.split_around(text, plain, |piece| pieces.push(piece));
            assert_eq!(pieces, expected);
        };
        use Piece::{Special, Text};
        check("<a>x<a>y<a>", 3..8, &[Special(100), Text("x<a>y"), Special(100)]);
        check("<a>", 2..3, &[Text("<a>")]);
        check("z<a><a>", 0..2, &[Text("z<a>"), Special(100)]);
        check("<a>", 0..3, &[Text("<a>")]);
    }
}
