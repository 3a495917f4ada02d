//! Long work, seen: a bar on a terminal, plain lines at intervals elsewhere.
//!
//! Both go to standard error, so that standard output stays what the user asked for. A log file gets a line every few
//! seconds and never a control character.

use std::io::{IsTerminal, stderr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};

use crate::print;

/// How often a plain line is written where there is no terminal.
const INTERVAL: Duration = Duration::from_secs(5);

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things with a plural name, such as `documents`.
    Count(&'static str),
    /// Bytes, shown with binary prefixes.
    Bytes,
}

/// The progress of one piece of work; it may be advanced from any thread.
#[derive(Debug)]
pub struct Progress {
    label: String,
    total: u64,
    unit: Unit,
    /// How much was done before: it says nothing about the speed of the rest.
    before: u64,
    started: Instant,
    shown: Shown,
}

#[derive(Debug)]
enum Shown {
    Bar(ProgressBar),
    Lines { done: AtomicU64, last: Mutex<Instant> },
}

impl Progress {
    /// Begins: `label` says what is done, `total` how much of it there is.
    #[must_use]
    pub fn new(label: impl Into<String>, total: u64, unit: Unit) -> Self {
        Self::resumed(label, 0, total, unit)
    }

    /// Goes on with work of which a part was done at another time.
    #[must_use]
    pub fn resumed(label: impl Into<String>, before: u64, total: u64, unit: Unit) -> Self {
        let label = label.into();
        let started = Instant::now();
        let shown = if stderr().is_terminal() && !print::is_muted() {
            let bar = ProgressBar::new(total).with_style(style(unit)).with_message(label.clone());
            bar.set_position(before);
            bar.reset_eta();
            bar.enable_steady_tick(Duration::from_millis(200));
            Shown::Bar(bar)
        } else {
            Shown::Lines { done: AtomicU64::new(before), last: Mutex::new(started) }
        };
        Self { label, total, unit, before, started, shown }
    }

    /// Advances by `n`.
    pub fn inc(&self, n: u64) {
        match &self.shown {
            Shown::Bar(bar) => bar.inc(n),
            Shown::Lines { done, last } => {
                let done = done.fetch_add(n, Ordering::Relaxed) + n;
                // Whoever finds the lock taken need not wait: somebody is about to write a line.
                if let Ok(mut last) = last.try_lock()
                    && last.elapsed() >= INTERVAL
                {
                    *last = Instant::now();
                    print::note(self.line(done, self.started.elapsed()));
                }
            }
        }
    }

    /// Writes a line about the work without disturbing the bar.
    pub fn note(&self, line: impl AsRef<str>) {
        match &self.shown {
            Shown::Bar(bar) => bar.suspend(|| print::note(line.as_ref())),
            Shown::Lines { .. } => print::note(line),
        }
    }

    /// Ends: the bar goes away. Nothing is printed; the caller says what came out.
    pub fn finish(self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }

    fn line(&self, done: u64, elapsed: Duration) -> String {
        let Self { label, total, before, .. } = self;
        let share = 100.0 * done as f64 / (*total).max(1) as f64;
        let amount = match self.unit {
            Unit::Count(name) => format!("{} of {} {name}", HumanCount(done), HumanCount(*total)),
            Unit::Bytes => format!("{:.1} of {:.1} MiB", mebibytes(done), mebibytes(*total)),
        };
        let (now, left) = (done.saturating_sub(*before), total.saturating_sub(done));
        let left = elapsed.mul_f64(left as f64 / now.max(1) as f64);
        format!("{label}: {amount} ({share:.0} %), {} left", HumanDuration(left))
    }
}

impl Drop for Progress {
    /// Work that ends early with an error leaves no half bar on the screen.
    fn drop(&mut self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn style(unit: Unit) -> ProgressStyle {
    let amount = match unit {
        Unit::Count(name) => format!("{{human_pos}}/{{human_len}} {name}, {{per_sec}}"),
        Unit::Bytes => "{binary_bytes}/{binary_total_bytes}, {binary_bytes_per_sec}".to_string(),
    };
    ProgressStyle::with_template(&format!("{{msg}} {{wide_bar}} {amount}, {{eta}} left"))
        .expect("the template is written above and has no user's text in it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(progress: &Progress, done: u64, expected: &str) {
        assert_eq!(progress.line(done, Duration::from_secs(20)), expected);
    }

    #[test]
    fn a_plain_line_says_what_how_much_and_how_long() {
        let progress = Progress::new("encoding", 2000, Unit::Count("documents"));
        check(&progress, 500, "encoding: 500 of 2,000 documents (25 %), 60 seconds left");
    }

    #[test]
    fn what_was_done_before_does_not_count_as_speed() {
        let progress = Progress::resumed("training", 110, 220, Unit::Count("steps"));
        check(&progress, 165, "training: 165 of 220 steps (75 %), 20 seconds left");
    }
}
