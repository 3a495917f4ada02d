//! Beginnings of the reference's options -> the options.
//!
//! Python's `argparse` takes any beginning that fits one option only. The reference parses twice, and a beginning that fits
//! an option of the first time never reaches the second: `--out` is `--output_dir`, although `--output_dir_suffix` begins so,
//! too. Options that only this program has make no beginning of the reference's ambiguous, and what is ambiguous there is
//! refused here, too.

use std::ffi::OsString;

/// What the reference's first parser takes.
const FIRST: [&str; 5] = ["configs", "output_dir", "write_json", "compress", "help"];

/// What its second one takes: its keys, each also with `no-` before it, and `max_count`. The lists of datasets are no options
/// here: there, they would become lists of characters.
const KEYS: [&str; 14] = [
    "datasets",
    "datasets_extra",
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

/// The arguments with these options in full; what fits none of them stays. The message says of which ones a beginning may be.
pub(crate) fn spelled_out(arguments: Vec<OsString>) -> Result<Vec<OsString>, String> {
    let each = |argument: OsString| match argument.to_str().map(in_full) {
        Some(Ok(Some(in_full))) => Ok(in_full),
        Some(Err(options)) => Err(format!(
            "`{}` may be {}\n\n  tip: write it out",
            argument.to_string_lossy(),
            either(&options)
        )),
        _ => Ok(argument),
    };
    arguments.into_iter().map(each).collect()
}

/// An argument with its option in full; nothing if it is none of these options, and these if there are several.
fn in_full(argument: &str) -> Result<Option<OsString>, Vec<String>> {
    let Some(typed) = argument.strip_prefix("--").filter(|it| !it.is_empty()) else {
        return Ok(None);
    };
    let (beginning, value) = typed.split_at(typed.find('=').unwrap_or(typed.len()));
    let first = FIRST.iter().map(ToString::to_string);
    let no_keys =
        FIRST.iter().chain(&KEYS).filter(|it| !["configs", "help", "max_count"].contains(it));
    let second = KEYS.iter().map(ToString::to_string);
    let second = second.chain(no_keys.map(|key| format!("no-{key}")));
    let options = Some(fitting(first, beginning)).filter(|options| !options.is_empty());
    let options = options.unwrap_or_else(|| fitting(second, beginning));
    match options.as_slice() {
        [] => Ok(None),
        [option] => Ok(Some(format!("--{option}{value}").into())),
        several => Err(several.iter().map(|option| format!("`--{option}`")).collect()),
    }
}

/// The first options, and how many more there are.
fn either(options: &[String]) -> String {
    const SHOWN: usize = 4;
    let shown = options.iter().take(SHOWN).cloned();
    let more = options.len().saturating_sub(SHOWN);
    let more = (more > 0).then(|| format!("{more} others"));
    shown.chain(more).collect::<Vec<_>>().join(" or ")
}

/// The option of this name, or else all that begin so.
fn fitting(options: impl Iterator<Item = String> + Clone, beginning: &str) -> Vec<String> {
    if options.clone().any(|option| option == beginning) {
        return vec![beginning.to_owned()];
    }
    options.filter(|option| option.starts_with(beginning)).collect()
}
