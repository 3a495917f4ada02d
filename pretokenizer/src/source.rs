//! Files -> rows.
//!
//! In: a file of rows - a JSON array, JSON lines, parquet, an arrow file or stream, any of them packed by gzip,
//! zstd or tar - or a Hugging Face dataset folder of such files. Out: one typed value per row, in the order of the file, as a
//! stream: a few blocks of rows are in memory, whatever the size of the file.
//!
//! Invariants: what a file is, its first bytes say, never its name; a row that cannot be read is an error that names
//! file, row and field, or is left out and counted (`on_error`); a file that is damaged is always an error, since nobody knows what
//! it lacks; the order of the rows does not depend on the number of threads.

mod archive; // the one file of a tar archive
pub mod content; // path -> bytes, unpacked, from the first to the last
pub mod json; // bytes -> blocks of rows, one slice per row
mod unpanicking; // a library that panics over a damaged file -> an error
pub mod columns; // parquet and arrow -> batches, one JSON value per row
pub(crate) mod numbers; // numbers whose text is lost when they are read
pub mod bad_row; // what is wrong with a row, in words
pub mod journal; // where rows stand, and which were left out
pub mod rows; // blocks and batches -> typed rows, in parallel
pub mod hub; // a dataset of the Hugging Face hub -> a folder of its files
pub mod configs; // a dataset's README -> which files make which configuration and split
pub mod repository; // `org/name` -> the files of a split
pub mod locations; // what `path` says -> files

pub use bad_row::{BadField, BadRow};
pub use configs::Dataset;
pub use journal::{RowPlace, RowsRead};
pub use rows::{PickColumns, Reader, typed};
