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

/// Prints what there is.
pub(crate) fn run(flags: &ArgMatches) -> anyhow::Result<()> {
    let datamix = datamix_flags::datamix(flags)?;
    print::result(check::check(&datamix, &run_flags::options(flags))?)?;
    Ok(())
}
