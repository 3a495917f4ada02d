//! Special tokens: strings that become one id wherever they stand in a text.
//!
//! A text is read from the left; of all special strings the one that starts earliest is taken, among those that start
//! there the one registered first - not the longest -, and the search goes on behind it.

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

    /// Cuts a text at its special strings and hands the pieces over, in order.
    pub(crate) fn split<'t>(&self, text: &'t str, mut piece: impl FnMut(Piece<'t>)) {
        let mut start = 0;
        for found in self.finder.find_iter(text) {
            if start < found.start() {
                piece(Piece::Text(&text[start..found.start()]));
            }
            piece(Piece::Special(self.tokens[found.pattern().as_usize()].1));
            start = found.end();
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
}
