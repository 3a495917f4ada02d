//! The folder of a run: whole, or not there; and never the worse for a run that failed.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::workplace::{JOKES, Outcome, Workplace};
use serde_json::json;

fn jokes(n: usize) -> String {
    let text = "a joke that is long enough to keep a tokenizer busy for a while; ".repeat(20);
    (0..n).map(|i| format!("{{\"joke\": \"q{i}\", \"explaination\": \"{text}{i}\"}}\n")).collect()
}

fn built(arguments: &[&str]) -> Workplace {
    let workplace = Workplace::with_datasets("[joke]");
    workplace.write(JOKES, jokes(20));
    workplace.run(&[&["--configs", "a"], arguments].concat()).ok();
    workplace
}

/// A run that has begun to write: its folder beside the output shows that.
fn writing(workplace: &Workplace) -> Child {
    let child = workplace.command(&["--configs", "a", "--threads", "1"]).spawn();
    let mut child = child.expect("the program can be started");
    let started = Instant::now();
    while !workplace.files(".out.partial").iter().any(|name| name.contains("train")) {
        assert!(started.elapsed() < Duration::from_secs(60), "the run never began to write");
        assert!(child.try_wait().expect("it is our child").is_none(), "the run was too fast");
        std::thread::yield_now();
    }
    child
}

#[test]
fn a_run_says_what_it_read_and_wrote() {
    let workplace = built(&["--write_json", "--min_assistant_tokens", "3"]);
    let manifest = workplace.manifest();
    let outputs = manifest["outputs"].as_array().expect("a list");
    let mut names: Vec<_> = outputs.iter().filter_map(|it| it["path"].as_str()).collect();
    names.push("manifest.json");
    names.sort_unstable();
    assert_eq!(names, workplace.files("out"));
    for output in outputs {
        let path = format!("out/{}", output["path"].as_str().expect("a name"));
        assert_eq!(output["sha256"], shards::hash::sha256(&workplace.read(&path)));
    }
    assert_eq!(manifest["inputs"][0]["path"], JOKES);
    assert_eq!(manifest["inputs"][0]["sha256"], shards::hash::sha256(&workplace.read(JOKES)));
    assert_eq!(manifest["config"]["min_assistant_tokens"], 3);
    assert_eq!(manifest["splits"][0]["sources"][0]["documents"], 16);
    assert_eq!(manifest["splits"][1]["sources"][0]["samples"], 4);
}

#[test]
fn rows_that_become_no_conversation_are_counted_by_reason() {
    let workplace = Workplace::with_datasets("[joke, minimath]");
    workplace.write(JOKES, jokes(20));
    let rows =
        [("1 + 1", "2"), ("", "3"), (" ", "4"), ("2 + 2", "As a language model, 4"), ("3", "3")];
    let rows = rows.map(|(q, a)| format!("{}\n", json!({ "question": q, "answer": a })));
    workplace.write("kentsui/minimath/train.jsonl", rows.concat());
    let outcome = workplace.run(&["--configs", "a"]).ok();
    let expected = json!([
        {"name": "joke", "samples": 20, "dropped": {}},
        {"name": "minimath", "samples": 2, "dropped": {"empty": 2, "word filter": 1}},
    ]);
    assert_eq!(workplace.manifest()["sources_read"], expected);
    let expected = "minimath: 2 samples, 2 left out (empty), 1 left out (word filter)";
    assert!(outcome.err.contains(expected), "{}", outcome.err);
}

#[test]
fn extra_datasets_are_used_in_full_and_keys_without_effect_are_told() {
    let workplace = Workplace::with_datasets(
        "[]\n  datasets_extra: [joke: {fraction: 0.25}, joke: {size: 300}, joke]",
    );
    workplace.write(JOKES, jokes(20));
    let outcome = workplace.run(&["--configs", "a"]).ok();
    let manifest = workplace.manifest();
    let sources = manifest["splits"][0]["sources"].as_array().expect("a list");
    let samples: Vec<_> = sources.iter().filter_map(|it| it["samples"].as_u64()).collect();
    assert_eq!(samples, [16, 16, 16]);
    for key in ["fraction", "size"] {
        let expected = format!("`{key}` of `joke` has no effect in `datasets_extra`");
        assert!(outcome.err.contains(&expected), "{}", outcome.err);
    }
}

#[test]
fn statistics_go_to_standard_output_as_well() {
    let workplace = Workplace::with_datasets("[joke]");
    workplace.write(JOKES, jokes(20));
    let outcome = workplace.run(&["--configs", "a", "--max_count", "3"]).ok();
    let text = ["train", "val"].map(|split| {
        String::from_utf8(workplace.read(&format!("out/a-{split}_stats.txt"))).expect("UTF-8")
    });
    assert_eq!(outcome.out, text.concat());
    assert!(text[0].contains("Accepted: 3/3 (100.0%)"), "{}", text[0]);
}

#[test]
fn what_has_no_tokens_has_no_averages() {
    let workplace = Workplace::with_datasets("[joke]");
    workplace.write(JOKES, jokes(20));
    let arguments = ["--configs", "a", "--min_assistant_tokens", "100000"];
    let outcome = workplace.run(&arguments).ok();
    let expected = "warning: `joke` gives nothing to the split `val`: 4 ";
    assert!(outcome.err.contains(expected), "{}", outcome.err);
    let text = String::from_utf8(workplace.read("out/a-val_stats.txt")).expect("UTF-8");
    assert!(text.contains("Accepted: 0/4 (0.0%)"), "{text}");
    assert!(text.contains("Avg tokens per sample: n/a"), "{text}");
}

