//! Values of keys: absent, null or set; a share or a number of rows; one file name or several.

use std::fmt;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A key of a section. Null is not absence: a null in a later section takes an earlier section's value away.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Key<T> {
    /// The section does not have the key.
    #[default]
    Absent,
    /// The section has the key without a value.
    Null,
    /// The section sets the key.
    Set(T),
}

impl<T> Key<T> {
    /// The value, if there is one.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Set(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }

    /// Whether a section says nothing about the key.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

impl<T: Clone> Key<T> {
    /// What an argument of the reference is: its default where the key is absent, nothing where it is null.
    pub(crate) fn argument(key: Option<&Self>, default: Option<T>) -> Option<T> {
        key.map_or(default, |key| key.value().cloned())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Key<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<T>::deserialize(deserializer)?.map_or(Self::Null, Self::Set))
    }
}

impl<T: Serialize> Serialize for Key<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(serializer)
    }
}

/// How much of a dataset goes to validation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ValSplit {
    /// A number of rows, written without a decimal point.
    Count(usize),
    /// A share of the rows.
    Fraction(f64),
}

impl ValSplit {
    /// What the reference takes where an entry does not say.
    pub const DEFAULT: Self = Self::Fraction(0.2);

    /// Whether nothing goes to validation.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self == Self::Count(0) || self == Self::Fraction(0.0)
    }
}

impl fmt::Display for ValSplit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(n) => write!(f, "{n}"),
            Self::Fraction(share) => write!(f, "{share}"),
        }
    }
}

impl<'de> Deserialize<'de> for ValSplit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = ValSplit;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a share of the rows such as `0.2`, or a number of rows such as `100`")
            }

            fn visit_u64<E: de::Error>(self, n: u64) -> Result<ValSplit, E> {
                usize::try_from(n).map(ValSplit::Count).map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, n: i64) -> Result<ValSplit, E> {
                usize::try_from(n)
                    .map(ValSplit::Count)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(n), &self))
            }

            fn visit_f64<E: de::Error>(self, share: f64) -> Result<ValSplit, E> {
                if (0.0..=1.0).contains(&share) {
                    Ok(ValSplit::Fraction(share))
                } else {
                    Err(E::custom(format!("`{share:?}` is no share: expected 0.0 to 1.0")))
                }
            }

            /// Python counts with truth values.
            fn visit_bool<E: de::Error>(self, all: bool) -> Result<ValSplit, E> {
                Ok(ValSplit::Fraction(f64::from(u8::from(all))))
            }
        }
        deserializer.deserialize_any(Number)
    }
}

/// One file name or a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileNames(pub Vec<String>);

impl FileNames {
    /// One name.
    #[must_use]
    pub fn one(name: &str) -> Self {
        Self(vec![name.to_string()])
    }
}

/// Names of languages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Languages(pub Vec<String>);

/// One name or a list of them; what they are names of.
struct Names(&'static str);

impl<'de> Visitor<'de> for Names {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} or a list of them", self.0)
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Vec<String>, E> {
        Ok(vec![name.to_string()])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<Vec<String>, A::Error> {
        let mut all = Vec::new();
        while let Some(name) = names.next_element()? {
            all.push(name);
        }
        Ok(all)
    }
}

impl<'de> Deserialize<'de> for FileNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Names("a file name")).map(Self)
    }
}

impl<'de> Deserialize<'de> for Languages {
    /// A text may have several, with commas between.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = deserializer.deserialize_any(Names("a language"))?;
        let names = names.iter().flat_map(|name| name.split(','));
        Ok(Self(names.map(|name| name.trim().to_owned()).collect()))
    }
}
