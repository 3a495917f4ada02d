//! Text -> standard output and standard error; a reader that went away is no error.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

static MUTED: AtomicBool = AtomicBool::new(false);

/// From now on, nothing is said about the work: of several processes that do the same, one speaks. Errors are still told.
pub fn mute() {
    MUTED.store(true, Ordering::Relaxed);
}

pub(crate) fn is_muted() -> bool {
    MUTED.load(Ordering::Relaxed)
}

/// Writes a line to standard output: what the user asked for.
///
/// `pretokenizer ... | head` closes the pipe early; that ends the output, not the work.
pub fn out(line: impl AsRef<str>) {
    write(&mut io::stdout().lock(), line.as_ref());
}

/// Writes a line to standard error: what is said about the work.
pub fn note(line: impl AsRef<str>) {
    if !is_muted() {
        error(line);
    }
}

/// Writes a line to standard error, whether [`mute`]d or not: why the work failed.
pub fn error(line: impl AsRef<str>) {
    write(&mut io::stderr().lock(), line.as_ref());
}

/// Writes text that was asked for to standard output, at once; a failure, such as a full disk, is the caller's.
///
/// A reader that went away is none.
pub fn result(text: impl AsRef<str>) -> io::Result<()> {
    let mut stream = io::stdout().lock();
    match stream.write_all(text.as_ref().as_bytes()).and_then(|()| stream.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

fn write(stream: &mut impl Write, line: &str) {
    // One call for the whole line, so that lines of several processes do not mix. The only failure to expect is a
    // closed pipe, and there is nobody left to tell.
    let _ = stream.write_all(format!("{line}\n").as_bytes()).and_then(|()| stream.flush());
}
