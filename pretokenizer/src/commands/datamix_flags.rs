//! The flags that name a datamix, as the reference has them: `--configs A [B ...]` names sections of the YAML files,
//! `--KEY VALUE` and `--no-KEY` override their keys.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, value_parser};
use cli::bail_input;
use pretokenizer::config::Datamix;
use pretokenizer::config::section::OVERRIDABLE;
use pretokenizer::config::sections::Sections;

/// The keys that are flags without a value.
const SWITCHES: [&str; 2] = ["write_json", "compress"];

/// The options that the reference reads before all others, and takes away then if it is told to.
const FIRST: [&str; 3] = ["output_dir", "write_json", "compress"];

/// `--configs` and `--config-dir`.
pub(crate) fn naming() -> [Arg; 2] {
    [
        Arg::new("configs")
            .long("configs")
            .value_name("SECTION")
            .required(true)
            .num_args(1..)
            .value_delimiter(',')
            .overrides_with("configs")
            .help("Sections of the YAML files, each over the former and all over `defaults`"),
        Arg::new("config-dir")
            .long("config-dir")
            .alias("config_dir")
            .value_name("DIR")
            .value_parser(value_parser!(PathBuf))
            .help(
                "Where the YAML files are [default: configs/datamix if it is there, else configs]",
            ),
    ]
}

/// `--KEY VALUE` and `--no-KEY` for every key that a flag can override.
pub(crate) fn overriding() -> impl Iterator<Item = Arg> {
    OVERRIDABLE.iter().flat_map(|(key, no_key, about)| {
        let set = Arg::new(key).long(key).help(about.trim()).help_heading("Keys of the YAML files");
        let set = if SWITCHES.contains(key) {
            set.action(ArgAction::SetTrue)
        } else {
            set.value_name("VALUE").allow_negative_numbers(true)
        };
        [set, Arg::new(no_key).long(no_key).action(ArgAction::SetTrue).hide(true)]
    })
}

/// The datamix that the flags name, checked.
pub(crate) fn datamix(flags: &ArgMatches) -> anyhow::Result<Datamix> {
    let default_dir = ["configs/datamix", "configs"].map(Path::new);
    let default_dir = default_dir.into_iter().find(|it| it.is_dir()).unwrap_or(default_dir[1]);
    let config_dir = flags.get_one::<PathBuf>("config-dir").map_or(default_dir, |it| it.as_path());
    let names: Vec<String> = flags.get_many("configs").into_iter().flatten().cloned().collect();
    let mut section = Sections::read(config_dir)?.merge(&names)?;
    for (key, value) in overrides(flags) {
        if let Err(message) = section.set(key, value.as_deref()) {
            bail_input!("--{key}: {message}");
        }
    }
    Datamix::new(section)
}

/// Which keys are overridden; `None` takes a value away.
fn overrides(flags: &ArgMatches) -> Vec<(&'static str, Option<String>)> {
    let mut overrides = Vec::new();
    for (key, no_key, _) in OVERRIDABLE {
        let no_key_at = flags.get_flag(no_key).then(|| flags.index_of(no_key)).flatten();
        if SWITCHES.contains(key) {
            if flags.get_flag(key) {
                overrides.push((*key, Some("true".to_string())));
            }
        } else if let Some(value) = flags.get_one::<String>(key) {
            // The last one counts. Only what the reference reads before all others is taken away from any place.
            let is_last = no_key_at < flags.index_of(key) && !FIRST.contains(key);
            if is_last || no_key_at.is_none() {
                overrides.push((*key, Some(value.clone())));
                continue;
            }
        }
        if no_key_at.is_some() {
            overrides.push((*key, None));
        }
    }
    overrides
}
