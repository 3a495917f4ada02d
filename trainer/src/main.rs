//! `trainer`: from token shards and a base model to a fine-tuned one.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use cli::{BadInput, bail_input, print};
use tch::Kind;
use text::Tokenizer;
use trainer::config::Config;
use trainer::init::Preset;
use trainer::llama_config::LlamaConfig;
use trainer::plan::Gpu;
use trainer::ranks::{Place, Ranks};
use trainer::train::train;
use trainer::warp::Warp;
use trainer::{convert, export, init, launch, merge, plan, report, sample};

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
        /// Go on from a checkpoint even if settings, base model or shards are others than before
        #[arg(long)]
        force_resume: bool,
    },
    /// Start a command as several processes on this machine, such as `trainer launch --nproc 2 -- train --config run.yaml`
    Launch {
        /// How many processes
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        nproc: u32,
        /// After a failure, start all of them again so many times; they go on from the last checkpoint
        #[arg(long, value_name = "N", default_value_t = 0)]
        max_restarts: usize,
        /// What each of them runs
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
    /// Say what a run would take: memory, operations, steps, time; no weights are needed
    Plan {
        /// The run's YAML file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Put a value in place of the file's, such as `recompute=all`; may be given several times
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// How many processes train
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        ranks: u32,
        /// The shape of a known model, where the base's folder is not there
        #[arg(long, value_enum)]
        preset: Option<Preset>,
        /// How many tokens a document has in the mean, where there are no shards [default: as many as it can have]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        mean_tokens: Option<u32>,
        /// Whether it fits such a GPU a process, and what to change if it does not
        #[arg(long, value_enum)]
        gpu: Option<Gpu>,
        /// The same for a GPU with so much memory, in GiB
        #[arg(long, value_name = "GIB", conflicts_with = "gpu", value_parser = above_zero)]
        gpu_memory: Option<f64>,
        /// The share of a GPU's peak that is reached, for the estimated time
        #[arg(long, value_name = "SHARE", default_value_t = 0.4, value_parser = share)]
        utilisation: f64,
    },
    /// Make a base model with random weights, of any shape
    Init(InitArgs),
    /// Write a run's newest checkpoint as a Hugging Face folder, and read it back to compare
    Export {
        /// A run's folder, or one of its checkpoints
        #[arg(value_name = "RUN")]
        from: PathBuf,
        /// The folder to write
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
        /// Whether the rows that only fill up the vocabulary stay in the model
        #[arg(long, value_enum, default_value_t = Vocab::Keep)]
        vocab: Vocab,
        /// Of a run with `lora`, write the adapter alone, as peft has it, in fp32
        #[arg(long, conflicts_with_all = ["vocab", "dtype", "max_shard_size"])]
        adapter: bool,
        #[command(flatten)]
        files: FilesArgs,
    },
    /// Put an adapter of peft's into its base model
    Merge {
        /// The base model's Hugging Face folder
        #[arg(long, value_name = "MODEL")]
        base: PathBuf,
        /// The adapter's folder, such as `trainer export --adapter` writes
        #[arg(long, value_name = "ADAPTER")]
        adapter: PathBuf,
        /// The folder to write
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
        #[command(flatten)]
        files: FilesArgs,
    },
    /// Write a model's weights again, in another kind of number or in other files
    Convert {
        /// A Hugging Face folder or one of Meta's (pickles are read without running them), or a checkpoint or a run, of which
        /// only weights and shape are looked at
        #[arg(value_name = "MODEL")]
        from: PathBuf,
        /// The folder to write
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
        /// Give a model whose head is its embedding a head of its own
        #[arg(long)]
        untie: bool,
        #[command(flatten)]
        files: FilesArgs,
    },
    /// Let a model answer prompts
    Sample(SampleArgs),
}

#[derive(Args)]
struct FilesArgs {
    /// The kind of number in the files
    #[arg(long, value_enum, default_value_t = Dtype::Bf16)]
    dtype: Dtype,
    /// Begin another file of weights after so many gigabytes (10^9 bytes)
    #[arg(long, value_name = "GB", default_value_t = 5.0, value_parser = above_zero)]
    max_shard_size: f64,
    /// Replace the folder if it is there
    #[arg(long)]
    force: bool,
}

