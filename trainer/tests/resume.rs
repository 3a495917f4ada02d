//! A run that was stopped and resumed is the run that was never stopped, to the bit; and what is damaged is named.

mod tiny_run;

use std::path::PathBuf;
use std::process::Command;

use fs_err as fs;
use serde_json::Value;
use tiny_run::{TinyRun, data, fails, succeeds};

const FILES: [&str; 3] = ["model.safetensors", "exp_avg.safetensors", "exp_avg_sq.safetensors"];

/// What a run measured, without the times.
fn metrics(run: &TinyRun, out: &str) -> Vec<Value> {
    let text = String::from_utf8(run.bytes(format!("{out}/metrics.jsonl"))).expect("text");
    let lines = text.lines().map(|line| {
        let mut line: Value = serde_json::from_str(line).expect("JSON");
        let measured = |key: &str| {
            key == "time"
                || key == "peak_memory_mib"
                || key.ends_with("seconds")
                || key.ends_with("per_second")
        };
        line.as_object_mut().expect("an object").retain(|key, _| !measured(key));
        line
    });
    lines.collect()
}

#[track_caller]
fn check_same(run: &TinyRun, a: &str, b: &str) {
    for file in FILES {
        let in_checkpoint = |out: &str| run.bytes(format!("{out}/checkpoints/step-0000008/{file}"));
        assert!(in_checkpoint(a) == in_checkpoint(b), "{file} differs between `{a}` and `{b}`");
    }
    let record = |out: &str| {
        let bytes = run.bytes(format!("{out}/checkpoints/step-0000008/checkpoint.json"));
        let mut record: Value = serde_json::from_slice(&bytes).expect("JSON");
        // What is computed twice, on how many threads and where to is said there too.
        record.as_object_mut().expect("an object").remove("config");
        record
    };
    assert_eq!(record(a), record(b));
    assert_eq!(metrics(run, a), metrics(run, b));
}

#[test]
fn eight_steps_are_three_and_five_to_the_bit() {
    let lora = "precision: bf16\nlora: {r: 4, lora_dropout: 0.2, modules_to_save: [lm_head]}\n";
    for more in ["", "precision: bf16\nrecompute: all\n", lora] {
        let run = TinyRun::new(8, more);
        succeeds(&mut run.train("whole", &[]));
        succeeds(&mut run.train("parts", &["--stop-after", "3"]));
        succeeds(&mut run.train("parts", &[]));
        check_same(&run, "whole", "parts");
    }
}

#[test]
fn a_tied_head_resumes_to_the_bit() {
    let run = TinyRun::new(8, "");
    let shape =
        "--hidden-size 32 --intermediate-size 48 --layers 2 --heads 4 --tie-word-embeddings";
    let mut init = run.command("init");
    init.args(["--out", "tied", "--tokenizer"]).arg(data().join("tokenizer.model"));
    succeeds(init.args(shape.split(' ')));
    let tied = ["--set", "model.base=tied"];
    succeeds(&mut run.train("whole", &tied));
    succeeds(&mut run.train("parts", &[&tied[..], &["--stop-after", "3"]].concat()));
    succeeds(&mut run.train("parts", &tied));
    let weights = run.bytes("whole/checkpoints/step-0000008/model.safetensors");
    assert!(!String::from_utf8_lossy(&weights[..4096]).contains("lm_head"), "it has one matrix");
    check_same(&run, "whole", "parts");
}

#[test]
fn a_disk_that_is_too_slow_holds_the_run_up_and_changes_nothing() {
    let run = TinyRun::new(8, "checkpoint: {every: 2, keep: 9}\n");
    succeeds(&mut run.train("whole", &[]));
    let mut slow = run.train("slow", &[]);
    let output = succeeds(slow.env("LD_PRELOAD", slow_disk(&run)));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let pause = |step: u32| -> f64 {
        let line = said
            .lines()
            .find(|it| it.contains(&format!("saved slow/checkpoints/step-000000{step}")));
        let pause = line.and_then(|it| it.split("while training went on after ").nth(1));
        pause.and_then(|it| it.strip_suffix(" s")).expect(&said).parse().expect("a number")
    };
    // Two steps take a few milliseconds; a checkpoint waits for the disk six times, one after the other.
    for step in [2, 4, 6] {
        assert!(pause(step) > 0.3, "{said}");
    }
    check_same(&run, "whole", "slow");
    for step in [2, 4, 6] {
        let path = format!("checkpoints/step-000000{step}/model.safetensors");
        assert!(run.bytes(format!("whole/{path}")) == run.bytes(format!("slow/{path}")), "{path}");
    }
}

