//! Ctrl-C and SIGTERM -> a flag that long work looks at.
//!
//! The first signal asks; the work ends at its next safe place. A second one ends the process at once, as a person
//! who presses Ctrl-C twice expects.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::exit::Interrupted;

static REQUESTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Begins to listen. Call it once, at the start of a command whose work can be stopped safely; before that, and in
/// other commands, the signals end the process as usual.
pub fn listen() -> std::io::Result<()> {
    let requested = REQUESTED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM] {
        // The order matters: the second signal finds the flag set by the first and ends the process.
        flag::register_conditional_shutdown(signal, 130, Arc::clone(requested))?;
        flag::register(signal, Arc::clone(requested))?;
    }
    Ok(())
}

/// Whether a signal has asked the process to stop.
#[must_use]
pub fn requested() -> bool {
    REQUESTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// An error once a signal has come: for work that has nothing to save and can simply be left with `?`.
pub fn check() -> Result<(), Interrupted> {
    if requested() { Err(Interrupted) } else { Ok(()) }
}
