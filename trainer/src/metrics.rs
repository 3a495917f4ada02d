//! What a run measured -> lines, one JSON object each, and their file, `metrics.jsonl`.
//!
//! Everything else that shows a run is made from these lines. The unit of all times is the second.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Result;
use fs_err as fs;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::evaluate::Evaluation;
use crate::step::Step;

/// A line about a training step.
#[derive(Serialize)]
struct TrainLine<'a> {
    kind: &'static str,
    step: u64,
    time: f64,
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
    passes_seconds: f64,
    update_seconds: f64,
    tokens_per_second: f64,
    supervised_tokens_per_second: f64,
    /// Model FLOPs, see `flops`.
    flops_per_second: f64,
    /// Their share of `logging.peak_tflops`.
    #[serde(skip_serializing_if = "Option::is_none")]
    mfu: Option<f64>,
    /// The most that the process has had in main memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_memory_mib: Option<f64>,
}

/// A line about an evaluation.
#[derive(Serialize)]
struct ValidationLine<'a> {
    kind: &'static str,
    step: u64,
    time: f64,
    #[serde(flatten)]
    evaluation: &'a Evaluation,
}

/// One line: an object with `kind`, `step`, `time` and numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Line(Map<String, Value>);

impl Line {
    /// What a step did.
    ///
    /// `peak_tflops` is what the hardware could do, in 10^12 operations a second.
    pub fn train(number: u64, step: &Step, peak_tflops: Option<f64>) -> Self {
        let (counts, seconds) = (step.counts, step.seconds.total().as_secs_f64());
        let flops_per_second = step.flops / seconds;
        Self::of(&TrainLine {
            kind: "train",
            step: number,
            time: now(),
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
            data_seconds: step.seconds.data.as_secs_f64(),
            passes_seconds: step.seconds.passes.as_secs_f64(),
            update_seconds: step.seconds.update.as_secs_f64(),
            tokens_per_second: counts.tokens as f64 / seconds,
            supervised_tokens_per_second: counts.supervised as f64 / seconds,
            flops_per_second,
            mfu: peak_tflops.map(|peak| flops_per_second / (peak * 1e12)),
            peak_memory_mib: peak_memory(),
        })
    }

    /// What an evaluation found after a step.
    pub fn validation(step: u64, evaluation: &Evaluation) -> Self {
        Self::of(&ValidationLine { kind: "validation", step, time: now(), evaluation })
    }

    fn of(line: &impl Serialize) -> Self {
        match serde_json::to_value(line) {
            Ok(Value::Object(line)) => Self(line),
            other => unreachable!("a line of metrics is an object, not {other:?}"),
        }
    }

    /// The step that it is about.
    pub fn step(&self) -> u64 {
        self.0.get("step").and_then(Value::as_u64).unwrap_or_default()
    }

    /// When it was written, in Unix seconds.
    pub fn time(&self) -> f64 {
        self.0.get("time").and_then(Value::as_f64).unwrap_or_default()
    }

    /// Every number in it but `step` and `time`, as `train/loss`; one in a group within as `validation/orca-chat/loss`.
    /// Numbers that were not finite are null in a line, and so left out.
    pub fn scalars(&self) -> Vec<(String, f64)> {
        let kind = self.0.get("kind").and_then(Value::as_str).unwrap_or_default();
        let mut found = Vec::new();
        let numbers = self.0.iter().filter(|(key, _)| *key != "step" && *key != "time");
        numbers.for_each(|(key, value)| scalars(format!("{kind}/{key}"), value, &mut found));
        found
    }

    /// As a line of the file, without its end.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.0).expect("an object of numbers and texts is JSON")
    }
}

fn scalars(key: String, value: &Value, found: &mut Vec<(String, f64)>) {
    match value {
        Value::Number(number) => found.extend(number.as_f64().map(|number| (key, number))),
        Value::Object(group) => {
            group.iter().for_each(|(part, value)| scalars(format!("{key}/{part}"), value, found));
        }
        _ => {}
    }
}

/// The most main memory that this process has had, in MiB, as Linux counts it.
fn peak_memory() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes / 1024.0)
}

/// Unix time in seconds.
pub fn now() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

/// Where a run's metrics lie.
pub fn path(out: &Path) -> PathBuf {
    out.join("metrics.jsonl")
}

/// A Unix time as a date in UTC, in `strftime`'s notation.
pub fn date(unix: f64, format: &str) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "whole seconds")]
    let time = chrono::DateTime::from_timestamp(unix as i64, 0).unwrap_or_default();
    time.format(format).to_string()
}

/// The lines of a run's file about steps up to `last`: those of later ones are made again. A last line that an
/// interruption cut short is left out.
pub fn lines_until(out: &Path, last: u64) -> Result<Vec<Line>> {
    let path = path(out);
    if !path.exists() || last == 0 {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(path)?;
    let line = |line: &str| serde_json::from_str(line).ok().map(Line);
    let kept = text.lines().filter_map(line).filter(|line| line.step() <= last);
    Ok(kept.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &[(&str, f64)]) {
        let line = Line(serde_json::from_str(line).unwrap());
        let expected: Vec<_> = expected.iter().map(|(key, x)| ((*key).to_string(), *x)).collect();
        assert_eq!(line.scalars(), expected);
    }

    #[test]
    fn numbers_are_named_by_kind_and_place() {
        check(
            r#"{"kind":"train","step":3,"time":9.5,"loss":0.5,"skipped":false,"first_documents":[1],"grad_norm":null}"#,
            &[("train/loss", 0.5)],
        );
        check(
            r#"{"kind":"validation","step":3,"loss":2,"sources":{"orca-chat":{"loss":1.5}}}"#,
            &[("validation/loss", 2.0), ("validation/sources/orca-chat/loss", 1.5)],
        );
    }

    #[test]
    fn lines_of_steps_that_are_made_again_and_a_torn_line_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let text = "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n{\"st";
        fs::write(path(folder.path()), text).unwrap();
        let kept = lines_until(folder.path(), 2).unwrap();
        assert_eq!(
            kept.iter().map(Line::to_json).collect::<Vec<_>>(),
            ["{\"step\":1}", "{\"step\":2}"]
        );
    }
}
