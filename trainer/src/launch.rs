//! A command line -> that many ranks of it on this machine, which end together.
//!
//! Each rank is a process of its own, started by exec; it finds the others through the variables that torchrun would have
//! set. Rank 0 speaks for all of them; what the others say has their number before it. If a rank fails, the others are
//! given a moment to notice it, and are ended then; what is told is the error that was the cause, and not those of the
//! ranks that only lost it.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, anyhow};
use cli::exit::{self, Told};
use cli::{BadInput, Interrupted, print};
use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};
use torch_ext::Store;

/// Where a rank that was launched leaves its error.
const ERROR_FILE: &str = "TRAINER_ERROR_FILE";
/// The process that launched it, without which it does not go on.
const LAUNCHER: &str = "TRAINER_LAUNCHER";
/// How long ranks have to end by themselves once one of them has failed.
const GRACE: Duration = Duration::from_secs(5);
/// How often it is looked whether they have.
const TICK: Duration = Duration::from_millis(20);
/// Before the error of a rank that only lost another.
const LOST: &str = "lost: ";

/// How ranks are launched.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many.
    pub nproc: usize,
    /// How many times all of them are started again after a failure; they go on from the last checkpoint.
    pub max_restarts: usize,
}

/// Runs this program with `arguments` as so many ranks.
pub fn launch(options: Options, arguments: &[OsString]) -> Result<()> {
    cli::interrupt::listen()?;
    // Nothing is waited for here, so that the timeout is only what the operating system needs.
    let store = Store::serve(0, Duration::from_secs(30)).context("serving the ranks' store")?;
    let errors = tempfile::tempdir().context("a folder for the ranks' errors")?;
    for attempt in 0.. {
        let ranks = Ranks::start(options.nproc, arguments, &store, attempt, errors.path())?;
        let Err(error) = ranks.wait(errors.path()) else { return Ok(()) };
        if exit::code(&error) != 1 || attempt == options.max_restarts {
            return Err(error);
        }
        print::note(format!(
            "error: {error:#}\nall ranks are started again, {} of {} times",
            attempt + 1,
            options.max_restarts
        ));
    }
    unreachable!("the last attempt returns")
}

/// Runs what a rank does: where it was launched, its error is left to be told, and it ends with the launcher.
pub fn as_rank<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    let Some(errors) = std::env::var_os(ERROR_FILE) else { return body() };
    set_parent_process_death_signal(Some(Signal::KILL)).context("binding to the launcher")?;
    let launcher = std::env::var(LAUNCHER).ok().and_then(|pid| pid.parse().ok());
    if launcher != getppid().map(|pid| pid.as_raw_nonzero().get()) {
        return Err(anyhow!("the process that launched this one is gone"));
    }
    body().map_err(|error| {
        let lost = error
            .chain()
            .any(|cause| matches!(cause.downcast_ref(), Some(torch_ext::Error::Lost { .. })));
        let text = format!("{}{error:#}", if lost { LOST } else { "" });
        match shards::atomic::write(Path::new(&errors), text.as_bytes()) {
            Ok(()) => error.context(Told),
            Err(_) => error,
        }
    })
}

/// Ranks that run.
struct Ranks {
    children: Vec<Child>,
    ended: Vec<Option<ExitStatus>>,
}

impl Ranks {
    fn start(
        nproc: usize,
        arguments: &[OsString],
        store: &Store,
        attempt: usize,
        errors: &Path,
    ) -> Result<Self> {
        let program = std::env::current_exe().context("where this program lies")?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut ranks = Self { children: Vec::new(), ended: Vec::new() };
        for rank in 0..nproc {
            let mut command = Command::new(&program);
            let numbers = [
                ("RANK", rank),
                ("LOCAL_RANK", rank),
                ("WORLD_SIZE", nproc),
                ("LOCAL_WORLD_SIZE", nproc),
                ("MASTER_PORT", store.port().into()),
                ("TORCHELASTIC_RESTART_COUNT", attempt),
            ];
            command
                .args(arguments)
                .envs(numbers.map(|(name, number)| (name, number.to_string())))
                .env("MASTER_ADDR", "localhost")
                .env("TORCHELASTIC_USE_AGENT_STORE", "True")
                .env(LAUNCHER, std::process::id().to_string())
                .env(ERROR_FILE, error_file(errors, rank))
                .stdin(Stdio::null())
                // Ctrl-C comes to the launcher alone, which passes it on once.
                .process_group(0);
            for (name, value) in [
                ("OMP_NUM_THREADS", (cores / nproc).max(1).to_string()),
                // Ranks of one machine need no other network, whatever its name resolves to.
                #[cfg(target_os = "linux")]
                ("GLOO_SOCKET_IFNAME", "lo".to_string()),
            ] {
                if std::env::var_os(name).is_none() {
                    command.env(name, value);
                }
            }
            if rank > 0 {
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
            }
            let mut child =
                command.spawn().with_context(|| format!("starting `{}`", program.display()))?;
            if let Some(output) = child.stdout.take() {
                label(rank, output);
            }
            if let Some(output) = child.stderr.take() {
                label(rank, output);
            }
            ranks.children.push(child);
            ranks.ended.push(None);
        }
        Ok(ranks)
    }

