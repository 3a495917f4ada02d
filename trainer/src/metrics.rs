//! `metrics.jsonl`: what a run measured, one JSON object a line, written as it happens.
//!
//! A resumed run goes on with the file: lines of steps after the checkpoint are taken out first, because those steps
//! are made again.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fs_err as fs;
use serde::Serialize;
use serde_json::Value;

use crate::evaluate::Evaluation;
use crate::run::Step;

/// The open file.
#[derive(Debug)]
pub struct Metrics {
    file: fs::File,
}

/// A line about a training step. The unit of all times is the second.
#[derive(Serialize)]
struct TrainLine<'a> {
    kind: &'static str,
    step: u64,
    loss: f64,
    lr: f64,
    grad_norm: f64,
    skipped: bool,
    documents: u64,
    first_documents: &'a [usize],
    tokens: u64,
    supervised_tokens: u64,
    padding: f64,
    empty_micro_batches: u64,
    truncated_documents: u64,
    truncated_tokens: u64,
    truncated_supervised_tokens: u64,
    seconds: f64,
    data_seconds: f64,
    tokens_per_second: f64,
}

/// A line about an evaluation.
#[derive(Serialize)]
struct ValidationLine<'a> {
    kind: &'static str,
    step: u64,
    #[serde(flatten)]
    evaluation: &'a Evaluation,
}

impl Metrics {
    /// Opens the run's file, with the lines of the first `steps` steps and no others.
    pub fn open(out: &Path, steps: u64) -> Result<Self> {
        let path = path(out);
        let kept =
            if path.exists() && steps > 0 { lines_until(&path, steps)? } else { String::new() };
        shards::atomic::write(&path, kept.as_bytes())?;
        Ok(Self { file: fs::OpenOptions::new().append(true).open(&path)? })
    }

    /// Writes what a step did.
    pub fn train(&mut self, number: u64, step: &Step) -> Result<()> {
        let (counts, seconds) = (step.counts, step.seconds.0.as_secs_f64());
        self.write(&TrainLine {
            kind: "train",
            step: number,
            loss: step.loss,
            lr: step.lr,
            grad_norm: step.grad_norm,
            skipped: step.skipped,
            documents: counts.documents,
            first_documents: &step.first_documents,
            tokens: counts.tokens,
            supervised_tokens: counts.supervised,
            padding: counts.padding(),
            empty_micro_batches: counts.empty,
            truncated_documents: counts.cut_documents,
            truncated_tokens: counts.cut_tokens,
            truncated_supervised_tokens: counts.cut_supervised,
            seconds,
            data_seconds: step.seconds.1.as_secs_f64(),
            tokens_per_second: counts.tokens as f64 / seconds,
        })
    }

    /// Writes what an evaluation found after a step.
    pub fn validation(&mut self, step: u64, evaluation: &Evaluation) -> Result<()> {
        self.write(&ValidationLine { kind: "validation", step, evaluation })
    }

    fn write(&mut self, line: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_string(line).context("a line of metrics")?;
        line.push('\n');
        Ok(self.file.write_all(line.as_bytes())?)
    }
}

/// Where a run's metrics lie.
pub fn path(out: &Path) -> PathBuf {
    out.join("metrics.jsonl")
}

/// The lines about steps up to this one. A last line that an interruption cut short is left out.
fn lines_until(path: &Path, last: u64) -> Result<String> {
    let text = fs::read_to_string(path)?;
    let step = |line: &str| serde_json::from_str::<Value>(line).ok()?["step"].as_u64();
    let kept = text.lines().filter(|line| step(line).is_some_and(|step| step <= last));
    Ok(kept.map(|line| format!("{line}\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resumed_run_drops_the_steps_that_it_makes_again_and_a_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        let text = "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n{\"st";
        fs::write(path(folder.path()), text).unwrap();
        Metrics::open(folder.path(), 2).unwrap();
        let left = fs::read_to_string(path(folder.path())).unwrap();
        assert_eq!(left, "{\"step\":1}\n{\"step\":2}\n");
    }
}