/// A library that makes every `fsync` take as long as a slow disk would.
fn slow_disk(run: &TinyRun) -> PathBuf {
    let (source, library) = (run.path("slow.c"), run.path("slow.so"));
    let c = "#include <sys/syscall.h>\n#include <unistd.h>\n\
             int fsync(int file) { usleep(100000); return (int)syscall(SYS_fsync, file); }\n";
    shards::atomic::write(&source, c.as_bytes()).expect("written");
    let mut compiler = Command::new("c++");
    succeeds(compiler.args(["-x", "c", "-shared", "-fPIC", "-o"]).args([&library, &source]));
    library
}

#[test]
fn dropout_and_noise_resume_without_saved_state_and_recompute_changes_no_bit() {
    let run = TinyRun::new(8, "noise: {dropout: 0.2, lima_dropout: true, neftune_alpha: 5}\n");
    for rows in ["padded", "packed"] {
        let [whole, parts, again] =
            ["whole", "parts", "again"].map(|name| format!("{name}-{rows}"));
        let rows = format!("data.rows={rows}");
        let set = ["--set", rows.as_str()];
        succeeds(&mut run.train(&whole, &set));
        succeeds(&mut run.train(&parts, &[&set[..], &["--stop-after", "3"]].concat()));
        succeeds(&mut run.train(&parts, &set));
        check_same(&run, &whole, &parts);
        succeeds(&mut run.train(&again, &[&set[..], &["--set", "recompute=all"]].concat()));
        check_same(&run, &whole, &again);
    }
}

#[test]
fn an_interrupted_run_saves_and_goes_on() {
    let run = TinyRun::new(8, "");
    succeeds(&mut run.train("whole", &[]));

    // Stopped by the signal itself, wherever it comes: at once, or when some steps are done.
    let mut child = run.train("parts", &[]).spawn().expect("the program starts");
    let metrics = run.path("parts/metrics.jsonl");
    while child.try_wait().expect("a child").is_none() {
        if fs::read_to_string(&metrics).is_ok_and(|text| text.lines().count() >= 2) {
            let pid = child.id().to_string();
            Command::new("kill").args(["-INT", &pid]).status().expect("kill runs");
            break;
        }
    }
    let status = child.wait().expect("a child");
    assert!(matches!(status.code(), Some(130 | 0)), "{status}");
    succeeds(&mut run.train("parts", &[]));
    check_same(&run, "whole", "parts");
}

