//! `pretokenizer`: a YAML datamix -> token shards.

mod commands; // what can be typed behind `pretokenizer`

use std::process::ExitCode;

// Rows are made on one thread and taken on another, and glibc's allocator then has the two wait for each other; measured in
// `pipeline`.
#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let matches = commands::typed();
    cli::exit::run(|| {
        cli::interrupt::listen()?;
        commands::run(&matches)
    })
}
