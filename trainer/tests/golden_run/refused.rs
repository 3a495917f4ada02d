//! Layouts that a run is refused for.

use std::rc::Rc;

use trainer::ranks::Ranks;
use trainer::run::Run;

use crate::compared::config;

/// A run with these settings is refused, with these words.
#[track_caller]
pub(crate) fn refused(ranks: &Rc<Ranks>, settings: &[&str], words: &str) {
    let error = Run::open_on(ranks, config(settings)).expect_err("refused");
    let error = format!("{error:#}");
    assert!(error.contains(words), "{error}");
}