#[test]
fn a_damaged_checkpoint_is_named_and_so_is_the_one_to_go_on_from() {
    let run = TinyRun::new(8, "checkpoint: {every: 3}\n");
    succeeds(&mut run.train("run", &["--stop-after", "6"]));
    let newest = "run/checkpoints/step-0000006";

    let check = |name: &str, damage: fn(&mut Vec<u8>), complaint: &str| {
        let path = run.path(newest).join(name);
        let whole = fs::read(&path).expect("read");
        let mut damaged = whole.clone();
        damage(&mut damaged);
        shards::atomic::write(&path, &damaged).expect("written");
        fails(&mut run.train("run", &[]), 2, &[newest, name, complaint, "step-0000003"]);
        shards::atomic::write(&path, &whole).expect("written");
    };
    check("exp_avg.safetensors", |bytes| bytes[5000] ^= 1, "was changed after it was written");
    check("model.safetensors", |bytes| bytes.truncate(100), "has 100 bytes, expected");
    check("config.json", |bytes| bytes.push(b' '), "bytes, expected");
    check("checkpoint.json", |bytes| bytes.truncate(40), "is damaged");
    let missing = "exp_avg_sq.safetensors";
    fs::remove_file(run.path(newest).join(missing)).expect("removed");
    fails(
        &mut run.train("run", &[]),
        2,
        &[newest, missing, "\nhint: remove it to go on from `run/checkpoints/step-0000003`"],
    );

    // A folder without its last file is not whole; one is told which one is taken instead.
    let last = run.path(newest).join("checkpoint.json");
    fs::remove_file(&last).expect("removed");
    let mut export = run.command("export");
    let output = succeeds(export.args(["run", "--out", "model"]));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("warning: `run/checkpoints/step-0000006` has no `checkpoint.json`"),
        "{said}"
    );
    assert!(said.contains("`run/checkpoints/step-0000003` is taken instead"), "{said}");

    // What the message says to do helps.
    fs::remove_dir_all(run.path(newest)).expect("removed");
    succeeds(&mut run.train("run", &[]));
    succeeds(&mut run.train("whole", &[]));
    check_same(&run, "whole", "run");
}

