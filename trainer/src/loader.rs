//! The order of documents -> the micro-batches of one update after the other, made on a thread of its own.
//!
//! The thread works a bounded number of updates ahead and then waits. What it makes depends on the order alone, so that
//! a run is the same whatever the two threads' speeds.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use anyhow::{Context, Result};

use crate::batch::{Batcher, MicroBatch};

/// How many updates lie ready at most. Making one takes a thousandth of the time that training on it takes.
const AHEAD: usize = 2;

/// Makes micro-batches ahead.
#[derive(Debug)]
pub struct Loader {
    updates: Receiver<Vec<MicroBatch>>,
    next: usize,
}

impl Loader {
    /// Begins with this update of the run; an update takes `global` documents of the order.
    ///
    /// The thread ends when the loader is dropped, or after the last whole update.
    pub fn start(
        batcher: Arc<Batcher>,
        order: Arc<[usize]>,
        global: usize,
        first: usize,
    ) -> Result<Self> {
        let (sender, updates) = sync_channel(AHEAD);
        let make = move || {
            for documents in order.chunks_exact(global).skip(first) {
                // Nobody takes it any more: the run has ended.
                if sender.send(batcher.update(documents)).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("loader".into()).spawn(make).context("the loader's thread")?;
        Ok(Self { updates, next: first })
    }

    /// Which update of the run comes next.
    pub fn next(&self) -> usize {
        self.next
    }

    /// The next update's micro-batches.
    pub fn take(&mut self) -> Result<Vec<MicroBatch>> {
        let update = self.updates.recv().context("the thread that loads documents ended early")?;
        self.next += 1;
        Ok(update)
    }
}
