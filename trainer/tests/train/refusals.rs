//! What does not add up is refused, with the numbers and what to do.

use std::path::Path;

use expect_test::{Expect, expect};

use crate::Workshop;

#[track_caller]
fn check(arguments: &[&str], expected: &Expect) {
    let workshop = Workshop::new();
    let output = workshop.train(arguments);
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(2), "{said}");
    let lines: Vec<&str> = said.lines().filter(|line| !line.starts_with("warning")).collect();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let said = lines.join("\n").replace(&golden.display().to_string(), "GOLDEN");
    expected.assert_eq(&said);
    assert!(!workshop.path("runs").exists(), "something was written");
}

#[test]
fn what_does_not_fit_is_refused_before_the_first_step() {
    check(
        &["--set", "batch.sequence_length=128"],
        &expect![[r#"
        error: `batch.sequence_length` is 128, but `GOLDEN/llama` has 64 positions (`max_position_embeddings`)
        hint: set `batch.sequence_length` to 64 or less"#]],
    );
    check(
        &["--set", "data.train=demo-tran"],
        &expect![[r#"
        error: `data.train` is the prefix `demo-tran`, but there is no file `demo-tran-text.idx`
        hint: did you mean `demo-train`?"#]],
    );
    check(
        &["--set", "data.validation=./elsewhere"],
        &expect![[r#"
        error: `data.validation` is the prefix `./elsewhere`, but there is no file `./elsewhere-text.idx`
        hint: the shards there are: `./demo-train`, `./demo-val`"#]],
    );
    check(
        &["--set", "data.train=demo-train-text.bin"],
        &expect![[r#"
        error: `data.train` is the file `demo-train-text.bin`, expected a prefix
        hint: write `demo-train`"#]],
    );
    check(
        &["--set", "model.base=nowhere"],
        &expect![[r#"
        error: `model.base` is `nowhere`, but there is no such folder
        hint: paths in a configuration are relative to the folder in which the program is started"#]],
    );
    check(
        &["--out", "run.yaml"],
        &expect!["error: `--out` is `run.yaml`, a file, and a run needs a folder"],
    );
    check(
        &["--set", "epochs=0.1", "--set", "steps=null"],
        &expect![[r#"
        error: `epochs` is 0.1, and 0.1 times 12 documents do not fill one global batch of 4
        hint: raise `epochs`, or lower `batch.global`"#]],
    );
    check(
        &["--set", "epochs=1e30", "--set", "steps=null"],
        &expect![[r#"
        error: 18446744073709551615 steps of 4 documents draw 73786976294838206460 samples, more than the 4294967296 that can be planned
        hint: lower `steps`, `epochs` or `batch.global`"#]],
    );
    check(
        &["--set", "schedule.kind=warmup_stable_decay", "--set", "schedule.cooldown_steps=7"],
        &expect![[r#"
            error: `schedule.cooldown_steps` is 7, but between the warm-up and the end of the schedule are 6 steps
            hint: a tenth of the run is usual"#]],
    );
    check(
        &["--set", "loss.weights={context: 1}"],
        &expect![[r#"
        error: `demo-train` has nothing to learn: no token is of a role that counts
        hint: `loss.weights` says whose tokens count; `pretokenizer show` shows who speaks in these shards"#]],
    );
    let split = [
        "--set",
        "data.validation=null",
        "--set",
        "data.split=[1, 0, 0]",
        "--set",
        "evaluate.batches=1",
    ];
    check(
        &[&split[..], &["--set", "checkpoint.keep_best=true"]].concat(),
        &expect![[r#"
        error: `data.split` leaves none of the 12 documents to evaluate on, and `checkpoint.keep_best` needs evaluations
        hint: take it out, or evaluate on something"#]],
    );
    check(
        &["--set", "schedule.warmup_steps=9"],
        &expect![[r#"
        error: `schedule.warmup_steps` is 9, but the schedule ends after 8 steps
        hint: a warm-up is usually 1 to 10 % of the run"#]],
    );
    check(
        &["--set", "data.pad_id=48"],
        &expect!["error: `data.pad_id` is 48, but the base model's vocabulary has 48"],
    );
    check(
        &["--set", "offload=optimizer", "--set", "device=cpu"],
        &expect![[r#"
        error: `offload` is `optimizer`, but this run computes on the CPU, in whose memory the optimizer's state is in any case
        hint: leave `offload` out"#]],
    );
    // A machine with a GPU would rightly use it.
    if torch_ext::cuda::load() == Err(torch_ext::cuda::NoCuda::NoDriver) {
        check(
            &["--set", "device=cuda"],
            &expect![
                "error: `device` is `cuda`, but this machine has no NVIDIA driver (libcuda.so.1)"
            ],
        );
    }
}

#[test]
fn a_shard_with_a_role_that_is_none_is_refused() {
    let workshop = Workshop::new();
    let path = workshop.path("demo-train-role.bin");
    let mut roles = fs_err::read(&path).expect("roles");
    // The eleventh token: the first document has ten.
    roles[20] = 77;
    shards::atomic::write(&path, &roles).expect("written");
    let output = workshop.train(&[]);
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(2), "{said}");
    let complaint = "demo-train: document 1 has a token of the role 77, expected 0 to 3\nhint: ";
    assert!(said.contains(complaint), "{said}");
}

#[test]
fn a_run_is_not_resumed_with_other_settings() {
    let workshop = Workshop::new();
    workshop.succeed(&["--out", "run", "--stop-after", "2"]);
    let changed = ["--set", "optimizer.lr=0.5", "--set", "data.validation=demo-train"];
    let output = workshop.train(&[["--out", "run"].as_slice(), &changed].concat());
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("`run` holds a run with other settings: `data.validation`: demo-val -> demo-train, `optimizer.lr`: 0.01 -> 0.5"),
        "{said}"
    );
}
