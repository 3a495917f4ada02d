//! `pretokenizer verify`: a folder of shards -> whether it is whole.

use std::path::PathBuf;

use anyhow::bail;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use cli::print;
use pretokenizer::verify;

#[derive(Debug, Args)]
struct Flags {
    /// The folder that `build` wrote, or one of the reference's
    dir: PathBuf,
    /// The tokenizer's file, if it is not where the manifest says or there is no manifest
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
}

/// Its flags.
pub(crate) fn parser() -> Command {
    let about =
        "Check a folder of shards: hashes, indices, ids, roles, turns; code 1 if anything is wrong";
    Flags::augment_args(Command::new("verify").about(about)).arg_required_else_help(true)
}

/// Says what was checked and what is wrong.
pub(crate) fn run(flags: &ArgMatches) -> anyhow::Result<()> {
    let Flags { dir, tokenizer } = Flags::from_arg_matches(flags)?;
    let report = verify::verify(&dir, tokenizer.as_deref())?;
    let problems = report.problems.iter().map(|it| format!("wrong: {it}\n"));
    let unchecked = report.unchecked.iter().map(|it| format!("not checked: {it}\n"));
    let checked = report.checked.iter().map(|it| format!("{it}\n"));
    print::result(checked.chain(unchecked).chain(problems).collect::<String>())?;
    let dir = dir.display();
    match report.problems.len() {
        0 => print::out(format!("`{dir}` is whole")),
        n => bail!(
            "`{dir}` is damaged: {n} kind{} of problems\nhint: copy it again, or rebuild it with `pretokenizer build`",
            if n == 1 { "" } else { "s" }
        ),
    }
    Ok(())
}
