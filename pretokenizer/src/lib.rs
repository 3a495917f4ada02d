//! A YAML datamix -> token shards, byte for byte as Open-Assistant's `model/pretokenizer` writes them.
//!
//! The modules stand in the order in which the data passes them.

pub mod python; // what Python means by white space, length and the text of a number
pub mod ascii_json; // JSON as Python writes it
pub mod config; // YAML sections and flags -> a checked datamix
pub mod source; // files -> typed rows
pub mod sample; // a conversation, or a text
pub mod split; // rows -> which train and which validate
pub mod streams; // the random streams that all datasets share
pub mod loaders; // rows -> samples
pub mod mix; // datasets -> which samples go to which split, in what order
pub mod encode; // sample -> document: tokens with roles
pub mod filter; // document -> kept, or left out for a reason
pub mod pipeline; // samples -> documents, in parallel, in order
pub mod statistics; // counts, and the reference's text of them
mod target; // the folder to write, checked
pub mod build; // a datamix -> a folder of shards