impl FilesArgs {
    fn options(&self, trim_vocab: bool) -> export::Options {
        let kind = match self.dtype {
            Dtype::Bf16 => Kind::BFloat16,
            Dtype::F32 => Kind::Float,
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a size in bytes"
        )]
        let max_shard_bytes = (self.max_shard_size * 1e9) as u64;
        export::Options { kind, max_shard_bytes, trim_vocab, force: self.force }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Vocab {
    /// Keep them, as the model was trained
    Keep,
    /// Leave them out: as many rows as the tokenizer has tokens
    Trim,
}

#[derive(Args)]
struct InitArgs {
    /// The folder to write
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// `tokenizer.model` or `tokenizer.json`: gives the vocabulary's size, and goes into the folder
    #[arg(long, value_name = "FILE", required_unless_present = "vocab_size")]
    tokenizer: Option<PathBuf>,
    /// Special tokens after the tokenizer's own, as the datamix has them in `vocab_extra_ids_list`
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "<|im_start|>,<|im_end|>"
    )]
    extra_tokens: Vec<String>,
    /// Fill the vocabulary up to a multiple of this
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    pad_vocab_multiple: u32,
    /// Rows of embedding and head, in place of a tokenizer
    #[arg(long, value_name = "N", conflicts_with = "tokenizer", value_parser = clap::value_parser!(u32).range(1..))]
    vocab_size: Option<u32>,
    /// The shape of a known model, in place of the numbers below
    #[arg(
        long,
        value_enum,
        conflicts_with_all = ["hidden_size", "intermediate_size", "layers", "heads", "kv_heads", "max_position_embeddings", "rope_theta"]
    )]
    preset: Option<Preset>,
    /// Width of the hidden states
    #[arg(long, value_name = "N", required_unless_present = "preset", value_parser = clap::value_parser!(u32).range(1..))]
    hidden_size: Option<u32>,
    /// Width inside the MLP
    #[arg(long, value_name = "N", required_unless_present = "preset", value_parser = clap::value_parser!(u32).range(1..))]
    intermediate_size: Option<u32>,
    /// Decoder blocks
    #[arg(long, value_name = "N", required_unless_present = "preset", value_parser = clap::value_parser!(u32).range(1..))]
    layers: Option<u32>,
    /// Query heads
    #[arg(long, value_name = "N", required_unless_present = "preset", value_parser = clap::value_parser!(u32).range(1..))]
    heads: Option<u32>,
    /// Heads of keys and values [default: as many as query heads]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    kv_heads: Option<u32>,
    /// The longest text that the model is made for
    #[arg(long, value_name = "N", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(1..))]
    max_position_embeddings: u32,
    /// Base of RoPE's frequencies
    #[arg(long, value_name = "X", default_value_t = 10_000.0, value_parser = above_zero)]
    rope_theta: f64,
    /// Let the head's matrix be the embedding's
    #[arg(long)]
    tie_word_embeddings: bool,
    /// Standard deviation of the random weights
    #[arg(long, value_name = "X", default_value_t = 0.02, value_parser = from_zero)]
    initializer_range: f64,
    /// Seeds the random weights
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: i64,
}

