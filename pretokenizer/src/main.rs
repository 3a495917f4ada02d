//! `pretokenizer`: a YAML datamix -> token shards.

mod arguments; // the command line

use std::process::ExitCode;

use arguments::Arguments;
use pretokenizer::build;
use pretokenizer::config::Datamix;
use pretokenizer::config::datamix::Sections;

fn main() -> ExitCode {
    let arguments = arguments::parse();
    cli::exit::run(|| run(&arguments))
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    cli::interrupt::listen()?;
    let mut section = Sections::read(&arguments.config_dir)?.merge(&arguments.configs)?;
    arguments.override_keys(&mut section)?;
    build::build(&Datamix::new(section)?, arguments.options)
}
