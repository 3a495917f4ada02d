//! What can be typed behind `pretokenizer`: a module for each subcommand, with its flags and what it does.
//!
//! A mistake in the flags ends the process with code 2 and a hint, which is clap's work.

mod datamix_flags; // the flags that name a datamix, as the reference has them
mod run_flags; // the flags of a run
mod abbreviations; // beginnings of the reference's options -> the options
mod check; // a datamix -> what `build` would make of it
mod build; // a datamix -> a folder of shards
mod merge; // the parts that several machines built -> one folder
mod diff; // two folders -> what differs
mod show; // documents, token by token, and a page about a folder
mod verify; // a folder of shards -> whether it is whole

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{ArgMatches, Command};

/// What was typed, without the abbreviations of the reference.
pub(crate) fn typed() -> ArgMatches {
    let typed: Vec<OsString> = std::env::args_os().collect();
    let takes_datamix = typed.get(1).is_some_and(|it| it == "build" || it == "check");
    if !takes_datamix {
        return parser().get_matches_from(typed);
    }
    match abbreviations::spelled_out(typed) {
        Ok(typed) => parser().get_matches_from(typed),
        Err(message) => parser().error(ErrorKind::InvalidValue, message).exit(),
    }
}

/// The whole command line.
fn parser() -> Command {
    Command::new("pretokenizer")
        .about("A YAML datamix -> token shards")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(build::parser())
        .subcommand(check::parser())
        .subcommand(merge::parser())
        .subcommand(diff::parser())
        .subcommand(show::parser())
        .subcommand(verify::parser())
}

/// Does what was typed. A command that compares or checks has an exit code for what it found.
pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    match matches.subcommand() {
        Some(("build", flags)) => build::run(flags).map(|()| ExitCode::SUCCESS),
        Some(("check", flags)) => check::run(flags).map(|()| ExitCode::SUCCESS),
        Some(("merge", flags)) => merge::run(flags).map(|()| ExitCode::SUCCESS),
        Some(("diff", flags)) => diff::run(flags),
        Some(("show", flags)) => show::run(flags).map(|()| ExitCode::SUCCESS),
        Some(("verify", flags)) => verify::run(flags).map(|()| ExitCode::SUCCESS),
        other => unreachable!("clap lets no other subcommand pass: {other:?}"),
    }
}
