//! `pretokenizer build`: a datamix -> a folder of shards.

use std::thread;

use clap::{Arg, ArgMatches, Command, value_parser};
use pretokenizer::build::{self, Options};
use pretokenizer::part::Part;
use pretokenizer::pipeline::Limits;

use crate::commands::datamix_flags;

/// Its flags.
pub(crate) fn parser() -> Command {
    Command::new("build")
        .about("Build the shards of a datamix")
        .args(datamix_flags::naming())
        .arg(
            Arg::new("max_count")
                .long("max_count")
                .alias("max-count")
                .value_name("N")
                .value_parser(value_parser!(u64).range(1..))
                .help("At most so many documents in each split"),
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
        .args(datamix_flags::overriding())
        .infer_long_args(true)
        .arg_required_else_help(true)
}

/// Builds it all.
pub(crate) fn run(flags: &ArgMatches) -> anyhow::Result<()> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let max_count = flags.get_one::<u64>("max_count");
    let options = Options {
        threads: flags.get_one::<u16>("threads").map_or(cores, |n| usize::from(*n)),
        max_count: max_count.map(|n| usize::try_from(*n).unwrap_or(usize::MAX)),
        part: flags.get_one::<Part>("part").copied(),
        limits: Limits::default(),
    };
    build::build(&datamix_flags::datamix(flags)?, options)
}
