//! `pretokenizer check`: a datamix -> what `build` would make of it.

use clap::{ArgMatches, Command};
use cli::print;
use pretokenizer::check;

use crate::commands::{datamix_flags, run_flags};

/// Its flags.
pub(crate) fn parser() -> Command {
    let about = "Say what `build` would do with the same flags: files, rows, splits; nothing is encoded or written";
    run_flags::of(Command::new("check").about(about))
}

/// Prints what there is; code 1 if a build would not end well.
pub(crate) fn run(flags: &ArgMatches) -> anyhow::Result<()> {
    let datamix = datamix_flags::datamix(flags)?;
    let (text, problem) = check::check(&datamix, &run_flags::options(flags))?;
    print::result(text)?;
    problem.map_or(Ok(()), |problem| Err(anyhow::Error::msg(problem)))
}
