//! `pretokenizer show`: documents of a folder, token by token, or a page about all of it.

use std::path::{Path, PathBuf};

use clap::{ArgMatches, Args, Command, FromArgMatches};
use cli::{BadInput, print};
use pretokenizer::folder::Folder;
use pretokenizer::shown::{self, Choice};
use pretokenizer::{page, prepare, terminal};
use shards::atomic;
use text::chatml::TURN_START;

/// Columns where there is no terminal to ask.
const WIDTH: usize = 100;

#[derive(Debug, Args)]
struct Flags {
    /// The folder that `build` wrote, or one of the reference's
    dir: PathBuf,
    /// Only of this split [default: all]
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// The document with this number in its split, from 0
    #[arg(long, value_name = "N", conflicts_with_all = ["grep", "source"])]
    index: Option<usize>,
    /// Only documents whose text contains this
    #[arg(long, value_name = "TEXT")]
    grep: Option<String>,
    /// Only of this source of the datamix
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// How many documents [default: 1; in a page 3 of each source]
    #[arg(long, short = 'n', value_name = "N")]
    count: Option<usize>,
    /// Write a page about the folder into this file, which needs nothing else to be read
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// The tokenizer's file, if it is not where the manifest says or there is no manifest
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,
}

/// Its flags.
pub(crate) fn parser() -> Command {
    let about = "Show documents token by token, with ids and roles, or write a page about a folder";
    Flags::augment_args(Command::new("show").about(about)).arg_required_else_help(true)
}

/// Prints documents, or writes the page.
pub(crate) fn run(flags: &ArgMatches) -> anyhow::Result<()> {
    let Flags { dir, split, index, grep, source, count, html, tokenizer } =
        Flags::from_arg_matches(flags)?;
    if let Some(file) = &html {
        prepare::check_file("html", file)?;
    }
    let folder = Folder::open(&dir)?;
    let choice = Choice { split, index, source, grep };
    let tokenizer = shown::tokenizer(&folder, tokenizer.as_deref(), &choice)?;
    let splits = shown::splits(&folder, &choice)?;
    let (why, tokenizer) = (tokenizer.as_ref().err(), tokenizer.as_ref().ok());
    let turn_start = folder.special_id(TURN_START);
    if let Some(file) = html {
        let is_chosen =
            choice.index.or(count).is_some() || choice.grep.is_some() || choice.source.is_some();
        let documents = if is_chosen {
            shown::choose(&splits, tokenizer, &choice, count.unwrap_or(3))?
        } else {
            shown::some_of_each(&splits, tokenizer, 3)
        };
        let text = page::html(&folder, &splits, &documents, turn_start, why.map(String::as_str))?;
        return write(&file, &text);
    }
    let documents = shown::choose(&splits, tokenizer, &choice, count.unwrap_or(1))?;
    if documents.is_empty() {
        print::note("note: there is no such document");
    }
    if let Some(why) = why {
        print::note(format!(
            "note: only ids, no texts: {why}\nhint: give the tokenizer with `--tokenizer FILE`"
        ));
    }
    let terminal = console::Term::stdout();
    let width = if terminal.is_term() { usize::from(terminal.size().1) } else { WIDTH };
    for (i, shown) in documents.iter().enumerate() {
        let gap = if i > 0 { "\n" } else { "" };
        print::result(format!("{gap}{}", terminal::document(shown, turn_start, width)))?;
    }
    Ok(())
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    atomic::write(file, text.as_bytes()).bad_input()?;
    print::note(format!("`{}`: a page of {} KiB", file.display(), text.len().div_ceil(1024)));
    Ok(())
}
