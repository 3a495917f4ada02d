//! `pretokenizer diff`: two folders of shards -> what differs.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgMatches, Args, Command, FromArgMatches};
use cli::print;
use pretokenizer::difference::{self, Side};
use pretokenizer::folder::Folder;

#[derive(Debug, Args)]
struct Flags {
    /// A folder that `build` wrote, or one of the reference's
    first: PathBuf,
    /// Another one
    second: PathBuf,
    /// The tokenizer's file, if it is not where a manifest says or there is no manifest
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
}

/// Its flags.
pub(crate) fn parser() -> Command {
    let about = "Say which documents, tokens and roles of two folders differ; code 1 if any does";
    Flags::augment_args(Command::new("diff").about(about)).arg_required_else_help(true)
}

/// Prints what differs.
pub(crate) fn run(flags: &ArgMatches) -> anyhow::Result<ExitCode> {
    let Flags { first, second, tokenizer } = Flags::from_arg_matches(flags)?;
    let folders = [Folder::open(&first)?, Folder::open(&second)?];
    let [a, b] = &folders;
    let tokenizers = [a.tokenizer(tokenizer.as_deref())?, b.tokenizer(tokenizer.as_deref())?];
    let side = |i: usize| Side { folder: &folders[i], tokenizer: tokenizers[i].as_ref().ok() };
    let lines = difference::differences(&side(0), &side(1))?;
    if lines.is_empty() {
        print::out("the same documents, in the same order, made in the same way");
        return Ok(ExitCode::SUCCESS);
    }
    print::result(lines.iter().map(|line| format!("{line}\n")).collect::<String>())?;
    Ok(ExitCode::from(1))
}