    /// Waits until all have ended; if one fails, the error that was the cause.
    fn wait(mut self, errors: &Path) -> Result<()> {
        let mut told = false;
        let mut failed: Option<Instant> = None;
        // In the order in which they were seen to end, without what was ended from here.
        let mut failures: Vec<usize> = Vec::new();
        while self.ended.iter().any(Option::is_none) {
            std::thread::sleep(TICK);
            if cli::interrupt::requested() && !told {
                told = true;
                self.signal(Signal::TERM);
            }
            for (rank, child) in self.children.iter_mut().enumerate() {
                if self.ended[rank].is_none()
                    && let Some(status) = child.try_wait().context("waiting for a rank")?
                {
                    self.ended[rank] = Some(status);
                    if !status.success() && failed.is_none_or(|at| at.elapsed() < GRACE) {
                        failures.push(rank);
                    }
                }
            }
            if !failures.is_empty() && failed.is_none() {
                failed = Some(Instant::now());
            }
            if failed.is_some_and(|at| at.elapsed() >= GRACE) {
                self.signal(Signal::KILL);
            }
        }
        let of_rank = |rank: usize| {
            let status = self.ended[rank].expect("all have ended");
            (rank, status, fs_err::read_to_string(error_file(errors, rank)).ok())
        };
        let failures: Vec<_> = failures.into_iter().map(of_rank).collect();
        // Of several, a rank that just lost another was not the cause.
        let is_lost = |text: &Option<String>| text.as_ref().is_some_and(|it| it.starts_with(LOST));
        let cause = failures.iter().find(|(.., text)| !is_lost(text)).or(failures.first());
        match cause {
            None => Ok(()),
            Some((rank, status, text)) => Err(error(*rank, *status, text.as_deref())),
        }
    }

    fn signal(&self, signal: Signal) {
        for (child, ended) in self.children.iter().zip(&self.ended) {
            let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            if let (None, Some(pid)) = (ended, pid) {
                // One that has ended meanwhile has no use for it.
                let _ = kill_process(pid, signal);
            }
        }
    }
}

impl Drop for Ranks {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        for child in &mut self.children {
            let _ = child.wait();
        }
    }
}

fn error_file(errors: &Path, rank: usize) -> PathBuf {
    errors.join(format!("rank-{rank}"))
}

/// A rank's end as the launcher's own.
fn error(rank: usize, status: ExitStatus, text: Option<&str>) -> Error {
    use std::os::unix::process::ExitStatusExt as _;
    if let Some(signal) = status.signal() {
        let hint = match Signal::from_named_raw(signal) {
            Some(Signal::KILL) => {
                "\nhint: an operating system that is out of memory does so: see its log"
            }
            Some(Signal::ABORT) => {
                "\nhint: it ended itself, and said why above: on GPUs PyTorch lets a process end so whose GPU waited in vain \
                 for another rank's"
            }
            _ => "",
        };
        return anyhow!("rank {rank} was killed by signal {signal}{hint}");
    }
    let text = text.map(|text| text.strip_prefix(LOST).unwrap_or(text));
    let told = match text {
        // What all ranks agreed on names the rank that it comes from.
        Some(text) if text.starts_with("rank ") => anyhow!("{text}"),
        Some(text) => anyhow!("rank {rank}: {text}"),
        None => anyhow!("rank {rank} ended with {status}"),
    };
    match status.code() {
        Some(130) => Interrupted.into(),
        Some(2) => Err::<(), _>(told).bad_input().expect_err("just made"),
        _ => told,
    }
}

/// Passes on what a rank says, a line at a time.
fn label(rank: usize, output: impl Read + Send + 'static) {
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            print::note(format!("[rank {rank}] {line}"));
        }
    });
}
