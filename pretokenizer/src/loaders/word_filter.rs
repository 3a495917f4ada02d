//! Texts in which a model speaks of itself, which some loaders leave out.

use std::sync::LazyLock;

use regex::Regex;

/// The substrings that the reference looks for, without those that contain another one.
const WORDS: [&str; 21] = [
    "openai",
    "as an ai ",
    "i'm an ai ",
    "i am an ai ",
    "as a machine",
    "i cannot assist",
    "as a neutral ai",
    "my knowledge cutoff",
    "my knowledge cut off",
    "as a language model",
    "as a large language model",
    "i'm sorry, i cannot",
    "as a hypothetical ai",
    "i'm afraid i cannot create",
    "ai cannot create or program",
    "ai language model and i do not",
    "unfortunately, i cannot provide",
    "i don't have personal preferences",
    "i do not have personal preferences",
    "an ai language model you don't have",
    "as your dedicated ai language model",
];

/// Whether a text holds none of the words, in any case.
#[must_use]
pub fn accepts(text: &str) -> bool {
    static PATTERN: LazyLock<Regex> = LazyLock::new(|| {
        let words = WORDS.map(regex::escape).join("|");
        Regex::new(&words).expect("escaped words joined by `|` are a pattern")
    });
    !PATTERN.is_match(&text.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_any_case_and_blanks_count() {
        assert!(!accepts("made by OpenAI"));
        assert!(!accepts("As an AI I"));
        assert!(accepts("as an AI, I"));
        // U+212A, the Kelvin sign, is a `k` in lower case.
        assert!(!accepts("my \u{212a}nowledge cutoff"));
        assert!(accepts(""));
    }
}
