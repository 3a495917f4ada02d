//! `pretokenizer build`: a datamix -> a folder of shards.

use clap::{ArgMatches, Command};
use pretokenizer::build;

use crate::commands::{datamix_flags, run_flags};

/// Its flags.
pub(crate) fn parser() -> Command {
    run_flags::of(Command::new("build").about("Build the shards of a datamix"))
}

/// Builds it all.
pub(crate) fn run(flags: &ArgMatches) -> anyhow::Result<()> {
    build::build(&datamix_flags::datamix(flags)?, &run_flags::options(flags))
}
