//! Samples of a plan -> documents, encoded in parallel and handed over in the plan's order.
//!
//! Work goes out in chunks and at most a few chunks for each thread are on their way, so memory is bounded whatever
//! the size of the split; results wait for their turn. The cut into chunks does not depend on the number of threads.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::thread;

use anyhow::bail;
use cli::interrupt;
use crossbeam_channel::{Receiver, Sender, unbounded};
use text::Tokenizer;

use crate::encode::{self, Document, Planned};
use crate::filter::{Filter, Reason};

/// Samples that a thread encodes before it hands them over.
const CHUNK: usize = 32;
/// Chunks on their way for each thread.
const AHEAD: usize = 8;

/// What becomes of a sample.
#[derive(Debug)]
pub enum Outcome {
    /// It is a document of the split.
    Kept(Document),
    /// It is left out.
    Refused(Reason),
}

/// How samples are encoded.
#[derive(Debug, Clone, Copy)]
pub struct Pipeline<'a> {
    /// Text -> ids.
    pub tokenizer: &'a Tokenizer,
    /// Which documents are kept.
    pub filter: Filter,
    /// Whether documents carry their text.
    pub with_text: bool,
    /// Threads that encode.
    pub threads: usize,
}

impl Pipeline<'_> {
    /// Encodes the samples and hands each outcome over, in order, until there is no more or `take` breaks.
    pub fn run(
        &self,
        samples: &[Planned<'_>],
        mut take: impl FnMut(usize, Outcome) -> anyhow::Result<ControlFlow<()>>,
    ) -> anyhow::Result<()> {
        let chunks = samples.chunks(CHUNK);
        let n_chunks = chunks.len();
        let threads = self.threads.min(n_chunks).max(1);
        thread::scope(|scope| {
            let (task_sender, tasks) = unbounded();
            let (result_sender, results) = unbounded();
            for _ in 0..threads {
                let (tasks, results) = (tasks.clone(), result_sender.clone());
                scope.spawn(|| self.work(tasks, results));
            }
            drop(result_sender);
            let mut chunks = chunks.enumerate();
            for task in chunks.by_ref().take(threads * AHEAD) {
                task_sender.send(task).expect("the threads listen until there are no more tasks");
            }
            let mut waiting = BTreeMap::new();
            for next in 0..n_chunks {
                let outcomes = loop {
                    interrupt::check()?;
                    if let Some(outcomes) = waiting.remove(&next) {
                        break outcomes;
                    }
                    match results.recv() {
                        Ok(Some((chunk, outcomes))) => drop(waiting.insert(chunk, outcomes)),
                        // The thread's own message is on standard error already.
                        Ok(None) | Err(_) => bail!("a thread of the encoder ended with a panic"),
                    }
                };
                if let Some(task) = chunks.next() {
                    task_sender
                        .send(task)
                        .expect("the threads listen until there are no more tasks");
                }
                for (i, outcome) in (next * CHUNK..).zip(outcomes) {
                    if take(i, outcome)?.is_break() {
                        return Ok(());
                    }
                }
            }
            Ok(())
        })
    }

    fn work(&self, tasks: Receiver<(usize, &[Planned<'_>])>, results: Sender<Finished>) {
        let alarm = Alarm(results);
        let mut encoder = self.tokenizer.encoder();
        for (chunk, samples) in tasks {
            let outcome = |planned: &Planned<'_>| {
                let document = encode::document(*planned, &mut encoder, self.with_text);
                match self.filter.refuses(&document) {
                    Some(reason) => Outcome::Refused(reason),
                    None => Outcome::Kept(document),
                }
            };
            let outcomes = samples.iter().map(outcome).collect();
            if alarm.0.send(Some((chunk, outcomes))).is_err() {
                // Nobody listens any more: the run was stopped.
                return;
            }
        }
    }
}

/// A chunk's number and what became of its samples; `None` from a thread that panics.
type Finished = Option<(usize, Vec<Outcome>)>;

/// Tells of a panic, so that nobody waits for a chunk that never comes.
struct Alarm(Sender<Finished>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.0.send(None);
        }
    }
}
