//! Beginnings of the reference's options -> the options.
//!
//! Python's `argparse` takes any beginning that fits one option only. The reference parses twice, and a beginning that fits
//! an option of the first time never reaches the second: `--out` is `--output_dir`, although `--output_dir_suffix` begins so,
//! too. Options that only this program has make no beginning of the reference's ambiguous.

use std::ffi::OsString;

/// What the reference's first parser takes.
const FIRST: [&str; 5] = ["configs", "output_dir", "write_json", "compress", "help"];

/// What its second one takes: its keys, each also with `no-` before it, and `max_count`.
const KEYS: [&str; 12] = [
    "rng_seed",
    "cache_dir",
    "use_system_prefix",
    "eval_size",
    "tokenizer_type",
    "vocab_file",
    "vocab_extra_ids_list",
    "dataset_impl",
    "min_assistant_tokens",
    "output_dir_suffix",
    "filename_prefix",
    "max_count",
];

/// The arguments with these options in full. What fits none of them or several stays.
pub(crate) fn spelled_out(arguments: Vec<OsString>) -> Vec<OsString> {
    let each = |argument: OsString| argument.to_str().and_then(in_full).unwrap_or(argument);
    arguments.into_iter().map(each).collect()
}

fn in_full(argument: &str) -> Option<OsString> {
    let typed = argument.strip_prefix("--").filter(|it| !it.is_empty())?;
    let (beginning, value) = typed.split_at(typed.find('=').unwrap_or(typed.len()));
    let first = FIRST.iter().map(ToString::to_string);
    let no_keys =
        FIRST.iter().chain(&KEYS).filter(|it| !["configs", "help", "max_count"].contains(it));
    let second = KEYS.iter().map(ToString::to_string);
    let second = second.chain(no_keys.map(|key| format!("no-{key}")));
    let option = fitting(first, beginning).or_else(|| fitting(second, beginning))?;
    Some(format!("--{}{value}", option.ok()?).into())
}

/// The option of this name, or else the only one that begins so; an error if there are several, none if there is none.
fn fitting(
    mut options: impl Iterator<Item = String> + Clone,
    beginning: &str,
) -> Option<Result<String, ()>> {
    if options.clone().any(|option| option == beginning) {
        return Some(Ok(beginning.to_owned()));
    }
    let mut fitting = options.by_ref().filter(|option| option.starts_with(beginning));
    let option = fitting.next()?;
    Some(if fitting.next().is_some() { Err(()) } else { Ok(option) })
}
