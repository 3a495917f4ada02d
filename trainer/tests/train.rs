//! `trainer train` as a user runs it: what it writes, how it stops, and how it goes on.

#[path = "train/refusals.rs"]
mod refusals;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use shards::layout::IndexKind;
use shards::role::Role;
use shards::writer::PairWriter;
use tch::Tensor;
use trainer::order::Order;

/// A folder with shards and a configuration; the model is the golden one.
struct Workshop {
    folder: tempfile::TempDir,
}

const RUN: &str = "\
model: {base: BASE}
data: {train: demo-train, validation: demo-val}
batch: {global: 4, micro: 2, sequence_length: 32}
steps: 8
optimizer: {lr: 1.0e-2, min_lr: 1.0e-3}
schedule: {warmup_steps: 2}
evaluate: {every: 3}
checkpoint: {every: 4}
";

impl Workshop {
    fn new() -> Self {
        let workshop = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        for (name, n) in [("demo-train", 12), ("demo-val", 5)] {
            let prefix = workshop.path(name);
            let mut writer = PairWriter::create(&prefix, IndexKind::Mmap, 48).expect("shards");
            for i in 0..n {
                // A question of four tokens and an answer that counts on from it.
                let tokens: Vec<u32> = (0..10 + i).map(|place| (i + place) % 48).collect();
                let roles: Vec<Role> = (0..tokens.len())
                    .map(|place| if place < 4 { Role::User } else { Role::Assistant })
                    .collect();
                writer.push(&tokens, &roles).expect("a document");
            }
            writer.finish().expect("whole shards");
        }
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/llama");
        let run = RUN.replace("BASE", &golden.display().to_string());
        fs_err::write(workshop.path("run.yaml"), run).expect("a configuration");
        workshop
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trainer"));
        command.current_dir(self.folder.path()).args(["train", "--config", "run.yaml"]);
        command.args(arguments);
        command
    }

    fn train(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program starts")
    }

    /// Runs to the end; what it says on standard error.
    #[track_caller]
    fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.train(arguments);
        let said = String::from_utf8(output.stderr).expect("text");
        assert!(output.status.success(), "{said}");
        said
    }

    fn metrics(&self, out: &str) -> Vec<Value> {
        let text = fs_err::read_to_string(self.path(out).join("metrics.jsonl")).expect("metrics");
        text.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
    }

    /// What a run's last checkpoint holds, but for what has a time in it: nothing has.
    fn checkpoint(&self, out: &str, name: &str) -> Vec<u8> {
        fs_err::read(self.path(out).join("checkpoints/step-0000008").join(name))
            .expect("a checkpoint")
    }
}

/// The losses of the training lines, to the last bit.
fn losses(metrics: &[Value]) -> Vec<String> {
    metrics
        .iter()
        .filter(|line| line["kind"] == "train")
        .map(|line| line["loss"].to_string())
        .collect()
}

#[test]
fn a_run_that_is_stopped_and_resumed_ends_as_one_that_is_not() {
    let workshop = Workshop::new();
    let said = workshop.succeed(&["--out", "whole"]);
    assert!(said.contains("no manifest beside these shards"), "{said}");
    if torch_ext::cuda::load().is_err() {
        assert!(said.contains("parameters on the CPU in fp32: 8 steps"), "{said}");
    }
    let said = workshop.succeed(&["--out", "parts", "--stop-after", "5"]);
    assert!(said.contains("stopped after step 5 of 8"), "{said}");
    assert!(said.contains("hint: run the same command again"), "{said}");
    let said = workshop.succeed(&["--out", "parts"]);
    assert!(said.contains("resuming after step 5"), "{said}");

    let [whole, parts] = ["whole", "parts"].map(|out| workshop.metrics(out));
    assert_eq!(losses(&whole).len(), 8);
    assert_eq!(losses(&whole), losses(&parts));
    let evaluated = |metrics: &[Value]| -> Vec<(u64, String)> {
        let lines = metrics.iter().filter(|line| line["kind"] == "validation");
        lines
            .map(|line| (line["step"].as_u64().expect("a step"), line["loss"].to_string()))
            .collect()
    };
    assert_eq!(evaluated(&whole).iter().map(|(step, _)| *step).collect::<Vec<_>>(), [0, 3, 6, 8]);
    assert_eq!(evaluated(&whole), evaluated(&parts));
    for name in ["model.safetensors", "exp_avg.safetensors", "exp_avg_sq.safetensors"] {
        assert!(workshop.checkpoint("whole", name) == workshop.checkpoint("parts", name), "{name}");
    }

    // It learns: the answers are a simple rule.
    let loss = |line: &Value| line["loss"].as_f64().expect("a loss");
    assert!(loss(&whole[0]) > loss(&whole[whole.len() - 2]) + 0.5);
}

