//! The command line of the reference, and a few flags more.
//!
//! `--configs A [B ...]` names sections of the YAML files, `--KEY VALUE` and `--no-KEY` override their keys.

use std::path::{Path, PathBuf};
use std::thread;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use cli::bail_input;
use pretokenizer::build::Options;
use pretokenizer::config::Section;
use pretokenizer::config::section::OVERRIDABLE;

/// What was typed.
#[derive(Debug)]
pub(crate) struct Arguments {
    /// The sections to use, in order.
    pub(crate) configs: Vec<String>,
    /// Where the YAML files are.
    pub(crate) config_dir: PathBuf,
    /// Threads and limits.
    pub(crate) options: Options,
    overrides: Vec<(&'static str, Option<String>)>,
}

/// The keys that are flags without a value.
const SWITCHES: [&str; 2] = ["write_json", "compress"];

/// Reads the command line; a mistake in it ends the process with code 2.
pub(crate) fn parse() -> Arguments {
    let matches = command().get_matches();
    let (_, matches) = matches.subcommand().expect("a subcommand is required");
    arguments(matches)
}

impl Arguments {
    /// Lays the flags over the sections.
    pub(crate) fn override_keys(&self, section: &mut Section) -> anyhow::Result<()> {
        for (key, value) in &self.overrides {
            if let Err(message) = section.set(key, value.as_deref()) {
                bail_input!("--{key}: {message}");
            }
        }
        Ok(())
    }
}

fn arguments(matches: &ArgMatches) -> Arguments {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let mut overrides = Vec::new();
    for (key, no_key, _) in OVERRIDABLE {
        if SWITCHES.contains(key) {
            if matches.get_flag(key) {
                overrides.push((*key, Some("true".to_string())));
            }
        } else if let Some(value) = text(key) {
            overrides.push((*key, Some(value)));
        }
        if matches.get_flag(no_key) {
            overrides.push((*key, None));
        }
    }
    let default_dir = ["configs/datamix", "configs"].map(Path::new);
    let default_dir = default_dir.into_iter().find(|it| it.is_dir()).unwrap_or(default_dir[1]);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    Arguments {
        configs: matches.get_many("configs").into_iter().flatten().cloned().collect(),
        config_dir: matches
            .get_one::<PathBuf>("config-dir")
            .map_or_else(|| default_dir.to_path_buf(), Clone::clone),
        options: Options {
            threads: matches.get_one::<u16>("threads").map_or(cores, |n| usize::from(*n)),
            max_count: matches
                .get_one::<u64>("max_count")
                .map(|n| usize::try_from(*n).unwrap_or(usize::MAX)),
        },
        overrides,
    }
}

fn command() -> Command {
    let build = Command::new("build")
        .about("Build the shards of a datamix")
        .arg(
            Arg::new("configs")
                .long("configs")
                .value_name("SECTION")
                .required(true)
                .num_args(1..)
                .value_delimiter(',')
                .overrides_with("configs")
                .help("Sections of the YAML files, each over the former and all over `defaults`"),
        )
        .arg(
            Arg::new("config-dir")
                .long("config-dir")
                .alias("config_dir")
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .help("Where the YAML files are [default: configs/datamix if it is there, else configs]"),
        )
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
        .args(OVERRIDABLE.iter().flat_map(|(key, no_key, about)| overriding(key, no_key, about)));
    Command::new("pretokenizer")
        .about("A YAML datamix -> token shards")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(build.infer_long_args(true).arg_required_else_help(true))
}

/// `--KEY VALUE` and `--no-KEY`.
fn overriding(key: &'static str, no_key: &'static str, about: &'static str) -> [Arg; 2] {
    let set = Arg::new(key).long(key).help(about.trim()).help_heading("Keys of the YAML files");
    let set = if SWITCHES.contains(&key) {
        set.action(ArgAction::SetTrue)
    } else {
        set.value_name("VALUE").allow_negative_numbers(true)
    };
    // `--out` is `--output_dir` in the reference, although it begins a longer key as well.
    let set = if key == "output_dir" { set.aliases(["out", "output"]) } else { set };
    [set, Arg::new(no_key).long(no_key).action(ArgAction::SetTrue).hide(true)]
}
