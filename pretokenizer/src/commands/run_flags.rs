//! The flags of a run: those that name a datamix, and what is not part of it.

use std::path::PathBuf;
use std::thread;

use clap::{Arg, ArgMatches, Command, value_parser};
use pretokenizer::part::Part;
use pretokenizer::pipeline::Limits;
use pretokenizer::prepare::Options;

use crate::commands::datamix_flags;

/// Gives a command all of them.
pub(crate) fn of(command: Command) -> Command {
    command
        .args(datamix_flags::naming())
        .arg(
            Arg::new("max_count")
                .long("max_count")
                .alias("max-count")
                .value_name("N")
                .allow_negative_numbers(true)
                .value_parser(value_parser!(u64))
                .help("At most so many documents in each split; 0 is no limit"),
        )
        .arg(
            Arg::new("threads")
                .long("threads")
                .value_name("N")
                .value_parser(value_parser!(u16).range(1..))
                .help("Threads to use; the output is the same for any number [default: all cores]"),
        )
        .arg(
            Arg::new("part")
                .long("part")
                .value_name("I/N")
                .value_parser(|text: &str| text.parse::<Part>())
                .help("Build only part I of N, beside the output; `pretokenizer merge` joins them"),
        )
        .arg(
            Arg::new("ledger")
                .long("ledger")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help(
                    "Say of every row what became of it, as JSON lines (packed if it ends in .gz)",
                ),
        )
        .args(datamix_flags::overriding())
        .infer_long_args(true)
        .args_override_self(true)
        .arg_required_else_help(true)
}

/// What is not part of the datamix.
pub(crate) fn options(flags: &ArgMatches) -> Options {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let max_count = flags.get_one::<u64>("max_count").filter(|n| **n > 0);
    Options {
        threads: flags.get_one::<u16>("threads").map_or(cores, |n| usize::from(*n)),
        max_count: max_count.map(|n| usize::try_from(*n).unwrap_or(usize::MAX)),
        part: flags.get_one::<Part>("part").copied(),
        limits: Limits::default(),
        ledger: flags.get_one::<PathBuf>("ledger").cloned(),
    }
}
