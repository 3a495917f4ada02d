//! YAML sections and flags -> a checked [`Datamix`].
//!
//! In: every `*.yaml` below the configuration folder, the names of the sections to use, the flags that override keys.
//! Out: one [`Datamix`], of which nothing has to be checked again.
//!
//! Invariants: every section of every file is checked, also those that are not used, so that a typo is found on the
//! day it is made; errors name file, line, column and key.

pub mod key; // a key that may be absent, null or set
pub mod sources; // the keys that each dataset takes
pub mod generic; // the keys of sources whose columns the datamix names, checked
pub mod names; // the names of the datasets
pub mod entry; // one item of `datasets`
pub mod near_duplicates; // how near duplicates are found
pub mod choices; // keys that are one of a few words
pub mod section; // one section of a file, and how sections lie over each other
pub mod sections; // files -> their sections, laid over each other
pub mod datamix; // the section that is left -> what is to be built

pub use choices::{OnError, SpecialTokensInText, TooLong};
pub use datamix::{Datamix, Tokenizer};
pub use entry::Entry;
pub use key::{FileNames, Key, ValSplit};
pub use section::Section;
pub use sources::{Mixing, Source};

/// Every dataset name that can be built.
pub fn dataset_names() -> impl Iterator<Item = &'static str> + Clone {
    names::all()
}
