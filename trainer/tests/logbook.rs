//! What a run writes for people who watch it, read back with the readers of Weights & Biases and of TensorBoard.

mod python;
mod tiny_run;

use std::path::Path;
use std::process::Command;

use python::python;
use serde_json::Value;
use tiny_run::{TinyRun, fails, succeeds};

const LOGGING: &str = "\
data: {train: shards/tiny-train, validation: shards/tiny-train}
evaluate: {every: 4}
logging:
  tensorboard: true
  wandb: {project: tiny, name: counting, tags: [a, b]}
";

/// A run with both kinds of logs.
fn run(steps: u32) -> TinyRun {
    let run = TinyRun::new(steps, "");
    let path = run.path("train.yaml");
    let yaml = fs_err::read_to_string(&path).expect("a configuration");
    let yaml = yaml.replace("data: {train: shards/tiny-train}\n", LOGGING);
    shards::atomic::write(&path, yaml.as_bytes()).expect("written");
    run
}

fn read_logs(python: &str, folder: &Path) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/read_logs.py");
    let output = succeeds(Command::new(python).arg(script).arg(folder));
    serde_json::from_slice(&output.stdout).expect("the script prints JSON")
}

/// The lines of `metrics.jsonl`.
fn metrics(run: &TinyRun, out: &str) -> Vec<Value> {
    let text = String::from_utf8(run.bytes(format!("{out}/metrics.jsonl"))).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn wandb_and_tensorboard_read_every_number_also_of_a_resumed_run() {
    let Some(python) = python() else { return };
    let run = run(8);
    succeeds(&mut run.train("run", &["--stop-after", "5"]));
    let before = read_logs(&python, &run.path("run"));
    succeeds(&mut run.train("run", &[]));
    let logs = read_logs(&python, &run.path("run"));
    let metrics = metrics(&run, "run");
    assert_eq!(metrics[0]["step"], 0, "the evaluation before the first step is kept");

    let wandb = &logs["wandb"];
    assert_eq!(wandb["id"], before["wandb"]["id"], "a resumed run is the same run");
    assert_eq!((&wandb["project"], &wandb["name"]), (&"tiny".into(), &"counting".into()));
    assert_eq!(wandb["tags"], serde_json::json!(["a", "b"]));
    assert_eq!(wandb["config"]["optimizer"]["lr"], 0.01);
    assert_eq!(wandb["exit_code"], 0);
    let history = wandb["history"].as_array().expect("a list");
    assert_eq!(history.len(), metrics.len());
    for (shown, line) in history.iter().zip(&metrics) {
        let kind = line["kind"].as_str().expect("a kind");
        assert_eq!(shown["_step"], line["step"]);
        assert_eq!(shown[format!("{kind}/loss")], line["loss"]);
    }
    let last = metrics.iter().rfind(|line| line["kind"] == "train").expect("a step");
    assert_eq!(wandb["summary"]["train/loss"], last["loss"]);
    let losses = metrics.iter().filter(|line| line["kind"] == "validation");
    let best = losses.map(|line| line["loss"].as_f64().expect("a number")).fold(f64::MAX, f64::min);
    assert_eq!(wandb["summary"]["best/validation/loss"], best);

    let scalars = logs["tensorboard"].as_array().expect("a list");
    let losses: Vec<_> = scalars.iter().filter(|scalar| scalar[0] == "train/loss").collect();
    assert_eq!(losses.len(), 8);
    for (shown, line) in losses.iter().zip(metrics.iter().filter(|line| line["kind"] == "train")) {
        assert_eq!(shown[1], line["step"]);
        let (shown, loss) = (shown[2].as_f64().expect("f32"), line["loss"].as_f64().expect("f64"));
        // Half a step of an `f32`, which is what the file holds.
        assert!((shown - loss).abs() <= loss * f64::from(f32::EPSILON), "{shown} is not {loss}");
    }
}

#[test]
fn a_log_longer_than_a_block_is_read_whole() {
    let Some(python) = python() else { return };
    // 150 steps of two records with some 20 numbers each: several blocks of 32 KiB.
    let run = run(150);
    succeeds(&mut run.train("run", &["--set", "batch.global=4", "--set", "evaluate.every=150"]));
    let logs = read_logs(&python, &run.path("run"));
    // Each step, and the evaluations before the first and after the last.
    assert_eq!(logs["wandb"]["history"].as_array().expect("a list").len(), 152);
}

#[test]
fn a_run_that_fails_ends_as_failed_with_all_that_it_wrote_until_then() {
    let Some(python) = python() else { return };
    let run = run(20);
    let settings = ["--set", "optimizer.lr=1e30", "--set", "stop_after_skipped=3"];
    fails(&mut run.train("run", &settings), 1, &["diverged"]);
    let wandb = &read_logs(&python, &run.path("run"))["wandb"];
    assert_eq!(wandb["exit_code"], 1);
    assert_eq!(wandb["history"].as_array().map(Vec::len), Some(metrics(&run, "run").len()));
}

#[test]
fn a_place_that_cannot_be_written_is_told_and_does_not_stop_the_run() {
    let run = run(8);
    // Files may grow to 512 KiB: enough for this model's checkpoints, too little for the log of 700 steps.
    let settings =
        ["steps=700", "batch={global: 1, micro: 1, sequence_length: 64}", "evaluate.every=700"];
    let train = run.train("run", &settings.map(|it| ["--set", it]).concat());
    let mut limited = Command::new("bash");
    limited.current_dir(run.path("")).arg("-c");
    limited.arg("trap '' XFSZ; ulimit -f 512; exec \"$0\" \"$@\"");
    let output = succeeds(limited.arg(train.get_program()).args(train.get_args()));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the offline W&B run cannot be written any more"), "{said}");
    assert!(said.contains("700 steps"), "{said}");
}

#[test]
fn a_wandb_run_without_a_project_is_refused_before_anything_is_written() {
    let run = run(2);
    let mut train = run.train("run", &["--set", "logging.wandb={entity: us}"]);
    fails(&mut train, 2, &["logging.wandb", "project"]);
    assert!(!run.path("run").exists());
}
