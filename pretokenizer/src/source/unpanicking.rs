//! A library that panics over a damaged file -> an error.
//!
//! The readers of arrow and parquet check much of what a file says, but not all: some lengths and offsets are taken as they are,
//! and what does not fit ends in a panic. To a user that is a damaged file like any other.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static IS_READING: Cell<bool> = const { Cell::new(false) };
}

/// What it gives, or what it said when it panicked. What it was reading with must not be used any more then.
pub(crate) fn unpanicking<T>(read: impl FnOnce() -> T) -> Result<T, String> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !IS_READING.get() {
                before(panic);
            }
        }));
    });
    IS_READING.set(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(read));
    IS_READING.set(false);
    outcome.map_err(|panic| said(&*panic).to_owned())
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it cannot be read")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_what_it_says() {
        assert_eq!(unpanicking(|| 7), Ok(7));
        let n = 8;
        assert_eq!(unpanicking(|| assert!(n < 8, "{n} is too much")), Err("8 is too much".into()));
        assert_eq!(unpanicking(|| panic!("no")), Err::<(), _>("no".into()));
    }
}