#[derive(Args)]
struct SampleArgs {
    /// A Hugging Face folder, such as `trainer export` writes, or a run's folder, or one of its checkpoints
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// What to ask
    #[arg(long, value_name = "TEXT", required_unless_present_any = ["prompts", "report", "chat"])]
    prompt: Option<String>,
    /// A system message before it
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["prompts", "report"])]
    system: Option<String>,
    /// A conversation in the terminal; an empty line ends it
    #[arg(long, conflicts_with_all = ["prompt", "prompts", "report", "out"])]
    chat: bool,
    /// Answer each prompt of a file, a JSON text a line, in the three ways of Open-Assistant's sampling reports, and write
    /// such a report to `--out`, with a page to read beside it
    #[arg(
        long,
        value_name = "FILE",
        requires = "out",
        conflicts_with_all = ["prompt", "prompts", "temperature", "top_p", "top_k", "repetition_penalty"]
    )]
    report: Option<PathBuf>,
    /// Answers of each way that draws, in a report
    #[arg(long, value_name = "N", default_value_t = 2, requires = "report", value_parser = clap::value_parser!(u32).range(1..))]
    num_samples: u32,
    /// Many prompts: lines such as {"messages": [{"role": "user", "content": "..."}], "answer": "..."}
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    prompts: Option<PathBuf>,
    /// Where the lines go, with an `output` each [default: standard output]
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    out: Option<PathBuf>,
    /// Prompts of the same length that are answered together
    #[arg(long, value_name = "N", default_value_t = 8, requires = "prompts", value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// The longest answer, in tokens
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..))]
    max_new_tokens: u32,
    /// 0 takes the most probable token; above, tokens are drawn
    #[arg(long, value_name = "T", default_value_t = 0.0, value_parser = from_zero)]
    temperature: f64,
    /// Draw among the most probable tokens that together have this probability
    #[arg(long, value_name = "P", default_value_t = 1.0, value_parser = share)]
    top_p: f64,
    /// Draw among so many most probable tokens; 0 for all
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_k: u32,
    /// Above 1, tokens that were there before are less probable
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = above_zero)]
    repetition_penalty: f64,
    /// Seeds the draws
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Dtype {
    Bf16,
    F32,
}

fn main() -> ExitCode {
    let cli = parse();
    cli::exit::run(|| {
        launch::as_rank(|| {
            // From the first moment on: what comes now takes seconds.
            if matches!(cli.command, Command::Train { .. }) {
                cli::interrupt::listen()?;
            }
            torch_ext::version::check()?;
            // Before anything asks libtorch about CUDA. A box without a GPU is not an error here: the configuration may
            // ask for one, and then the reason is told.
            let _ = torch_ext::cuda::load();
            run(cli.command)
        })
    })
}

/// The command line; `-1` is a number out of its range there, and not an unknown flag.
fn parse() -> Cli {
    let command = Cli::command().mut_subcommands(|subcommand| {
        subcommand.mut_args(|arg| {
            let takes_value = arg.get_action().takes_values();
            arg.allow_negative_numbers(takes_value)
        })
    });
    Cli::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
}

/// A number from 0 on.
fn from_zero(text: &str) -> Result<f64, String> {
    number(text, |it| it >= 0.0, "a number from 0 on")
}

/// A number above 0.
fn above_zero(text: &str) -> Result<f64, String> {
    number(text, |it| it > 0.0, "a number above 0")
}

/// A number above 0, at most 1.
fn share(text: &str) -> Result<f64, String> {
    number(text, |it| it > 0.0 && it <= 1.0, "a number above 0, at most 1")
}

fn number(text: &str, fits: fn(f64) -> bool, expected: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|it: &f64| it.is_finite() && fits(*it));
    number.ok_or_else(|| format!("expected {expected}"))
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Train { config: path, set, out, stop_after, force_resume } => {
            let place = Place::from_environment()?;
            if place.rank > 0 {
                print::mute();
            }
            let config = Config::read(&path, &set)?;
            let name = path.file_stem().map_or_else(|| "run".into(), PathBuf::from);
            let out = out.unwrap_or_else(|| PathBuf::from("runs").join(name));
            let timeout = Duration::from_secs(config.parallel.timeout);
            let ranks = Ranks::join(place, timeout, config.parallel.check_calls)?;
            train(&ranks, config, &out, stop_after, force_resume)
        }
        Command::Launch { nproc, max_restarts, command } => {
            let nproc = usize::try_from(nproc)?;
            launch::launch(launch::Options { nproc, max_restarts }, &command)
        }
        Command::Plan { config, set, ranks, preset, mean_tokens, gpu, gpu_memory, utilisation } => {
            let options = plan::Options {
                ranks,
                shape: preset.map(Preset::shape),
                mean_tokens,
                gpu_memory: gpu.map(Gpu::memory).or(gpu_memory),
                utilisation,
            };
            plan::print(&Config::read(&config, &set)?, &options)
        }
        Command::Init(args) => init(args),
        Command::Export { from, out, adapter: true, files, .. } => {
            cli::interrupt::listen()?;
            export::export_adapter(&from, &out, files.force)
        }
        Command::Export { from, out, vocab, files, .. } => {
            cli::interrupt::listen()?;
            export::export(&from, &out, &files.options(vocab == Vocab::Trim))
        }
        Command::Convert { from, out, untie, files } => {
            cli::interrupt::listen()?;
            convert::convert(&from, &out, &files.options(false), untie)
        }
        Command::Merge { base, adapter, out, files } => {
            cli::interrupt::listen()?;
            merge::merge(&base, &adapter, &out, &files.options(false))
        }
        Command::Sample(args) => sample(args),
    }
}

