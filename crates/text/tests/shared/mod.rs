//! The folder of tokenizers and data that stands beside the workspace.

use std::path::{Path, PathBuf};

/// A file of it; `None`, and a line that says so, where there is no such folder. CI must have it.
#[expect(clippy::print_stderr, reason = "a test that skips says so")]
pub(crate) fn path(file: &str) -> Option<PathBuf> {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    if !shared.exists() {
        assert!(std::env::var("CI").is_err(), "../shared is missing, and CI must have it");
        eprintln!("skipped: ../shared is missing");
        return None;
    }
    Some(shared.join(file))
}
