//! What becomes of the strings of special tokens in a text.

use cli::suggest;
use serde::{Deserialize, Serialize};

/// What becomes of a special token's string that somebody wrote into a text. What a template lays around it is not meant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpecialTokensInText {
    /// It becomes the token, as in the reference.
    #[default]
    Keep,
    /// It stays text.
    Escape,
    /// It stops the run.
    Refuse,
}

impl SpecialTokensInText {
    /// The one of this name.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        match name {
            "keep" => Ok(Self::Keep),
            "escape" => Ok(Self::Escape),
            "refuse" => Ok(Self::Refuse),
            other => {
                let known = ["keep", "escape", "refuse"];
                let hint = suggest::hint(other, known, "the values there are");
                Err(format!("`{other}` is not known\nhint: {hint}"))
            }
        }
    }
}
