//! `pretokenizer`: a YAML datamix -> token shards.

mod commands; // what can be typed behind `pretokenizer`

use std::process::ExitCode;

fn main() -> ExitCode {
    let matches = commands::typed();
    cli::exit::run(|| {
        cli::interrupt::listen()?;
        commands::run(&matches)
    })
}