fn init(args: InitArgs) -> Result<()> {
    let open = |file: &PathBuf| Tokenizer::open(file, &args.extra_tokens).bad_input();
    let tokenizer = args.tokenizer.as_ref().map(open).transpose()?;
    let vocab_size = match &tokenizer {
        Some(tokenizer) => init::rows(tokenizer, args.pad_vocab_multiple)?,
        None => args.vocab_size.unwrap_or_default().into(),
    };
    let config = LlamaConfig {
        vocab_size,
        tie_word_embeddings: args.tie_word_embeddings,
        initializer_range: args.initializer_range,
        bos_token_id: tokenizer.as_ref().and_then(Tokenizer::bos_id),
        eos_token_ids: tokenizer.as_ref().and_then(Tokenizer::eos_id).into_iter().collect(),
        ..shape(&args)?
    };
    init::init(config, args.seed, tokenizer.as_ref(), &args.out)
}

/// The preset's shape, or the one of the numbers given; the vocabulary comes from elsewhere.
fn shape(args: &InitArgs) -> Result<LlamaConfig> {
    if let Some(preset) = args.preset {
        return Ok(preset.shape());
    }
    let number = |number: Option<u32>| number.map(i64::from).context("clap requires it");
    let (hidden_size, heads) = (number(args.hidden_size)?, number(args.heads)?);
    if hidden_size % heads != 0 {
        bail_input!("`--hidden-size` {hidden_size} cannot be shared by {heads} heads evenly");
    }
    Ok(LlamaConfig {
        hidden_size,
        intermediate_size: number(args.intermediate_size)?,
        num_hidden_layers: number(args.layers)?,
        num_attention_heads: heads,
        num_key_value_heads: args.kv_heads.map_or(heads, i64::from),
        head_dim: hidden_size / heads,
        max_position_embeddings: args.max_position_embeddings.into(),
        rope_theta: args.rope_theta,
        ..Preset::Codellama7b.shape()
    })
}

fn sample(args: SampleArgs) -> Result<()> {
    let max_new_tokens = usize::try_from(args.max_new_tokens).unwrap_or(usize::MAX);
    let warp = Warp {
        temperature: args.temperature,
        top_k: args.top_k.into(),
        top_p: args.top_p,
        repetition_penalty: args.repetition_penalty,
        min_new_tokens: 0,
    };
    let options = sample::Options { warp, max_new_tokens, seed: args.seed };
    if let (Some(prompts), Some(out)) = (&args.report, &args.out) {
        let options = report::Options {
            max_new_tokens,
            num_samples: args.num_samples.into(),
            seed: args.seed,
        };
        return report::report(&args.model, prompts, out, &options);
    }
    if args.chat {
        return sample::chat(&args.model, args.system, options);
    }
    match (args.prompts, args.prompt) {
        (Some(prompts), _) => {
            let batch = usize::try_from(args.batch).unwrap_or(usize::MAX);
            sample::many(&args.model, &prompts, args.out.as_deref(), batch, options)
        }
        (None, prompt) => {
            sample::one(&args.model, args.system, prompt.unwrap_or_default(), options)
        }
    }
}
