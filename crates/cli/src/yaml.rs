//! A YAML file -> a checked type, or an error that says file, line, column, key and what was probably meant.
//!
//! The types that are read say `deny_unknown_fields`: a typo must never be a setting that nobody reads. Duplicate
//! keys are errors too. A scalar is read as the type that the key wants, so `lang: no` is the text `no`.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_saphyr::Error as SaphyrError;
pub use serde_saphyr::{Location, Spanned};

use crate::suggest;

/// A YAML text with the name that errors call it by.
#[derive(Debug, Clone)]
pub struct Yaml {
    name: String,
    text: String,
}

/// What is wrong with a YAML text, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YamlError(String);

impl std::fmt::Display for YamlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for YamlError {}

impl Yaml {
    /// Reads a file; errors name it as it was given.
    pub fn open(path: &Path) -> Result<Self, YamlError> {
        let text = fs_err::read_to_string(path).map_err(|e| YamlError(e.to_string()))?;
        Ok(Self::from_text(path.display().to_string(), text))
    }

    /// A text that is already at hand; `name` stands where a path would.
    pub fn from_text(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }

    /// The name that errors call it by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text itself.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The whole text as a `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, YamlError> {
        serde_saphyr::from_str(&self.text).map_err(|error| self.explain(error.without_snippet()))
    }

    /// An error of our own about the place of a [`Spanned`] value: `name:line:column: message`, the line with a mark
    /// under it, and the hint.
    #[must_use]
    pub fn error_at(&self, location: Location, message: &str, hint: Option<&str>) -> YamlError {
        let (line, column) = (location.line(), location.column());
        let mut out = format!("{}:{line}:{column}: {message}", self.name);
        let index = usize::try_from(line).unwrap_or(0).wrapping_sub(1);
        if let Some(text) = self.text.lines().nth(index) {
            let number = line.to_string();
            let margin = " ".repeat(number.len());
            let indent = " ".repeat(usize::try_from(column).unwrap_or(1).saturating_sub(1));
            out += &format!("\n{margin} |\n{number} | {text}\n{margin} | {indent}^");
        }
        if let Some(hint) = hint {
            out += &format!("\nhint: {hint}");
        }
        YamlError(out)
    }

    /// The library's error in our words, with a suggestion where a name is unknown.
    fn explain(&self, error: &SaphyrError) -> YamlError {
        let (message, hint) = match error {
            SaphyrError::SerdeUnknownField { field, expected, .. } => {
                let hint = suggest::hint(field, expected.iter().copied(), "the keys there are");
                (format!("unknown key `{field}`"), Some(hint))
            }
            SaphyrError::SerdeUnknownVariant { variant, expected, .. } => {
                let hint = suggest::hint(variant, expected.iter().copied(), "the values there are");
                (format!("unknown value `{variant}`"), Some(hint))
            }
            SaphyrError::SerdeMissingField { field, .. } => {
                let at_start = error.location().is_none_or(|it| (it.line(), it.column()) == (1, 1));
                let place = if at_start { "in this file" } else { "here" };
                (format!("the key `{field}` is missing {place}"), None)
            }
            SaphyrError::DuplicateMappingKey { key, .. } => {
                let key = key.as_deref().unwrap_or("?");
                let hint = "keep one of the two: which one counts would depend on the reader";
                (format!("the key `{key}` stands here a second time"), Some(hint.to_string()))
            }
            SaphyrError::InvalidScalar { ty, .. } => {
                let ty = plain_type(ty);
                let message = match self.key_at(error) {
                    key if key.is_empty() => {
                        format!("this is not a value of the expected type, {ty}")
                    }
                    key => format!("{key}expected {ty}"),
                };
                (message, None)
            }
            SaphyrError::Unexpected { expected, .. } => {
                (format!("{}expected {}", self.key_at(error), plain_structure(expected)), None)
            }
            SaphyrError::NullIntoString { .. } => {
                let hint = "an empty text is written as `\"\"`";
                ("there is no value here, expected a text".to_string(), Some(hint.to_string()))
            }
            SaphyrError::Eof { .. } => {
                let what = if self.text.trim().is_empty() { "is empty" } else { "ends here" };
                (format!("the file {what}, expected keys and values"), None)
            }
            SaphyrError::MultipleDocuments { .. } => {
                let hint =
                    "one file holds one document: remove the line `---` or make it two files";
                ("a second document begins here".to_string(), Some(hint.to_string()))
            }
            SaphyrError::SerdeInvalidLength { len, expected, .. } => {
                let expected = expected
                    .strip_prefix("a tuple of size ")
                    .map_or_else(|| expected.to_string(), |size| format!("{size} values"));
                (format!("found a list of length {len}, expected {expected}"), None)
            }
            SaphyrError::ExternallyTaggedEnumExpectedScalarOrMapping { .. } => {
                ("expected a name, alone or with its keys".to_string(), None)
            }
            SaphyrError::SerdeInvalidType { unexpected, expected, .. }
            | SaphyrError::SerdeInvalidValue { unexpected, expected, .. } => {
                (format!("found {}, expected {expected}", plain_value(unexpected)), None)
            }
            SaphyrError::Message { msg, .. } => (msg.clone(), None),
            other => {
                // The library ends its messages with the place, which stands at the head of ours.
                let text = other.to_string();
                let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
                (text.to_string(), None)
            }
        };
        match error.location() {
            Some(location) => self.error_at(location, &message, hint.as_deref()),
            None => YamlError(format!("{}: {message}", self.name)),
        }
    }
}