#[test]
fn a_signal_finishes_the_step_saves_and_ends_with_130() {
    let workshop = Workshop::new();
    let out = ["--out", "run", "--set", "steps=100000", "--set", "evaluate.every=100000"];
    let mut child =
        workshop.command(&out).stderr(Stdio::piped()).spawn().expect("the program starts");
    let metrics = workshop.path("run").join("metrics.jsonl");
    while fs_err::read_to_string(&metrics).is_ok_and(|text| text.lines().count() < 3)
        || !metrics.exists()
    {
        assert!(child.try_wait().expect("a child").is_none(), "it ended by itself");
        std::thread::sleep(Duration::from_millis(10));
    }
    // A second training into the same folder would spoil both.
    let second = workshop.train(&out);
    let said = String::from_utf8(second.stderr).expect("text");
    assert_eq!(second.status.code(), Some(2), "{said}");
    assert!(said.contains("another process is training into `run` now"), "{said}");

    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(killed.expect("`kill` is there").success());
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("hint: run the same command again to go on from there"), "{said}");
    let steps = losses(&workshop.metrics("run")).len();
    let saved = workshop.path("run").join(format!("checkpoints/step-{steps:07}"));
    assert!(saved.exists(), "{}", saved.display());
}

#[test]
fn a_split_that_leaves_nothing_to_evaluate_on_evaluates_nothing_as_the_reference_does() {
    let workshop = Workshop::new();
    let set = ["data.validation=null", "data.split=[1, 0, 0]", "evaluate.batches=1"];
    let set: Vec<&str> = set.iter().flat_map(|it| ["--set", *it]).collect();
    let said = workshop.succeed(&[["--out", "run"].as_slice(), &set].concat());
    assert!(
        said.contains(
            "`data.split` leaves none of the 12 documents to evaluate on: nothing is evaluated"
        ),
        "{said}"
    );
    assert!(workshop.metrics("run").iter().all(|line| line["kind"] == "train"));
}

/// Makes the tokens of a document, which has `length` of them and `before` before it, those of a context.
fn make_context(workshop: &Workshop, before: usize, length: usize) {
    let path = workshop.path("demo-train-role.bin");
    let mut roles = fs_err::read(&path).expect("roles");
    for role in roles.chunks_exact_mut(2).skip(before).take(length) {
        role.copy_from_slice(&(Role::Context as u16).to_le_bytes());
    }
    shards::atomic::write(&path, &roles).expect("written");
}

#[test]
fn one_step_that_is_not_finite_is_skipped_and_costs_nothing_else() {
    let workshop = Workshop::new();
    // Of documents 0 to 11, of 10 to 21 tokens, the first; its loss is too large for fp32.
    make_context(&workshop, 0, 10);
    let set = ["loss.weights={assistant: 1, context: 3.0e+38}", "batch.global=2", "batch.micro=1"];
    let set: Vec<&str> = set.iter().flat_map(|it| ["--set", *it]).collect();
    let train = |out: &str, more: &[&str]| {
        workshop.succeed(&[["--out", out].as_slice(), &set, more].concat())
    };
    let whole = ["--set", "steps=6"];
    train("whole", &whole);
    let metrics = workshop.metrics("whole");
    let steps: Vec<&Value> = metrics.iter().filter(|line| line["kind"] == "train").collect();
    let skipped: Vec<usize> = (0..6).filter(|step| steps[*step]["skipped"] == true).collect();
    let &[skipped] = skipped.as_slice() else { panic!("steps {skipped:?} were skipped") };
    assert!((1..5).contains(&skipped), "no step before or after it: {skipped}");
    // The schedule does not count it.
    assert_eq!(steps[skipped]["lr"], steps[skipped + 1]["lr"]);

    // A run that is stopped there, or ends there, is saved like any other.
    let at = (skipped + 1).to_string();
    let said = train("parts", &["--set", "steps=6", "--stop-after", &at]);
    let warning = "warning: loss or gradient were not finite in the last 1 of the steps";
    assert!(said.contains(warning), "{said}");
    train("parts", &whole);
    assert_eq!(losses(&workshop.metrics("parts")), losses(&metrics));
    let checkpoint = |out: &str| {
        fs_err::read(workshop.path(out).join("checkpoints/step-0000006/model.safetensors"))
            .expect("weights")
    };
    assert!(checkpoint("parts") == checkpoint("whole"));
}

