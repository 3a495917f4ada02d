//! Mistakes that are planted, and proofs that must find them.

use std::io::Write as _;
use std::rc::Rc;

use trainer::fault::{Fault, plant};
use trainer::ranks::Ranks;

use crate::compared::{alone, compare};
use crate::golden_run::join;
use crate::ranks;

const SOUND: &str = "all is well";

/// Makes a proof twice on so many ranks: it must hold, and once the mistake is planted it must fail with these words.
#[track_caller]
pub(crate) fn is_found(fault: Fault, size: usize, words: &str, mut proof: impl FnMut(&Rc<Ranks>)) {
    let children = ranks::start(size, |started| {
        let ranks = join(started);
        proof(&ranks);
        std::io::stderr().write_all(SOUND.as_bytes()).expect("said");
        plant(fault);
        proof(&ranks);
    });
    let Some(children) = children else { return };
    let ended: Vec<_> =
        children.into_iter().map(|child| child.wait_with_output().expect("it ends")).collect();
    let said: Vec<_> = ended.iter().map(|it| String::from_utf8_lossy(&it.stderr)).collect();
    let said = said.join("\n");
    assert_eq!(said.matches(SOUND).count(), size, "without {fault:?}:\n{said}");
    let failed = ended.iter().any(|it| !it.status.success());
    assert!(failed && said.contains(words), "{fault:?} is not found:\n{said}");
}

/// The comparison with one rank, which was made before anything was planted.
pub(crate) fn steps(
    settings: &'static [&str],
    layout: &'static [&str],
    tolerance: f64,
) -> impl FnMut(&Rc<Ranks>) {
    let mut made = None;
    move |ranks| {
        let alone = made.get_or_insert_with(|| alone(ranks, settings));
        compare(ranks, alone.as_ref(), settings, layout, tolerance);
    }
}
