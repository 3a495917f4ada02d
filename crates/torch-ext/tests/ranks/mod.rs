//! A test that runs in several processes: the test's binary starts itself once per rank, with this one test.
//!
//! A test may do so several times, one after the other: a process that was started for one of them passes over the others.

use std::cell::Cell;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use torch_ext::Store;

/// Long enough for a slow machine, short enough to see that something hangs.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

/// One of the processes.
pub(crate) struct Place {
    pub(crate) rank: usize,
    pub(crate) size: usize,
    pub(crate) store: Store,
}

/// Runs `body` in `size` processes at once. Every one of them must succeed.
#[track_caller]
pub(crate) fn run(size: usize, body: impl FnOnce(Place)) {
    let Some(children) = start(size, body) else { return };
    let ended: Vec<_> = children
        .into_iter()
        .map(|child| child.wait_with_output().expect("a process ends"))
        .enumerate()
        .filter(|(_, output)| !output.status.success())
        .map(|(rank, output)| format!("rank {rank}:\n{}", String::from_utf8_lossy(&output.stderr)))
        .collect();
    assert!(ended.is_empty(), "{}", ended.join("\n"));
}

/// Starts the processes and gives them to the caller; in one of them, runs `body` and gives nothing.
pub(crate) fn start(size: usize, body: impl FnOnce(Place)) -> Option<Vec<Child>> {
    thread_local! {
        // A test runs on a thread of its own.
        static TIMES: Cell<usize> = const { Cell::new(0) };
    }
    let time = TIMES.replace(TIMES.get() + 1);
    let variable = |name: &str| std::env::var(name).ok()?.parse().ok();
    if let (Some(rank), Some(port)) = (variable("TEST_RANK"), variable("TEST_PORT")) {
        if variable("TEST_TIME") != Some(time) {
            return None;
        }
        let port = u16::try_from(port).expect("a port");
        let store = Store::connect("localhost", port, TIMEOUT).expect("the test serves a store");
        body(Place { rank, size, store });
        return None;
    }
    // It stays for as long as the test does: the processes may look into it until they end.
    let store: &'static Store = Box::leak(Box::new(Store::serve(0, TIMEOUT).expect("a free port")));
    let test = std::thread::current().name().expect("a test's thread has its name").to_owned();
    let port = usize::from(store.port());
    let text = |(name, number): (&'static str, usize)| (name, number.to_string());
    let child = |rank: usize| {
        Command::new(std::env::current_exe().expect("a test has a binary"))
            .args([&test, "--exact", "--include-ignored", "--nocapture", "--test-threads=1"])
            .envs([("TEST_RANK", rank), ("RANK", rank), ("LOCAL_RANK", rank)].map(text))
            .envs([("WORLD_SIZE", size), ("LOCAL_WORLD_SIZE", size)].map(text))
            .envs([("TEST_TIME", time), ("TEST_PORT", port), ("MASTER_PORT", port)].map(text))
            .envs([("MASTER_ADDR", "localhost"), ("TORCHELASTIC_USE_AGENT_STORE", "True")])
            .env("OMP_NUM_THREADS", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the test's binary starts")
    };
    Some((0..size).map(child).collect())
}
