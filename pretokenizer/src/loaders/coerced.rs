//! JSON values as the reference's models (pydantic 1.10) take them: numbers for texts, words for truth.

use std::fmt;

use serde::de::{self, Error, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::python;
use crate::source::{BadField, numbers};

/// A text; a number or a truth value is written out as Python's `str` does it. Null is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(pub String);

/// A text of which a row that is left out has no need.
pub(crate) fn needed(text: Option<String>, field: &str) -> Result<String, BadField> {
    text.ok_or_else(|| BadField::Wrong(format!("field `{field}`: found null, expected a text")))
}

impl From<Text> for String {
    fn from(Text(text): Text) -> Self {
        text
    }
}

/// An answer: a text, or the first text of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer(pub String);

impl From<Answer> for String {
    fn from(Answer(text): Answer) -> Self {
        text
    }
}

/// A text as Python's `format` writes it, which takes null, too.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Option<Text>")]
pub struct Formatted(pub String);

impl From<Formatted> for String {
    fn from(Formatted(text): Formatted) -> Self {
        text
    }
}

impl From<Option<Text>> for Formatted {
    fn from(text: Option<Text>) -> Self {
        Self(text.map_or_else(|| "None".into(), String::from))
    }
}

/// What stands in a column that may have numbers. Arrow gives all of them one type, so that a whole number beside others is
/// no whole number, and one of 64 bits or more never is.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// A whole number.
    Whole(i64),
    /// Another number.
    Real(f64),
    /// No number.
    Other(Formatted),
}

impl Cell {
    /// As Python's `format` writes it, in a column with other than whole numbers or without.
    #[must_use]
    pub fn formatted(self, column_has_reals: bool) -> String {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "arrow loses it as well")]
            Self::Whole(value) if column_has_reals => python::float_repr(value as f64),
            Self::Whole(value) => value.to_string(),
            Self::Real(value) => python::float_repr(value),
            Self::Other(Formatted(text)) => text,
        }
    }
}

/// A truth value; 0, 1 and the usual words count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flag(pub bool);

/// A whole number; `1.0` and `"1"` count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole(pub i64);

/// A number; texts of one count, and truth values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Real(pub f64);

impl<'de> Deserialize<'de> for Real {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        match text.as_str() {
            "True" => Ok(Self(1.0)),
            "False" => Ok(Self(0.0)),
            text => python::strip(text)
                .parse()
                .map(Self)
                .map_err(|_| D::Error::invalid_value(de::Unexpected::Str(text), &"a number")),
        }
    }
}

impl<'de> Deserialize<'de> for Answer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AsText { or_first_of_list: true }).map(|Text(text)| Self(text))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AsText { or_first_of_list: false })
    }
}

/// Reads a text.
struct AsText {
    or_first_of_list: bool,
}

impl<'de> Visitor<'de> for AsText {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.or_first_of_list { "a text, or a list of texts" } else { "a text" })
    }

    fn visit_str<E>(self, text: &str) -> Result<Text, E> {
        Ok(Text(text.to_string()))
    }

    fn visit_string<E>(self, text: String) -> Result<Text, E> {
        Ok(Text(text))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Text, E> {
        Ok(Text(if value { "True" } else { "False" }.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Text, E> {
        Ok(Text(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Text, E> {
        Ok(Text(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Text, E> {
        numbers::note(value);
        Ok(Text(python::float_repr(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Text, A::Error> {
        if !self.or_first_of_list {
            return Err(A::Error::invalid_type(de::Unexpected::Seq, &self));
        }
        let first = list.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(first)
    }
}

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsCell;
        impl Visitor<'_> for AsCell {
            type Value = Cell;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or a text")
            }

            fn visit_i64<E>(self, value: i64) -> Result<Cell, E> {
                Ok(Cell::Whole(value))
            }

            #[expect(clippy::cast_precision_loss, reason = "arrow loses it as well")]
            fn visit_u64<E>(self, value: u64) -> Result<Cell, E> {
                Ok(i64::try_from(value).map_or(Cell::Real(value as f64), Cell::Whole))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Cell, E> {
                // A large one is no whole number here, whatever its text.
                if value == 0.0 {
                    numbers::note(value);
                }
                Ok(Cell::Real(value))
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Cell, E> {
                AsText { or_first_of_list: false }.visit_bool(value).map(Some).map(Cell::from)
            }

            fn visit_str<E>(self, text: &str) -> Result<Cell, E> {
                Ok(Cell::from(Some(Text(text.to_string()))))
            }

            fn visit_unit<E>(self) -> Result<Cell, E> {
                Ok(Cell::from(None))
            }
        }
        deserializer.deserialize_any(AsCell)
    }
}

impl From<Option<Text>> for Cell {
    fn from(text: Option<Text>) -> Self {
        Self::Other(text.into())
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsFlag;
        impl Visitor<'_> for AsFlag {
            type Value = Flag;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true or false")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Flag, E> {
                Ok(Flag(value))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Flag, E> {
                match value {
                    0 | 1 => Ok(Flag(value == 1)),
                    _ => Err(E::invalid_value(de::Unexpected::Unsigned(value), &self)),
                }
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Flag, E> {
                if value == 0.0 || value == 1.0 {
                    Ok(Flag(value == 1.0))
                } else {
                    Err(E::invalid_value(de::Unexpected::Float(value), &self))
                }
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Flag, E> {
                match text.to_lowercase().as_str() {
                    "1" | "true" | "t" | "yes" | "y" | "on" => Ok(Flag(true)),
                    "0" | "false" | "f" | "no" | "n" | "off" => Ok(Flag(false)),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }
        }
        deserializer.deserialize_any(AsFlag)
    }
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsWhole;
        impl Visitor<'_> for AsWhole {
            type Value = Whole;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Whole, E> {
                Ok(Whole(i64::from(value)))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Whole, E> {
                Ok(Whole(value))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Whole, E> {
                i64::try_from(value).map(Whole).map_err(E::custom)
            }

            #[expect(
                clippy::cast_possible_truncation,
                reason = "Python's int() truncates, and JSON has no number near the limits of a rank"
            )]
            fn visit_f64<E>(self, value: f64) -> Result<Whole, E> {
                Ok(Whole(value as i64))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Whole, E> {
                let unexpected = |_| E::invalid_value(de::Unexpected::Str(text), &self);
                python::strip(text).parse().map(Whole).map_err(unexpected)
            }
        }
        deserializer.deserialize_any(AsWhole)
    }
}
