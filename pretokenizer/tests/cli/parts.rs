//! A datamix built in parts and merged: the folder is that of one run, byte for byte, and what does not belong together
//! is refused by name.

use std::collections::BTreeMap;
use std::process::Command;

use crate::workplace::{JOKES, Outcome, Workplace};
use fs_err as fs;
use serde_json::json;

const PARTS: &str = "out.parts";

/// Datasets of very different sizes, with wordings, joined rows and rows that are left out.
fn workplace() -> Workplace {
    let workplace = Workplace::with_datasets(
        "[joke: {fraction: 0.8}, minimath: {fill_min_length: 60}, xsum, oa_leet10k: {val_split: 0}]",
    );
    let jsonl = |rows: Vec<_>| -> String { rows.iter().map(|row| format!("{row}\n")).collect() };
    let joke = |i| json!({"joke": format!("q{i}"), "explaination": "a".repeat(i)});
    workplace.write(JOKES, jsonl((0..100).map(joke).collect()));
    let sum = |i| json!({"question": format!("{i} + {i}"), "answer": format!("{}", i + i)});
    workplace.write("kentsui/minimath/train.jsonl", jsonl((0..60).map(sum).collect()));
    let news = |i| json!({"document": format!("news {i}"), "summary": "s"});
    for split in ["train", "validation"] {
        workplace.write(&format!("xsum/{split}.jsonl"), jsonl((0..40).map(news).collect()));
    }
    let task = |i| json!({"INSTRUCTION": format!("{i}"), "RESPONSE": "long answer ".repeat(100)});
    workplace.write("ehartford/oa_leet10k/train.jsonl", jsonl((0..7).map(task).collect()));
    workplace
}

fn merge(workplace: &Workplace, arguments: &[&str]) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pretokenizer"));
    command.current_dir(workplace.path()).arg("merge").args(arguments);
    Outcome::of(command.output().expect("the program can be started"))
}

fn build_part(workplace: &Workplace, part: &str, flags: &[&str]) {
    workplace.run(&[&["--configs", "a", "--part", part], flags].concat()).ok();
}

fn all_files(workplace: &Workplace, folder: &str) -> BTreeMap<String, Vec<u8>> {
    let names = workplace.files(folder).into_iter();
    names.map(|name| (name.clone(), workplace.read(&format!("{folder}/{name}")))).collect()
}

/// Builds on one machine and in so many parts, and compares.
#[track_caller]
fn check(n: usize, flags: &[&str]) {
    let workplace = workplace();
    let one = workplace.run(&[&["--configs", "a"], flags].concat()).ok();
    let expected = all_files(&workplace, "out");
    fs::remove_dir_all(workplace.path().join("out")).expect("it is there");
    // In any order, and one of them twice.
    for i in (1..=n).rev().chain([1]) {
        build_part(&workplace, &format!("{i}/{n}"), flags);
    }
    assert!(!workplace.path().join("out").exists());
    let merged = merge(&workplace, &[PARTS]).ok();
    assert_eq!(merged.out, one.out);
    let found = all_files(&workplace, "out");
    assert!(found.keys().eq(expected.keys()));
    for (name, bytes) in &expected {
        assert!(found[name] == *bytes, "`{name}` differs, in {n} parts with {flags:?}");
    }
}

#[test]
fn parts_make_the_folder_of_one_run() {
    check(3, &["--write_json"]);
    check(1, &["--min_assistant_tokens", "25"]);
    check(5, &["--max_count", "110"]);
    check(2, &["--dataset_impl", "lazy"]);
    check(2, &["--no-dataset_impl"]);
}

#[test]
fn a_merge_goes_where_a_build_would() {
    let workplace = workplace();
    for part in ["1/2", "2/2"] {
        build_part(&workplace, part, &[]);
    }
    merge(&workplace, &[PARTS, "--output_dir", "./elsewhere//it"]).ok();
    let merged = all_files(&workplace, "elsewhere/it");
    workplace.run(&["--configs", "a", "--output_dir", "./elsewhere//it"]).ok();
    assert_eq!(all_files(&workplace, "elsewhere/it"), merged);
}

#[track_caller]
fn refused(workplace: &Workplace, arguments: &[&str], expected: &[&str]) {
    let outcome = merge(workplace, arguments);
    assert_eq!(outcome.code, Some(2), "{}", outcome.err);
    for part in expected {
        assert!(outcome.err.contains(part), "{part:?} is not in:\n{}", outcome.err);
    }
    assert!(!workplace.path().join("out").exists());
}

#[test]
fn what_does_not_belong_together_is_refused_by_name() {
    let workplace = workplace();
    refused(&workplace, &["."], &["`./configs` is no part: there is no `part.json`"]);
    for part in ["1/4", "3/4"] {
        build_part(&workplace, part, &[]);
    }
    let [first, third] = ["out.parts/part-1-of-4", "out.parts/part-3-of-4"];
    refused(&workplace, &[PARTS], &["missing: part 2/4, 4/4", "build --part 2/4"]);
    for part in ["2/4", "4/4"] {
        build_part(&workplace, part, &[]);
    }
    refused(&workplace, &[PARTS, first], &["part 1/4 is there twice", first]);

    build_part(&workplace, "3/4", &["--rng_seed", "7"]);
    refused(&workplace, &[PARTS], &[third, "the configuration differs"]);
    build_part(&workplace, "3/4", &["--max_count", "9"]);
    refused(&workplace, &[PARTS], &[third, "the `--max_count` differs"]);
    let jokes = workplace.read(JOKES);
    workplace.write(JOKES, [&jokes[..], b"{\"joke\": \"\", \"explaination\": \"\"}\n"].concat());
    build_part(&workplace, "3/4", &[]);
    refused(&workplace, &[PARTS], &[third, "the inputs differs"]);
    workplace.write(JOKES, jokes);
    build_part(&workplace, "3/4", &[]);
    build_part(&workplace, "1/2", &[]);
    refused(&workplace, &[PARTS], &["part-1-of-2", "the number of parts differs"]);
    fs::remove_dir_all(workplace.path().join("out.parts/part-1-of-2")).expect("it is there");

    let bin = format!("{third}/a-train-role.bin");
    let mut bytes = workplace.read(&bin);
    bytes[0] ^= 1;
    workplace.write(&bin, &bytes);
    refused(&workplace, &[PARTS], &["part 3/4 is damaged", &bin, "build --part 3/4"]);
    fs::remove_file(workplace.path().join(&bin)).expect("it is there");
    refused(&workplace, &[PARTS], &["part 3/4 is damaged", &bin]);
    build_part(&workplace, "3/4", &[]);
    merge(&workplace, &[PARTS]).ok();
    assert!(workplace.path().join("out/manifest.json").is_file());
}

#[test]
fn parts_that_cannot_be_are_refused() {
    let workplace = workplace();
    for (flags, expected) in [
        (&["--part", "3/2"][..], "`3/2` is not I/N"),
        (
            &["--part", "1/2", "--max_count", "5", "--min_assistant_tokens", "9"],
            "leave `--max_count` away",
        ),
    ] {
        let outcome = workplace.run(&[&["--configs", "a"], flags].concat());
        assert_eq!(outcome.code, Some(2), "{}", outcome.err);
        assert!(outcome.err.contains(expected), "{}", outcome.err);
    }
}
