//! A YAML datamix -> token shards, byte for byte as Open-Assistant's `model/pretokenizer` writes them.
//!
//! The modules stand in the order in which the data passes them.

pub mod python; // what Python means by white space, length and the text of a number
pub mod ascii_json; // JSON as Python writes it
pub mod in_order; // tasks, worked on by several threads and handed over in order
pub mod scratch; // the temporary file for what does not fit into memory
pub mod language; // the language that a text is in, guessed
pub mod config; // YAML sections and flags -> a checked datamix
pub mod source; // files -> typed rows
pub mod sample; // a conversation, or a text
pub mod piece; // a sample, packed
pub mod minhash; // a piece -> a signature, from which it is seen how much of two texts is the same
pub mod signatures; // those of all pieces
pub mod store; // pieces, in the order in which they were read
pub mod documents; // which samples make which document
pub mod split; // rows -> which train and which validate
pub mod streams; // the random streams that all datasets share
pub mod loaders; // rows -> samples, and the documents that they make
pub mod filter; // document -> kept, or left out for a reason
pub mod mix; // datasets -> which documents go to which split, in what order
pub mod similar; // documents so far -> whether the next one is like one of them
pub mod duplicates; // plans -> plans without what stands in them twice
pub mod draws; // what is drawn for the documents of a split when they are written
pub mod route; // the order of the output -> where each piece goes
pub mod encode; // piece -> tokens with roles
pub mod buckets; // encoded pieces, by their place in the output
pub mod whole; // the pieces of a document -> tokens with roles, where all of it is needed at once
pub mod assemble; // a bucket of encoded pieces -> documents in order
pub mod pipeline; // store -> documents in the order of the output, in parallel
pub mod lengths; // lengths of documents -> what is said of them
pub mod statistics; // counts, and the reference's text of them
mod target; // the folder to write, checked
mod reading; // the files of a datamix -> datasets
mod split_files; // the files of a split
mod writing; // plans + store -> the shards of all splits
pub mod part; // one of the parts that several machines build
pub mod prepare; // a datamix -> all that must be right before anything is encoded, and the plan of the splits
mod room; // whether the disk has room for what is planned
mod ledger; // plans + what became of the documents -> a line for every row
pub mod check; // a datamix -> what `build` would make of it, in words
pub mod build; // a datamix -> a folder of shards
pub mod merge; // the folders of all parts -> the folder that one machine would have written
pub mod folder; // a folder of shards, opened to be looked at
pub mod verify; // a folder -> what is wrong with it
pub mod shown; // a folder -> some documents, token by token
pub mod terminal; // such a document -> lines for a terminal
pub mod page; // a folder -> a page about it
pub mod difference; // two folders -> what differs