#[test]
fn a_run_that_diverges_is_saved_as_it_was_before() {
    let workshop = Workshop::new();
    // Everything after the first document.
    make_context(&workshop, 10, 1000);
    let set = [
        "loss.weights={assistant: 1, context: 3.0e+38}",
        "batch.global=1",
        "batch.micro=1",
        "steps=100",
        "stop_after_skipped=3",
        "evaluate=null",
        "checkpoint.every=null",
        "schedule.warmup_steps=0",
    ];
    let set: Vec<&str> = set.iter().flat_map(|it| ["--set", *it]).collect();
    // A seed that draws the first document first.
    let seed = (0..).map(|seed| format!("seed={seed}")).find(|seed| {
        let seed = seed.strip_prefix("seed=").and_then(|seed| seed.parse().ok()).expect("a seed");
        Order::new(12, None, seed, 1, 0).train == [0]
    });
    let seed = seed.expect("one of them does");
    let output = workshop.train(&[["--out", "run", "--set", &seed].as_slice(), &set].concat());
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{said}");
    let complaint = "the run diverged: from step 2 on, loss or gradient were not finite in 3 steps in a row; what it was \
                     before that is `run/checkpoints/step-0000001`";
    assert!(said.contains(complaint), "{said}");

    // A run of these settings that was stopped there has the same: nothing of the steps that were skipped is in it.
    let stopped = ["--out", "stopped", "--set", &seed, "--stop-after", "1"];
    workshop.succeed(&[stopped.as_slice(), &set].concat());
    let of = |out: &str, name: &str| {
        fs_err::read(workshop.path(out).join("checkpoints/step-0000001").join(name))
            .expect("a checkpoint")
    };
    for name in ["model.safetensors", "exp_avg.safetensors", "exp_avg_sq.safetensors"] {
        assert!(of("run", name) == of("stopped", name), "{name}");
    }
    let state = |out: &str| -> Value {
        let record: Value =
            serde_json::from_slice(&of(out, "checkpoint.json")).expect("a JSON object");
        record["state"].clone()
    };
    assert_eq!(state("run"), state("stopped"));
}

/// What `golden/evaluation.py` made.
#[derive(Deserialize)]
struct Evaluations {
    micro: usize,
    documents: Vec<Asked>,
    expected: BTreeMap<String, BTreeMap<String, f64>>,
}

#[derive(Deserialize)]
struct Asked {
    tokens: Vec<u32>,
    /// So many of them are the question.
    question: usize,
}

#[test]
fn evaluations_find_what_pytorch_does_in_tokens_and_in_the_references_means() {
    let workshop = Workshop::new();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let text = fs_err::read_to_string(golden.join("evaluation.json")).expect("the golden file");
    let Evaluations { micro, documents, expected } = serde_json::from_str(&text).expect("numbers");
    let mut writer =
        PairWriter::create(&workshop.path("asked"), IndexKind::Mmap, 48).expect("shards");
    for Asked { tokens, question } in &documents {
        let role = |place| if place < *question { Role::User } else { Role::Assistant };
        let roles: Vec<Role> = (0..tokens.len()).map(role).collect();
        writer.push(tokens, &roles).expect("a document");
    }
    writer.finish().expect("whole shards");
    fs_err::create_dir(workshop.path("base")).expect("a new folder");
    fs_err::copy(golden.join("llama/config.json"), workshop.path("base/config.json"))
        .expect("copied");
    let weights =
        Tensor::read_safetensors(golden.join("llama/model.safetensors")).expect("weights");
    let weights = weights.into_iter().map(|(name, tensor)| match name.as_str() {
        "lm_head.weight" => (name, tensor * 4),
        _ => (name, tensor),
    });
    Tensor::write_safetensors(
        &weights.collect::<Vec<_>>(),
        workshop.path("base/model.safetensors"),
    )
    .expect("written");

    for (normalize, expected) in expected {
        let (out, micro) = (format!("--out={normalize}"), format!("batch.micro={micro}"));
        let normalized = format!("loss.normalize={normalize}");
        let set = ["model.base=base", "data.validation=asked", &micro, &normalized];
        let set: Vec<&str> = set.iter().flat_map(|it| ["--set", *it]).collect();
        workshop.succeed(&[[out.as_str(), "--stop-after", "1"].as_slice(), &set].concat());
        let metrics = workshop.metrics(&normalize);
        let found = metrics.iter().find(|line| line["kind"] == "validation").expect("one");
        assert_eq!(found["step"], 0);
        for (name, expected) in expected {
            let found = found[&name].as_f64().expect("a number");
            // fp32 has seven digits, and an exponential of 10 loses one of them.
            assert!(
                (found / expected - 1.0).abs() < 1e-5,
                "{normalize}: {name} {found}, expected {expected}"
            );
        }
    }
}