#[test]
fn a_second_run_replaces_the_first_and_keeps_foreign_files() {
    let workplace = built(&["--write_json"]);
    workplace.write("out/notes.txt", "mine");
    assert!(workplace.files("out").contains(&"a-train.jsonl".to_string()));
    workplace.run(&["--configs", "a"]).ok();
    let files = workplace.files("out");
    assert!(!files.contains(&"a-train.jsonl".to_string()), "it belongs to the first run");
    assert_eq!(workplace.read("out/notes.txt"), b"mine");
}

#[test]
fn a_run_that_fails_leaves_what_was_there() {
    let workplace = built(&[]);
    let before: Vec<_> = workplace.files("");
    let manifest = workplace.read("out/manifest.json");
    workplace.write(JOKES, jokes(20) + "{}\n");
    assert_eq!(workplace.run(&["--configs", "a"]).code, Some(2));
    assert_eq!(workplace.files(""), before);
    assert_eq!(workplace.read("out/manifest.json"), manifest);
}

#[test]
fn a_run_that_is_interrupted_leaves_what_was_there_and_says_so() {
    let workplace = built(&[]);
    let before = workplace.files("");
    let manifest = workplace.read("out/manifest.json");
    workplace.write(JOKES, jokes(20_000));
    let child = writing(&workplace);
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(killed.expect("`kill` is there").success());
    let outcome = Outcome::of(child.wait_with_output().expect("it ends"));
    assert_eq!(outcome.code, Some(130), "{}", outcome.err);
    assert!(outcome.err.contains("nothing was written"), "{}", outcome.err);
    assert_eq!(workplace.files(""), before);
    assert_eq!(workplace.read("out/manifest.json"), manifest);
}

#[test]
fn a_run_into_a_full_disk_names_the_file_and_leaves_what_was_there() {
    // With `XFSZ` ignored, a file's limit is met as a full disk is: the write returns an error.
    let fill = |workplace: &Workplace| {
        let script = "trap '' XFSZ; ulimit -f 64; exec \"$0\" build --configs a";
        let mut command = Command::new("sh");
        command.current_dir(workplace.path()).args(["-c", script]);
        command.arg(env!("CARGO_BIN_EXE_pretokenizer"));
        let outcome = Outcome::of(command.output().expect("there is a shell"));
        assert_eq!(outcome.code, Some(1), "{}", outcome.err);
        let expected = "error: failed to write to file `./.out.partial/.a-train-text.bin.partial";
        assert!(outcome.err.contains(expected), "{}", outcome.err);
        assert!(outcome.err.contains("\nhint: free space"), "{}", outcome.err);
    };
    let workplace = Workplace::with_datasets("[joke]");
    workplace.write(JOKES, jokes(2000));
    let before = workplace.files("");
    fill(&workplace);
    assert_eq!(workplace.files(""), before);
    assert!(!workplace.path().join(".out.partial").exists());

    let workplace = built(&[]);
    let before = (workplace.files(""), workplace.shards(), workplace.manifest());
    workplace.write(JOKES, jokes(2000));
    fill(&workplace);
    assert_eq!((workplace.files(""), workplace.shards(), workplace.manifest()), before);
}

#[test]
fn what_a_killed_run_left_is_cleared_away_by_the_next() {
    let workplace = built(&[]);
    let before = (workplace.files("out"), workplace.shards());
    workplace.write(JOKES, jokes(20_000));
    let mut child = writing(&workplace);
    child.kill().expect("it is our child");
    child.wait().expect("it ends");
    assert!(workplace.path().join(".out.partial").exists(), "it was killed while it wrote");
    assert_eq!((workplace.files("out"), workplace.shards()), before);

    workplace.write(JOKES, jokes(20));
    workplace.run(&["--configs", "a"]).ok();
    assert!(!workplace.path().join(".out.partial").exists());
    assert_eq!((workplace.files("out"), workplace.shards()), before);
}

#[test]
fn the_folder_can_be_packed() {
    let workplace = built(&["--compress"]);
    let packed = workplace.read("out.tar.gz");
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&packed[..]));
    let entries = archive.entries().expect("it is an archive");
    let mut names: Vec<_> = entries
        .map(|it| it.expect("whole").path().expect("a name").to_string_lossy().into_owned())
        .collect();
    names.sort();
    let expected: Vec<_> = workplace.files("out").iter().map(|it| format!("out/{it}")).collect();
    assert_eq!(names, expected);
}

#[test]
fn a_folder_elsewhere_is_packed_under_its_own_name() {
    let workplace = Workplace::with_datasets("[joke]");
    workplace.write(JOKES, jokes(20));
    workplace.write("sub/there", "");
    let arguments = ["--configs", "a", "--compress", "--output_dir", "sub/../o6"];
    workplace.run(&arguments).ok();
    let packed = workplace.read("o6.tar.gz");
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&packed[..]));
    for entry in archive.entries().expect("it is an archive") {
        assert!(entry.expect("whole").path().expect("a name").starts_with("o6"));
    }
}

#[test]
fn a_link_to_a_folder_is_written_through() {
    let workplace = Workplace::with_datasets("[joke]");
    workplace.write(JOKES, jokes(20));
    workplace.write("elsewhere/disk/notes.txt", "mine");
    let link = workplace.path().join("out");
    std::os::unix::fs::symlink("elsewhere/disk", &link).expect("can be linked");
    workplace.run(&["--configs", "a"]).ok();
    assert!(link.is_symlink(), "the link is still one");
    assert!(workplace.files("elsewhere/disk").contains(&"manifest.json".to_string()));
}
