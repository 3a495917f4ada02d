//! Updates with nothing to learn.

use trainer::order::Order;

/// The setting of a seed with which the run's first two documents teach nothing.
pub(crate) fn silent_beginning() -> String {
    let silent = |seed: &u32| Order::new(12, None, *seed, 2, 0).train.iter().all(|it| it % 4 == 0);
    (0..).find(silent).map(|seed| format!("seed={seed}")).expect("one of them does")
}
