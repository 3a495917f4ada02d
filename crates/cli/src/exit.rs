//! An error -> `error: ...` on standard error and an exit code.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | failed while running: disk full, a killed peer, a bug of ours |
//! | 2 | the user's input: flags, YAML, a missing or broken file |
//! | 130 | interrupted by Ctrl-C or SIGTERM |
//!
//! Which of 1 and 2 it is, only the place that read the input knows: it says so with [`BadInput::bad_input`].

use std::error::Error;
use std::fmt;
use std::process::{ExitCode, Termination};

use crate::print;

/// Runs a program's body and turns its error into a message and an exit code. A body that compares or checks may
/// return an exit code of its own: what it found is on standard output then, and no error.
pub fn run<T: Termination>(body: impl FnOnce() -> anyhow::Result<T>) -> ExitCode {
    match body() {
        Ok(outcome) => outcome.report(),
        Err(error) => {
            let code = code(&error);
            if !error.is::<Told>() {
                print::error(if code == 130 {
                    format!("{error:#}")
                } else {
                    format!("error: {error:#}")
                });
            }
            ExitCode::from(code)
        }
    }
}

/// The exit code for an error.
#[must_use]
pub fn code(error: &anyhow::Error) -> u8 {
    if error.chain().any(|cause| cause.is::<Interrupted>()) {
        130
    } else if error.chain().any(|cause| cause.is::<UsersMistake>()) {
        2
    } else {
        1
    }
}

/// Says that an error is about what the user gave, so that the exit code is 2.
pub trait BadInput<T> {
    /// Marks the error, if there is one; its message stays as it is.
    fn bad_input(self) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> BadInput<T> for Result<T, E> {
    fn bad_input(self) -> anyhow::Result<T> {
        self.map_err(|error| bad_input(error))
    }
}

/// An error about what the user gave: an error of any kind, or a message made with [`anyhow::anyhow!`].
#[must_use]
pub fn bad_input(error: impl Into<anyhow::Error>) -> anyhow::Error {
    anyhow::Error::new(UsersMistake(error.into()))
}

/// Returns early with an error about what the user gave, written as [`anyhow::bail!`] is.
#[macro_export]
macro_rules! bail_input {
    ($($message:tt)*) => {
        return ::core::result::Result::Err($crate::exit::bad_input($crate::exit::anyhow::anyhow!($($message)*)))
    };
}

#[doc(hidden)]
pub use anyhow;

/// The work was stopped by a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl Error for Interrupted {}

/// As an error's context: somebody else tells it, and only its exit code is needed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told;

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("told elsewhere")
    }
}

/// The mark itself: it stands for the error inside and prints as that error's whole chain.
#[derive(Debug)]
struct UsersMistake(anyhow::Error);

impl fmt::Display for UsersMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

impl Error for UsersMistake {}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn the_mark_survives_context_and_keeps_the_message() {
        let plain = Err::<(), _>(anyhow!("disk full")).context("saving").unwrap_err();
        assert_eq!((code(&plain), format!("{plain:#}").as_str()), (1, "saving: disk full"));

        let marked = Err::<(), _>(anyhow!("no such file"))
            .context("a.yaml")
            .bad_input()
            .context("reading the datamix")
            .unwrap_err();
        assert_eq!(code(&marked), 2);
        assert_eq!(format!("{marked:#}"), "reading the datamix: a.yaml: no such file");

        let stopped = anyhow::Error::new(Interrupted).context("nothing was written");
        assert_eq!(code(&stopped), 130);
    }

    #[test]
    fn bail_input_returns_a_marked_error() {
        fn body(batch: u32) -> anyhow::Result<()> {
            if batch % 2 == 1 {
                bail_input!("batch {batch} is odd");
            }
            Ok(())
        }
        assert_eq!(code(&body(3).unwrap_err()), 2);
        assert!(body(4).is_ok());
    }
}
