//! Text -> standard output and standard error; a reader that went away is no error.

use std::io::{self, Write};

/// Writes a line to standard output: what the user asked for.
///
/// `pretokenizer ... | head` closes the pipe early; that ends the output, not the work.
pub fn out(line: impl AsRef<str>) {
    write(&mut io::stdout().lock(), line.as_ref());
}

/// Writes a line to standard error: what is said about the work.
pub fn note(line: impl AsRef<str>) {
    write(&mut io::stderr().lock(), line.as_ref());
}

/// Writes a part of a line to standard output, at once: for text that comes bit by bit.
pub fn part(text: impl AsRef<str>) {
    let mut stream = io::stdout().lock();
    let _ = stream.write_all(text.as_ref().as_bytes()).and_then(|()| stream.flush());
}

fn write(stream: &mut impl Write, line: &str) {
    // One call for the whole line, so that lines of several processes do not mix. The only failure to expect is a
    // closed pipe, and there is nobody left to tell.
    let _ = stream.write_all(format!("{line}\n").as_bytes()).and_then(|()| stream.flush());
}