impl Yaml {
    /// "`KEY`: " if the place of an error is that of the key's value, on one line with it.
    fn key_at(&self, error: &SaphyrError) -> String {
        let key = || {
            let location = error.location()?;
            let line =
                self.text.lines().nth(usize::try_from(location.line()).ok()?.checked_sub(1)?)?;
            let before = usize::try_from(location.column()).ok()?.checked_sub(1)?;
            let before: String = line.chars().take(before).collect();
            let before = before.trim_end().strip_suffix(':')?;
            let start = before.rfind([' ', '{', ',', '[']).map_or(0, |at| at + 1);
            // A quoted key is that of a text which a program made: its reader names the setting by itself.
            Some(&before[start..]).filter(|key| !key.contains('"')).map(|key| format!("`{key}`: "))
        };
        key().unwrap_or_default()
    }
}

/// A Rust type's name in words.
fn plain_type(ty: &str) -> &str {
    match ty {
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, not negative",
        "f32" | "f64" => "a number",
        "bool" => "`true` or `false`",
        other => other,
    }
}

/// What the library calls the parts of a YAML text, in words.
fn plain_structure(expected: &str) -> &str {
    match expected {
        "sequence start" => "a list",
        "mapping start" => "keys and values",
        // Numbers are scalars, too: what kind of value it is the library does not say here.
        "scalar" | "string scalar" => "a single value",
        "empty mapping start" | "empty mapping end" => "no keys",
        "mapping end" => "no more keys",
        other => other,
    }
}

/// What serde calls a value that it found, in words.
fn plain_value(unexpected: &str) -> String {
    match unexpected.split_once(' ') {
        Some(("string", text)) => format!("the text {text}"),
        Some(("integer" | "boolean", value)) => value.to_string(),
        Some(("floating", value)) => value.trim_start_matches("point ").to_string(),
        _ => match unexpected {
            "sequence" => "a list",
            "map" => "keys and values",
            "null" | "unit value" | "Option value" => "no value",
            other => other,
        }
        .to_string(),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it can be read is looked at")]
    struct Source {
        fraction: Option<f64>,
        rows: Option<u32>,
        lang: Option<String>,
    }

    #[track_caller]
    fn check(text: &str, expected: &Expect) {
        let error = Yaml::from_text("mix.yaml", text).parse::<Source>().unwrap_err();
        expected.assert_eq(&error.to_string());
    }

    #[test]
    fn an_error_names_the_place_the_key_and_the_probable_key() {
        check(
            "lang: de\nfracton: 0.5\n",
            &expect![[r#"
                mix.yaml:2:1: unknown key `fracton`
                  |
                2 | fracton: 0.5
                  | ^
                hint: did you mean `fraction`?"#]],
        );
        check(
            "rows: many\n",
            &expect![[r#"
                mix.yaml:1:7: `rows`: expected a whole number, not negative
                  |
                1 | rows: many
                  |       ^"#]],
        );
        check(
            "rows: 1\nrows: 2\n",
            &expect![[r#"
                mix.yaml:2:1: the key `rows` stands here a second time
                  |
                2 | rows: 2
                  | ^
                hint: keep one of the two: which one counts would depend on the reader"#]],
        );
        check(
            "colour: red\n",
            &expect![[r#"
                mix.yaml:1:1: unknown key `colour`
                  |
                1 | colour: red
                  | ^
                hint: the keys there are: `fraction`, `rows`, `lang`"#]],
        );
    }

    #[test]
    fn the_wrong_kind_of_value_is_told_in_plain_words() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(dead_code, reason = "only whether it can be read is looked at")]
        struct Job {
            name: String,
            files: Option<Vec<String>>,
            source: Option<Source>,
            pair: Option<(u32, u32)>,
            way: Option<Way>,
        }
        #[derive(Debug, Deserialize)]
        enum Way {
            #[serde(rename = "fast")]
            Fast,
        }
        #[track_caller]
        fn check(text: &str, expected: &str) {
            let error = Yaml::from_text("job.yaml", text).parse::<Job>().unwrap_err().to_string();
            let (first, hint) =
                (error.lines().next(), error.lines().find(|it| it.starts_with("hint:")));
            let told: Vec<_> = first.into_iter().chain(hint).collect();
            assert_eq!(told.join("\n"), expected);
        }
        check("files: a.json\n", "job.yaml:1:8: `files`: expected a list");
        check("files: {a: b}\n", "job.yaml:1:8: `files`: expected a list");
        check("source: 5\n", "job.yaml:1:9: `source`: expected keys and values");
        check("source: [a]\n", "job.yaml:1:9: `source`: expected keys and values");
        check("- a\n", "job.yaml:1:1: expected keys and values");
        check("", "job.yaml:1:1: the file is empty, expected keys and values");
        check("name: [a]\n", "job.yaml:1:7: `name`: expected a single value");
        check("source: {rows: [1]}\n", "job.yaml:1:16: `rows`: expected a single value");
        check(
            "name:\n",
            "job.yaml:1:5: there is no value here, expected a text\nhint: an empty text is written as `\"\"`",
        );
        check("pair: [1]\n", "job.yaml:1:1: found a list of length 1, expected 2 values");
        check("way: [fast]\n", "job.yaml:1:6: expected a name, alone or with its keys");
        check(
            "name: a\n---\nname: b\n",
            "job.yaml:3:1: a second document begins here\nhint: one file holds one document: remove the line `---` or make it two files",
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Yaml::open(Path::new("no/such.yaml")).unwrap_err();
        assert!(error.to_string().contains("no/such.yaml"), "{error}");
    }

    #[test]
    fn a_bare_no_is_the_text_that_a_text_key_wants() {
        let source: Source = Yaml::from_text("mix.yaml", "lang: no\n").parse().unwrap();
        assert_eq!(source.lang.as_deref(), Some("no"));
    }
}
