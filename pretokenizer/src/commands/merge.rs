//! `pretokenizer merge`: the parts that several machines built -> one folder.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, value_parser};
use pretokenizer::merge;

/// Its flags.
pub(crate) fn parser() -> Command {
    Command::new("merge")
        .about("Join the parts of `build --part` into the folder that one run would have written")
        .arg(
            Arg::new("parts")
                .value_name("PART_DIR")
                .required(true)
                .num_args(1..)
                .value_parser(value_parser!(PathBuf))
                .help("Folders of parts, or a folder that they are in"),
        )
        .arg(
            Arg::new("output_dir")
                .long("output_dir")
                .alias("output-dir")
                .value_name("DIR")
                .help("The folder to write [default: that of the configuration]"),
        )
        .arg_required_else_help(true)
}

/// Joins them.
pub(crate) fn run(flags: &ArgMatches) -> anyhow::Result<()> {
    let parts: Vec<PathBuf> = flags.get_many("parts").into_iter().flatten().cloned().collect();
    merge::merge(&parts, flags.get_one::<String>("output_dir").map(String::as_str))
}
