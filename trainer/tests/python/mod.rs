//! The Python that reads what we write, with the packages that our users have.

/// The Python with transformers that `scripts/test` sets up; none, with a word about it, where it is not at hand.
#[expect(clippy::print_stderr, reason = "a test that does not run says so")]
pub(crate) fn python() -> Option<String> {
    let python = std::env::var("PYTHON_FOR_TESTS").ok();
    assert!(
        python.is_some() || std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "`PYTHON_FOR_TESTS` is not set"
    );
    if python.is_none() {
        eprintln!("skipped: `PYTHON_FOR_TESTS` names no Python with transformers");
    }
    python
}
