//! JSON values as the reference's models (pydantic 1.10) take them: numbers for texts, words for truth.

use std::fmt;

use serde::de::{Error, IgnoredAny, SeqAccess, Unexpected, Visitor};
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

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer, "a text", Scalar::text)
    }
}

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer, "a number or a text", |scalar| Ok(scalar.cell()))
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer, "true or false", |scalar| scalar.flag().ok_or(scalar)).map(Self)
    }
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer, "a whole number", |scalar| scalar.whole().ok_or(scalar)).map(Self)
    }
}

impl<'de> Deserialize<'de> for Real {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer, "a number", Scalar::real).map(Self)
    }
}

impl<'de> Deserialize<'de> for Answer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let answer = AsScalar { expected: "a text, or a list of texts", or_first_of_list: true };
        let scalar = deserializer.deserialize_any(answer)?;
        let text = scalar.text().map_err(|it| it.refused_as(answer.expected))?;
        Ok(Self(text.0))
    }
}

/// Reads one value, and makes of it what is expected, or gives it back.
fn read<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    expected: &'static str,
    make: impl FnOnce(Scalar) -> Result<T, Scalar>,
) -> Result<T, D::Error> {
    let scalar = deserializer.deserialize_any(AsScalar { expected, or_first_of_list: false })?;
    make(scalar).map_err(|it| it.refused_as(expected))
}

/// What may stand in JSON where one value is wanted.
#[derive(Debug)]
enum Scalar {
    Null,
    Truth(bool),
    /// Of 64 bits, with or without a sign.
    Whole(i128),
    Real(f64),
    Text(String),
}

impl Scalar {
    /// `str(value)`, but nothing of null.
    fn text(self) -> Result<Text, Self> {
        Ok(Text(match self {
            Self::Null => return Err(self),
            Self::Truth(value) => if value { "True" } else { "False" }.into(),
            Self::Whole(value) => value.to_string(),
            Self::Real(value) => {
                numbers::note(value);
                python::float_repr(value)
            }
            Self::Text(text) => text,
        }))
    }

    fn flag(&self) -> Option<bool> {
        match self {
            Self::Truth(value) => Some(*value),
            Self::Whole(value @ (0 | 1)) => Some(*value == 1),
            Self::Real(value) => (*value == 0.0 || *value == 1.0).then_some(*value == 1.0),
            Self::Text(text) => match text.to_lowercase().as_str() {
                "1" | "true" | "t" | "yes" | "y" | "on" => Some(true),
                "0" | "false" | "f" | "no" | "n" | "off" => Some(false),
                _ => None,
            },
            Self::Whole(_) | Self::Null => None,
        }
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "Python's int() truncates, and JSON has no number near the limits of a rank"
    )]
    fn whole(&self) -> Option<i64> {
        match self {
            Self::Null => None,
            Self::Truth(value) => Some(i64::from(*value)),
            Self::Whole(value) => i64::try_from(*value).ok(),
            Self::Real(value) => Some(*value as i64),
            Self::Text(text) => python::strip(text).parse().ok(),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "Python's float() rounds as well")]
    fn real(self) -> Result<f64, Self> {
        match self {
            Self::Truth(value) => Ok(f64::from(u8::from(value))),
            Self::Real(value) => {
                numbers::note(value);
                Ok(value)
            }
            Self::Whole(value) => Ok(value as f64),
            other => {
                let Text(text) = other.text()?;
                python::strip(&text).parse().map_err(|_| Self::Text(text))
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "arrow loses it as well")]
    fn cell(self) -> Cell {
        match self {
            Self::Null => Cell::Other(None.into()),
            Self::Truth(_) => Cell::Other(self.text().ok().into()),
            Self::Whole(value) => {
                i64::try_from(value).map_or(Cell::Real(value as f64), Cell::Whole)
            }
            Self::Real(value) => {
                // A large one is no whole number here, whatever its text.
                if value.abs() < 1.0 {
                    numbers::note(value);
                }
                Cell::Real(value)
            }
            // So are numbers handed over that are not finite.
            Self::Text(text) if ["nan", "inf", "-inf"].contains(&text.as_str()) => {
                Cell::Real(text.parse().expect("Rust writes them as Python does"))
            }
            Self::Text(text) => Cell::Other(Formatted(text)),
        }
    }

    fn refused_as<E: Error>(self, expected: &str) -> E {
        let unexpected = match &self {
            Self::Null => Unexpected::Unit,
            Self::Truth(value) => Unexpected::Bool(*value),
            Self::Whole(value) => match u64::try_from(*value) {
                Ok(value) => Unexpected::Unsigned(value),
                Err(_) => Unexpected::Signed(i64::try_from(*value).unwrap_or(i64::MIN)),
            },
            Self::Real(value) => Unexpected::Float(*value),
            Self::Text(text) => Unexpected::Str(text),
        };
        E::invalid_value(unexpected, &expected)
    }
}

/// Reads one value.
#[derive(Clone, Copy)]
struct AsScalar {
    /// What a list or an object is told instead.
    expected: &'static str,
    or_first_of_list: bool,
}

impl<'de> Visitor<'de> for AsScalar {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar::Truth(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar::Whole(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Scalar, E> {
        Ok(Scalar::Whole(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Scalar, E> {
        Ok(Scalar::Real(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(text.to_string()))
    }

    fn visit_string<E>(self, text: String) -> Result<Scalar, E> {
        Ok(Scalar::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Scalar, A::Error> {
        if !self.or_first_of_list {
            return Err(A::Error::invalid_type(Unexpected::Seq, &self));
        }
        let first = list.next_element()?.ok_or_else(|| A::Error::invalid_length(0, &self))?;
        while list.next_element::<IgnoredAny>()?.is_some() {}
        let Text(first) = first;
        Ok(Scalar::Text(first))
    }
}
