//! One item of `datasets`: a name, or a name with keys.

use std::fmt;

use cli::suggest;
use cli::yaml::{Location, Spanned};
use cli::{Yaml, YamlError};
use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::names;
use crate::config::sources::{Kind, Source};

/// A dataset of a datamix.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The dataset's name as it is written, or the `name` of a generic source: validation sets go by it.
    pub name: String,
    /// What the entry is called in the YAML: the dataset, or the kind of source.
    kind: String,
    /// Its keys.
    pub source: Source,
    /// Where it stands, as `file:line:column`.
    pub place: String,
    location: Location,
    known: bool,
}

impl Entry {
    /// The name by which the loader is chosen.
    #[must_use]
    pub fn key(&self) -> String {
        self.kind.to_lowercase()
    }

    /// Checks the name and notes the file.
    pub(crate) fn locate(&mut self, yaml: &Yaml) -> Result<(), YamlError> {
        if !self.known {
            let hint = suggest::hint(&self.kind, names::all(), "the datasets there are");
            let message = format!("unknown dataset `{}`", self.kind);
            return Err(yaml.error_at(self.location, &message, Some(&hint)));
        }
        self.place = format!("{}:{}:{}", yaml.name(), self.location.line(), self.location.column());
        Ok(())
    }

    fn new(kind: String, source: Option<Source>, location: Location) -> Self {
        let name = source.as_ref().and_then(Source::given_name).unwrap_or(&kind).to_owned();
        Self {
            name,
            kind,
            known: source.is_some(),
            source: source.unwrap_or_else(|| Source::without_keys(Kind::NotSupported)),
            place: String::new(),
            location,
        }
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value: Item { name, source }, referenced: location, .. } =
            Spanned::deserialize(deserializer)?;
        Ok(Self::new(name, source, location))
    }
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(&self.kind, &self.source)?;
        map.end()
    }
}

/// What an item of the list says; a name that nobody knows has no source.
struct Item {
    name: String,
    source: Option<Source>,
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ItemVisitor)
    }
}

struct ItemVisitor;

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = Item;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a dataset's name, alone or with its keys")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Item, E> {
        let source = names::kind(name).map(Source::without_keys);
        Ok(Item { name: name.to_string(), source })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item, A::Error> {
        let name: String =
            map.next_key()?.ok_or_else(|| de::Error::custom("an entry without a name"))?;
        let source = map.next_value_seed(Keys(&name))?;
        if let Some(next) = map.next_key::<String>()? {
            return Err(de::Error::custom(format!(
                "a second name, `{next}`, in the entry of `{name}`: indent the keys of `{name}` deeper than its name"
            )));
        }
        Ok(Item { name, source })
    }
}

/// Reads the keys of a dataset of which the name is known already.
struct Keys<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for Keys<'_> {
    type Value = Option<Source>;

    fn deserialize<D: Deserializer<'de>>(self, keys: D) -> Result<Self::Value, D::Error> {
        match names::kind(self.0) {
            None => IgnoredAny::deserialize(keys).map(|_| None),
            Some(Kind::NotSupported) => {
                IgnoredAny::deserialize(keys)?;
                Ok(Some(Source::without_keys(Kind::NotSupported)))
            }
            Some(kind) => Source::read(kind, keys).map(Some),
        }
    }
}
