//! What can be wrong with a tokenizer's files: every variant says which file, what, and what to do.

use std::path::PathBuf;

/// Why a tokenizer was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be read; the message names it.
    #[error(transparent)]
    Read(#[from] std::io::Error),

    /// The bytes are not a SentencePiece model.
    #[error(
        "{}: no whole SentencePiece model ({what})\nhint: give the `tokenizer.model` of the base \
         model; if it was fetched with git, is it more than a git-lfs pointer?",
        file.display()
    )]
    NotSentencePiece {
        /// The model file.
        file: PathBuf,
        /// What the protobuf decoder met, or that there is nothing to decode.
        what: String,
    },

    /// A SentencePiece model with a setting that we could not encode exactly as SentencePiece does.
    #[error("{}: {what}, expected {expected}\nhint: {hint}", file.display())]
    Unsupported {
        /// The model file.
        file: PathBuf,
        /// The setting found.
        what: String,
        /// The setting that is supported.
        expected: &'static str,
        /// What to use instead.
        hint: &'static str,
    },

    /// The model contradicts itself, or asks for what it cannot hold.
    #[error("{}: {what}, expected {expected}", file.display())]
    Malformed {
        /// The model file.
        file: PathBuf,
        /// What was found.
        what: String,
        /// What a sound model has.
        expected: &'static str,
    },

    /// A special token that cannot be registered.
    #[error(
        "special token {index} of the extra tokens is empty, expected a text to look for\nhint: remove the stray comma from the list of extra tokens"
    )]
    EmptySpecialToken {
        /// Its place in the list of extra tokens.
        index: usize,
    },

    /// The `tokenizers` crate, or one of the JSON files beside the tokenizer, refused.
    #[error("{}: not a Hugging Face tokenizer: {what}\nhint: give the `tokenizer.json` that `save_pretrained` writes", file.display())]
    NotHuggingFace {
        /// The file.
        file: PathBuf,
        /// The library's message.
        what: String,
    },

    /// The file numbers a special token otherwise than those who ask for it.
    #[error(
        "{}: `{token}` has {}, expected the id {expected}\nhint: give the tokenizer that the tokens were made with",
        file.display(),
        found.map_or_else(|| "no id".to_string(), |id| format!("the id {id}"))
    )]
    OtherId {
        /// The file.
        file: PathBuf,
        /// The special token.
        token: String,
        /// Its id here, if it has one.
        found: Option<u32>,
        /// Its id there.
        expected: u32,
    },
}
