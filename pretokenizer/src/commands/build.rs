//! `pretokenizer build`: a datamix -> a folder of shards.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, value_parser};
use pretokenizer::build;
use pretokenizer::prepare::Options;

use crate::commands::{datamix_flags, run_flags};

/// Its flags.
pub(crate) fn parser() -> Command {
    run_flags::of(Command::new("build").about("Build the shards of a datamix")).arg(
        Arg::new("ledger")
            .long("ledger")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("Say of every row what became of it, as JSON lines (packed if it ends in .gz)"),
    )
}

/// Builds it all.
pub(crate) fn run(flags: &ArgMatches) -> anyhow::Result<()> {
    let ledger = flags.get_one::<PathBuf>("ledger").cloned();
    let options = Options { ledger, ..run_flags::options(flags) };
    build::build(&datamix_flags::datamix(flags)?, &options)
}
