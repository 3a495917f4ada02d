//! JSON values as the reference's models (pydantic 1.10) take them: numbers for texts, words for truth.

use std::fmt;

use serde::de::{self, Error, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::python;

/// A text; a number or a truth value is written out as Python's `str` does it. Null is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(pub String);

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

impl From<Option<Text>> for Formatted {
    fn from(text: Option<Text>) -> Self {
        Self(text.map_or_else(|| "None".into(), String::from))
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