#[test]
fn what_may_change_on_the_way_is_said_and_what_may_not_is_refused() {
    let run = TinyRun::new(8, "");
    succeeds(&mut run.train("run", &["--stop-after", "3"]));
    let said = |more: &[&str]| {
        let output = succeeds(&mut run.train("run", more));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    fails(
        &mut run.train("run", &["--set", "batch.micro=2", "--set", "logging.every=2"]),
        2,
        &["`batch.micro`: 4 -> 2\nhint: ", "--force-resume"],
    );
    let longer = said(&["--set", "steps=9", "--stop-after", "4"]);
    for words in [
        "from here on, `steps`: 8 -> 9",
        "resuming after step 3 from run/checkpoints/step-0000003; step 4 begins with sample 25",
    ] {
        assert!(longer.contains(words), "`{words}` is not in:\n{longer}");
    }
    let forced = ["--set", "batch.micro=2", "--stop-after", "5", "--force-resume"];
    let forced = said(&forced);
    let warning = "warning: `batch.micro`: 4 -> 2, as `--force-resume` tells";
    assert!(forced.contains(warning), "{forced}");

    // Other shards under the same name, with a manifest that fits them.
    let path = run.path("shards/tiny-train-text.bin");
    let hash = || shards::hash::sha256_file(&path).expect("the file is there");
    let before = hash();
    let mut bytes = fs::read(&path).expect("read");
    bytes.swap(40, 42);
    shards::atomic::write(&path, &bytes).expect("written");
    let manifest = run.path("shards/manifest.json");
    let text = fs::read_to_string(&manifest).expect("text").replace(&before, &hash());
    shards::atomic::write(&manifest, text.as_bytes()).expect("written");
    let same = ["--set", "batch.micro=2"];
    let words = ["was trained from other files", "tiny-train-text.bin` has another content"];
    fails(&mut run.train("run", &same), 2, &words);
}

#[test]
fn a_save_that_failed_behind_the_training_ends_the_run_and_says_so() {
    let run = TinyRun::new(30, "checkpoint: {every: 2}\n");
    succeeds(&mut run.train("run", &["--stop-after", "2"]));
    // A file where the next checkpoint would come to stand.
    let blocked = run.path("run/checkpoints/step-0000004");
    shards::atomic::write(&blocked, b"no folder").expect("written");
    let words = [
        "error: saving `run/checkpoints/step-0000004` failed; what was saved before is still there",
        "warning: `run/checkpoints/step-0000004` has no `checkpoint.json`",
    ];
    fails(&mut run.train("run", &[]), 1, &words);
    fs::remove_file(&blocked).expect("removed");
    succeeds(&mut run.train("run", &["--stop-after", "4"]));
}

#[test]
fn a_checkpoint_of_which_a_part_is_missing_is_refused() {
    let run = TinyRun::new(3, "");
    succeeds(&mut run.train("run", &["--stop-after", "2"]));
    let record = run.path("run/checkpoints/step-0000002/checkpoint.json");
    let text = fs::read_to_string(&record).expect("text");
    let mut changed: Value = serde_json::from_str(&text).expect("JSON");
    changed["tensors"]["model.norm.weight"]["boxes"] = Value::Array(Vec::new());
    shards::atomic::write_json(&record, &changed).expect("written");
    let words = "`model.norm.weight`: its parts hold 0 numbers, and it has 32";
    fails(&mut run.train("run", &[]), 2, &[words]);
}

#[test]
fn a_part_of_another_run_is_found() {
    let run = TinyRun::new(3, "");
    succeeds(&mut run.train("a", &["--stop-after", "2"]));
    succeeds(&mut run.train("b", &["--stop-after", "2", "--set", "seed=5"]));
    let part = "checkpoints/step-0000002/exp_avg.safetensors";
    let other = run.bytes(format!("b/{part}"));
    shards::atomic::write(&run.path(format!("a/{part}")), &other).expect("written");
    fails(&mut run.train("a", &[]), 2, &["exp_avg.safetensors` was changed after it was written"]);
}

#[test]
fn only_the_checkpoints_that_were_asked_for_are_kept() {
    let run = TinyRun::new(8, "checkpoint: {every: 2, keep: 1, keep_every: 4}\n");
    succeeds(&mut run.train("run", &[]));
    check_kept(&run, &["step-0000004", "step-0000008"]);
    let run = TinyRun::new(8, "checkpoint: {every: 2, keep: 2}\n");
    succeeds(&mut run.train("run", &[]));
    check_kept(&run, &["step-0000006", "step-0000008"]);
}

#[track_caller]
fn check_kept(run: &TinyRun, expected: &[&str]) {
    let entries = fs::read_dir(run.path("run/checkpoints")).expect("a folder");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .collect();
    names.sort();
    assert_eq!(names, expected);
}

#[test]
fn a_shard_that_is_not_the_one_of_its_manifest_is_refused() {
    let run = TinyRun::new(2, "");
    let path = run.path("shards/tiny-train-role.bin");
    let mut roles = run.bytes("shards/tiny-train-role.bin");
    // Another role, which is a role as well: only the hash can tell.
    roles[0] ^= 1;
    shards::atomic::write(&path, &roles).expect("written");
    let words =
        ["`shards/tiny-train-role.bin` has the SHA-256 ", "but `manifest.json`", "hint: the file"];
    fails(&mut run.train("run", &[]), 2, &words);
    roles.truncate(10);
    shards::atomic::write(&path, &roles).expect("written");
    let words = ["`shards/tiny-train-role.bin` has the length 10, but `manifest.json`"];
    fails(&mut run.train("run", &[]), 2, &words);
}

#[test]
fn a_diverged_run_stops_and_keeps_its_good_checkpoints() {
    let run = TinyRun::new(40, "checkpoint: {every: 1, keep: 1}\nstop_after_skipped: 4\n");
    succeeds(&mut run.train("run", &["--stop-after", "3"]));
    // The rate is the one setting that such a test must change; a user is told to take another folder.
    let config = String::from_utf8(run.bytes("run/config.yaml")).expect("text");
    let (before, after) =
        (config.find("  lr: ").expect("a rate"), config.find("\n  min_lr").expect("the next key"));
    let config = format!("{}  lr: 1e30{}", &config[..before], &config[after..]);
    shards::atomic::write(&run.path("run/config.yaml"), config.as_bytes()).expect("written");

    let lr = ["--set", "optimizer.lr=1e30"];
    let words = [
        "error: the run diverged: from step",
        "in 4 steps in a row",
        "what it was before that is `run/checkpoints/step-",
        "hint: lower `optimizer.lr`",
    ];
    fails(&mut run.train("run", &lr), 1, &words);
    // Another attempt finds the same checkpoint and comes to the same end.
    fails(&mut run.train("run", &lr), 1, &words);
}
