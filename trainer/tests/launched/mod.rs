//! The processes of a run that `trainer launch` has started.

use std::process::{Child, Command, Stdio};

use fs_err as fs;

/// The processes that a launcher started, by their rank; none before it has, and after they ended.
pub(crate) fn ranks_of(launcher: &Child) -> Vec<u32> {
    let path = format!("/proc/{0}/task/{0}/children", launcher.id());
    let children = fs::read_to_string(path).unwrap_or_default();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Sends a signal to processes; says whether all of them were still there to get it.
pub(crate) fn kill(signal: &str, pids: &[u32]) -> bool {
    let mut command = Command::new("kill");
    command.arg(signal).args(pids.iter().map(u32::to_string)).stderr(Stdio::null());
    command.status().expect("`kill` is there").success()
}
