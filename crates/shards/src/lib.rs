//! The contract between the programs: what a token shard is, byte for byte, and how it comes to be on disk.
//!
//! The pretokenizer writes shards, the trainer maps them; neither knows more of the other than what stands here.
//!
//! # Files of a split, with prefix `P` = `<folder>/<filename_prefix>-<split>`
//!
//! | file | content |
//! |---|---|
//! | `P-text.bin` | token ids of all documents, back to back, little endian |
//! | `P-role.bin` | the role of each of these tokens ([`Role`]), as 16-bit numbers |
//! | `P-text.idx`, `P-role.idx` | sizes and places of the documents ([`layout`]) |
//! | `manifest.json` | where it all came from, and hashes; written last ([`manifest`]) |
//!
//! # Invariants
//!
//! Same inputs, same bytes. A file appears under its name only when it is complete ([`atomic`]). A reader checks
//! everything once, when it opens, and indexes freely afterwards.

pub mod rng; // seed -> the random streams of Python, numpy and torch
pub mod role; // who speaks: system, user, assistant, context
pub mod direct; // large blocks past the page cache
pub mod atomic; // files and folders that appear only when they are whole
pub mod hash; // bytes -> SHA-256
pub mod layout; // the bytes of an index file
mod index; // these bytes -> where each document begins
pub mod writer; // documents -> `.bin` and `.idx`
pub mod reader; // `.bin` and `.idx` -> documents
pub mod manifest; // what a folder of shards says about itself

pub use layout::IndexKind;
pub use manifest::Manifest;
pub use reader::{Document, PairReader, ReadError};
pub use role::Role;
pub use writer::{Batch, Format, PairWriter};
