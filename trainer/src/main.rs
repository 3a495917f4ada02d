//! `trainer`: from token shards and a base model to a fine-tuned one.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use trainer::config::Config;
use trainer::train::train;

/// Fine-tunes a Llama on token shards.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train as a YAML file says; goes on from the newest checkpoint if the output folder has one
    Train {
        /// The run's YAML file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Put a value in place of the file's, such as `optimizer.lr=1e-5`; may be given several times
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// Where checkpoints and metrics go [default: `runs/` and the YAML file's name]
        #[arg(long, value_name = "FOLDER")]
        out: Option<PathBuf>,
        /// Save and stop after so many steps in all; the same command without it goes on
        #[arg(long, value_name = "STEP")]
        stop_after: Option<u64>,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    cli::exit::run(|| {
        torch_ext::version::check()?;
        // Before anything asks libtorch about CUDA. A box without a GPU is not an error here: the configuration may
        // ask for one, and then the reason is told.
        let _ = torch_ext::cuda::load();
        run(cli.command)
    })
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Train { config: path, set, out, stop_after } => {
            let config = Config::read(&path, &set)?;
            let name = path.file_stem().map_or_else(|| "run".into(), PathBuf::from);
            train(config, &out.unwrap_or_else(|| PathBuf::from("runs").join(name)), stop_after)
        }
    }
}
