//! Keys that are one of a few words.

use cli::suggest;
use serde::{Deserialize, Serialize};

macro_rules! choice {
    ($(#[doc = $about:literal])* $name:ident { $($(#[$attribute:meta])* $word:literal => $variant:ident,)* }) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum $name {
            $($(#[$attribute])* $variant,)*
        }

        impl $name {
            /// The one of this name.
            pub(crate) fn named(name: &str) -> Result<Self, String> {
                match name {
                    $($word => Ok(Self::$variant),)*
                    other => {
                        let hint = suggest::hint(other, [$($word),*], "the values there are");
                        Err(format!("`{other}` is not known\nhint: {hint}"))
                    }
                }
            }
        }
    };
}

choice! {
    /// What becomes of a special token's string that somebody wrote into a text. What a template lays around it is not meant.
    SpecialTokensInText {
        /// It becomes the token, as in the reference.
        #[default]
        "keep" => Keep,
        /// It stays text.
        "escape" => Escape,
        /// It stops the run.
        "refuse" => Refuse,
    }
}

choice! {
    /// What becomes of a row that cannot be read.
    OnError {
        /// It stops the run.
        #[default]
        "stop" => Stop,
        /// It is left out, counted by what is wrong with it.
        "skip" => Skip,
    }
}

choice! {
    /// What becomes of a document with more tokens than `max_tokens`.
    TooLong {
        /// It is left out.
        #[default]
        "drop" => Drop,
        /// It loses turns from its end until it fits and ends with an answer, and is left out if that leaves none. A text
        /// without turns is cut at the last token that fits.
        "truncate" => Truncate,
    }
}
