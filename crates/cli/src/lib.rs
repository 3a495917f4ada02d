//! What both programs say to a person, written once.
//!
//! In: YAML that a user wrote, work that takes a while, signals, errors. Out: typed configurations, lines on the
//! terminal, exit codes. Nothing here knows about tokens or tensors.
//!
//! Invariants: data goes to standard output and everything else to standard error; every message can be understood
//! without colour; only this crate prints.

pub mod suggest; // a mistyped name -> the name that was probably meant
pub mod yaml; // a YAML file -> a checked type, or file:line:column, the key and a suggestion
pub mod print; // text -> standard output; a reader that went away is no error
pub mod exit; // an error -> `error: ...` on standard error and an exit code
pub mod interrupt; // Ctrl-C and SIGTERM -> a flag that long work looks at
pub mod progress; // a bar on a terminal, plain lines at intervals elsewhere

pub use exit::{BadInput, Interrupted};
pub use progress::{Progress, Unit};
pub use yaml::{Yaml, YamlError};
