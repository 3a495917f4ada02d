//! `remove_near_duplicates`: on, or on with keys of its own.

use serde::de::{self, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize};

/// What is set: whether near duplicates go, and by which measure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum RemoveNearDuplicates {
    /// They go, by the default measure; or they stay.
    On(bool),
    /// They go, by this measure.
    By(NearDuplicateKeys),
}

/// The keys, named as `datasketch` and its users name them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NearDuplicateKeys {
    /// Documents are near duplicates from this estimated Jaccard similarity on; 0.8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// So many hash functions make the estimate; 128.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_perm: Option<usize>,
    /// Words of a shingle; 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ngram: Option<usize>,
    /// Bands of the signature by which candidates are found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bands: Option<usize>,
    /// Hash values of a band.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<usize>,
}

/// How near duplicates are found, checked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NearDuplicates {
    /// Documents are near duplicates from this estimated Jaccard similarity on.
    pub threshold: f64,
    /// So many hash functions make the estimate.
    pub num_perm: usize,
    /// Words of a shingle.
    pub ngram: usize,
    /// Documents are compared if one of so many bands of their signatures is the same.
    pub bands: usize,
    /// Hash values of a band.
    pub rows: usize,
}

/// Pairs at the threshold are compared with at least this probability, unless `bands` and `rows` say otherwise.
const FOUND: f64 = 0.95;

/// A signature of more numbers takes more memory than most texts.
const MOST_NUM_PERM: usize = 4096;

impl RemoveNearDuplicates {
    /// How they are found; `None` if they stay.
    pub fn checked(self) -> Result<Option<NearDuplicates>, String> {
        match self {
            Self::On(false) => Ok(None),
            Self::On(true) => NearDuplicates::of(NearDuplicateKeys::default()).map(Some),
            Self::By(keys) => NearDuplicates::of(keys).map(Some),
        }
    }
}

impl NearDuplicates {
    fn of(keys: NearDuplicateKeys) -> Result<Self, String> {
        let threshold = keys.threshold.unwrap_or(0.8);
        let num_perm = keys.num_perm.unwrap_or(128);
        let ngram = keys.ngram.unwrap_or(5);
        if !(threshold > 0.0 && threshold <= 1.0) {
            return Err(format!("`threshold: {threshold}` must be above 0 and at most 1"));
        }
        if !(1..=MOST_NUM_PERM).contains(&num_perm) {
            return Err(format!("`num_perm: {num_perm}` must be from 1 to {MOST_NUM_PERM}"));
        }
        if ngram == 0 {
            return Err("`ngram: 0` must be at least 1".into());
        }
        let (bands, rows) = match (keys.bands, keys.rows) {
            (None, None) => bands_and_rows(threshold, num_perm),
            (Some(bands @ 1..), Some(rows @ 1..)) if bands <= num_perm / rows => (bands, rows),
            (Some(bands @ 1..), Some(rows @ 1..)) => {
                return Err(format!(
                    "`bands: {bands}` of `rows: {rows}` need {} hash functions, and `num_perm` is {num_perm}",
                    bands.saturating_mul(rows)
                ));
            }
            (Some(_), Some(_)) => return Err("`bands` and `rows` must be at least 1".into()),
            _ => return Err("`bands` and `rows` go together: give both, or neither".into()),
        };
        Ok(Self { threshold, num_perm, ngram, bands, rows })
    }
}

/// The longest bands, and so the fewest comparisons, with which enough of the pairs at the threshold are compared.
///
/// Whoever trusts the bands alone weighs false pairs against missed ones; here every pair is compared, so that a false one
/// costs time only.
fn bands_and_rows(threshold: f64, num_perm: usize) -> (usize, usize) {
    let found = |rows: usize| {
        let same_band = threshold.powf(rows as f64);
        1.0 - (1.0 - same_band).powf((num_perm / rows) as f64)
    };
    let rows = (1..=num_perm).rev().find(|rows| found(*rows) >= FOUND).unwrap_or(1);
    (num_perm / rows, rows)
}

impl<'de> Deserialize<'de> for RemoveNearDuplicates {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = RemoveNearDuplicates;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("`true`, `false`, or keys such as `{threshold: 0.8, ngram: 5}`")
            }

            fn visit_bool<E: de::Error>(self, on: bool) -> Result<Self::Value, E> {
                Ok(RemoveNearDuplicates::On(on))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let keys = NearDuplicateKeys::deserialize(MapAccessDeserializer::new(map))?;
                Ok(RemoveNearDuplicates::By(keys))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_are_as_long_as_lets_enough_pairs_be_compared() {
        // python3 -c "print([(t, n, next((n//r, r) for r in range(n, 0, -1) if 1-(1-t**r)**(n//r) >= .95)) for t, n in
        //   [(.5, 128), (.7, 128), (.8, 128), (.9, 128), (.8, 256), (1.0, 64)]])"
        let expected = [
            (0.5, 128, (42, 3)),
            (0.7, 128, (25, 5)),
            (0.8, 128, (18, 7)),
            (0.9, 128, (10, 12)),
            (0.8, 256, (28, 9)),
            (1.0, 64, (1, 64)),
        ];
        for (threshold, num_perm, bands) in expected {
            assert_eq!(bands_and_rows(threshold, num_perm), bands, "{threshold}, {num_perm}");
        }
    }
}