#[test]
fn a_run_ends_early_and_keeps_its_best_checkpoint() {
    let workshop = Workshop::new();
    // No loss falls by ten: the first evaluation after a step is the best, and the next is no better by that much.
    let set = ["--set", "evaluate.early_stopping={patience: 1, min_delta: 10}"];
    let said = workshop.succeed(&[["--out", "early"].as_slice(), &set].concat());
    assert!(
        said.contains("ended early, after step 6 of 8: 1 evaluations were no better"),
        "{said}"
    );
    let said = workshop.succeed(&[["--out", "early"].as_slice(), &set].concat());
    assert!(said.contains("ended early, after step 6 of 8"), "{said}");

    // A rate that is far too high: the best evaluation is one of the first.
    let set = [
        "evaluate.every=1",
        "optimizer.lr=2",
        "optimizer.min_lr=2",
        "checkpoint.keep=1",
        "checkpoint.keep_best=true",
    ];
    let set: Vec<&str> = set.iter().flat_map(|it| ["--set", *it]).collect();
    workshop.succeed(&[["--out", "best"].as_slice(), &set].concat());
    let loss = |line: &Value| line["loss"].as_f64().expect("a loss");
    let metrics = workshop.metrics("best");
    let evaluations =
        metrics.iter().filter(|line| line["kind"] == "validation" && line["step"] != 0);
    let best = evaluations.min_by(|a, b| loss(a).total_cmp(&loss(b))).expect("evaluations");
    let best = best["step"].as_u64().expect("a step");
    assert!(best < 8, "the last step must not be the best for this to be a test");
    let left = fs_err::read_dir(workshop.path("best/checkpoints")).expect("checkpoints");
    let mut left: Vec<String> =
        left.map(|it| it.expect("an entry").file_name().into_string().expect("text")).collect();
    left.sort();
    assert_eq!(left, [format!("step-000000{best}"), "step-0000008".into()]);
}

#[test]
fn documents_that_are_too_long_are_counted_dropped_or_refused() {
    // The shard has documents of 10 to 21 tokens; a row takes 17, the last of which is only predicted.
    let workshop = Workshop::new();
    let train = |rule: &str| {
        let rule = format!("data.too_long={rule}");
        let out = rule.replace('=', "-");
        workshop.train(&["--out", &out, "--set", "batch.sequence_length=16", "--set", &rule])
    };
    let said = String::from_utf8(train("truncate").stderr).expect("text");
    let cut = "demo-train: 4 of 12 documents are longer than 17 tokens and are truncated: 10 tokens are cut off, 10 of \
               which would have been learned";
    assert!(said.contains(cut), "{said}");
    let of_run = |key: &str| -> u64 {
        let lines = workshop.metrics("data.too_long-truncate");
        lines.iter().filter_map(|line| line[key].as_u64()).sum()
    };
    // 32 samples of 12 documents: two epochs, and eight more.
    assert!((8..=12).contains(&of_run("truncated_documents")));
    assert!((20..=30).contains(&of_run("truncated_tokens")));
    assert_eq!(of_run("truncated_tokens"), of_run("truncated_supervised_tokens"));

    let said = String::from_utf8(train("drop").stderr).expect("text");
    assert!(
        said.contains("demo-train: 4 of 12 documents are longer than 17 tokens and are dropped"),
        "{said}"
    );
    let metrics = workshop.metrics("data.too_long-drop");
    let first = metrics.iter().filter_map(|line| line["first_documents"].as_array());
    assert!(first.flatten().all(|it| it.as_u64().is_some_and(|document| document < 8)));
    assert!(metrics.iter().all(|line| line["truncated_documents"].as_u64().unwrap_or(0) == 0));

    let output = train("error");
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(2), "{said}");
    let refused = "4 of 12 documents are longer than 17 tokens, the first is document 8, the longest has 21\n\
                   hint: raise `batch.sequence_length` to 20, or";
    assert!(said.contains(refused), "{said}");
}
