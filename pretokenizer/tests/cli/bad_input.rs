//! What a user gets wrong: the message says where and what, the exit code is 2, and nothing is written.

use std::io::Write;

use crate::workplace::{JOKES, Workplace, jokes};
use flate2::Compression;
use flate2::write::GzEncoder;

fn gzipped(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).expect("memory can be written");
    encoder.finish().expect("memory can be written")
}

#[track_caller]
fn check(workplace: &Workplace, arguments: &[&str], expected: &[&str]) {
    let outcome = workplace.run(arguments);
    assert_eq!(outcome.code, Some(2), "{}", outcome.err);
    for part in expected {
        assert!(outcome.err.contains(part), "{part:?} is not in:\n{}", outcome.err);
    }
    assert!(workplace.files("out").is_empty());
}

#[track_caller]
fn check_jokes(content: &[u8], expected: &[&str]) {
    let workplace = Workplace::with_datasets("[joke]");
    workplace.write(JOKES, content);
    check(&workplace, &["--configs", "a"], expected);
}

#[test]
fn a_mistyped_key_has_a_place_and_a_suggestion() {
    let workplace = Workplace::with_datasets("[joke: {fracton: 0.5}]");
    let expected =
        ["error: configs/a.yaml:2:21: unknown key `fracton`", "did you mean `fraction`?"];
    check(&workplace, &["--configs", "a"], &expected);
}

#[test]
fn an_unknown_dataset_has_a_place_and_a_suggestion() {
    let workplace = Workplace::with_datasets("[joke, dolly15]");
    let expected = ["configs/a.yaml:2:20: unknown dataset `dolly15`", "did you mean `dolly15k`?"];
    check(&workplace, &["--configs", "a"], &expected);
}

#[test]
fn an_unknown_section_has_a_suggestion() {
    let workplace = Workplace::with_datasets("[joke]");
    check(&workplace, &["--configs", "aa"], &["section `aa`", "did you mean `a`?"]);
    check(&workplace, &["--configs", "a,"], &["section ``"]);
    workplace.write("configs/a.yaml", "# nothing yet\n");
    check(&workplace, &["--configs", "a"], &["section `a`", "have no sections at all"]);
}

#[test]
fn flags_are_checked_like_keys() {
    let workplace = Workplace::with_datasets("[joke]");
    let base = ["--configs", "a"];
    check(&workplace, &[&base[..], &["--eval_size", "many"]].concat(), &["--eval_size: `many`"]);
    check(&workplace, &[&base[..], &["--rng_sed", "7"]].concat(), &["--rng_sed", "--rng_seed"]);
    check(
        &workplace,
        &[&base[..], &["--no-output_dir"]].concat(),
        &["`output_dir` is set in none"],
    );
    check(&workplace, &[], &["--configs"]);
    workplace.write("configs/b.yaml", "b: {rng_seed: 1}\n");
    check(&workplace, &["--configs", "b"], &["`datasets` is set in none", "name a section"]);
    check(&workplace, &[&base[..], &["--max_count", "many"]].concat(), &["--max_count", "many"]);
    check(&workplace, &[&base[..], &["--max_count", "-1"]].concat(), &["--max_count", "'-1'"]);
    let expected =
        ["error: `--data` may be `--datasets` or `--datasets_extra` or `--dataset_impl`\n"];
    check(&workplace, &[&base[..], &["--data", "lazy"]].concat(), &expected);
    let expected = [
        "`--no=x` may be `--no-output_dir` or `--no-write_json` or `--no-compress` or `--no-datasets` or 12 others\n",
    ];
    check(&workplace, &[&base[..], &["--no=x"]].concat(), &expected);
    let kind = ["--tokenizer_type", "SentencPieceTokenizer"];
    check(
        &workplace,
        &[&base[..], &kind].concat(),
        &["`tokenizer_type: SentencPieceTokenizer`", "did you mean `SentencePieceTokenizer`?"],
    );
}

#[test]
fn files_that_are_not_there_are_named() {
    let workplace = Workplace::with_datasets("[joke]");
    let expected = ["2:14: `joke`: there is no `.cache/joke_explaination.jsonl`\nhint: put a file"];
    check(&workplace, &["--configs", "a"], &expected);
    for (entry, file, hint) in [
        (
            "oig_file: {source_url: 'https://x/y.jsonl.gz'}",
            ".cache/y.jsonl.gz",
            "`https://x/y.jsonl.gz`",
        ),
        (
            "gpteacher_roleplay",
            ".cache/gpteacher_roleplay__json/gpteacher_roleplay.json",
            "GPTeacher",
        ),
        ("oa_translated", ".cache/oa_translated", "a folder of `*.jsonl` files"),
    ] {
        let workplace = Workplace::with_datasets(&format!("[{entry}]"));
        let expected = [&format!("there is no `{file}`\nhint: put "), hint];
        check(&workplace, &["--configs", "a"], &expected);
    }
    let expected = ["`vocab_file: no.model`: there is no such file", "hint:"];
    check(&workplace, &["--configs", "a", "--vocab_file", "no.model"], &expected);
    let expected = ["nowhere: there is no such folder", "`--config-dir`"];
    check(&workplace, &["--configs", "a", "--config-dir", "nowhere"], &expected);
    let workplace = Workplace::with_datasets("[joke, oasst_export: {input_file_path: no.jsonl}]");
    let expected = ["a.yaml:2:20: `input_file_path: no.jsonl`", "`.cache/no.jsonl`", "hint:"];
    check(&workplace, &["--configs", "a"], &expected);
    let workplace = Workplace::with_datasets("[orca-chat]");
    check(
        &workplace,
        &["--configs", "a"],
        &["configs/a.yaml:2:14", "shahules786/orca-best", "hint:"],
    );
}

#[test]
fn a_row_that_is_wrong_is_named_with_its_field() {
    let bad = |row: &str| format!("{}\n{row}\n", jokes(600)).into_bytes();
    check_jokes(
        &bad("{\"joke\": null, \"explaination\": \"\"}"),
        &["jsonl:602: field `joke`: found null, expected a text"],
    );
    check_jokes(
        &bad("{\"joke\": \"\", \"explaination\": {}}"),
        &["jsonl:602: field `explaination`: ", "found an object, expected a text"],
    );
    check_jokes(
        &bad("{\"joke\": \"\"}"),
        &["jsonl:602: ", "missing field `explaination`", "`joke`"],
    );
    check_jokes(&bad("{\"joke\": \"\", "), &["jsonl:602: not JSON"]);
    check_jokes(
        &bad("{\"joke\": \"a\", \"joke\": \"b\", \"explaination\": \"\"}"),
        &["jsonl:602: ", "duplicate field"],
    );
    let deep = format!("{{\"x\": {}{}, \"joke\": \"\"}}", "[".repeat(9999), "]".repeat(9999));
    check_jokes(&bad(&deep), &["jsonl:602: nested too deeply"]);
    check_jokes(b"{\"joke\": \"\xff\", \"explaination\": \"\"}", &["jsonl:1: not UTF-8"]);
    check_jokes(b"\xef\xbb\xbf{}", &["byte order mark"]);
    check_jokes(b"joke,explaination", &["this is not JSON"]);
    check_jokes(b"[{\"joke\": \"\", \"explaination\": \"\"}", &["the JSON array has no end"]);
    check_jokes(b"", &["joke_explaination.jsonl` has no rows"]);
}

#[test]
fn a_file_cut_short_is_told_from_a_whole_one() {
    let packed = gzipped(&jokes(100));
    check_jokes(&packed[..packed.len() - 4], &["the gzip data ends in the middle"]);
    let mut broken = packed;
    let middle = broken.len() / 2;
    broken[middle] ^= 0xff;
    check_jokes(&broken, &["the gzip data"]);
    check_jokes(b"PAR1 and no more", &["broken parquet file: ", "damaged or cut short"]);
    check_jokes(b"ARROW1 and no more", &["broken arrow file"]);
}

#[test]
fn a_wrong_column_lists_the_columns() {
    let workplace = Workplace::with_datasets("[minimath: {response_column: answers}]");
    workplace.write("kentsui/minimath/train.jsonl", "{\"question\": \"q\", \"answer\": \"a\"}\n");
    check(
        &workplace,
        &["--configs", "a"],
        &["no row has the field `answers`", "`question`, `answer`"],
    );
}

#[test]
fn a_size_above_the_rows_is_refused() {
    let workplace = Workplace::with_datasets("[joke: {size: 50}]");
    workplace.write(JOKES, jokes(20));
    check(
        &workplace,
        &["--configs", "a"],
        &["configs/a.yaml:2:14: `size: 50`", "16 train samples"],
    );
}

#[test]
fn what_is_not_built_is_refused_by_name_when_it_is_used() {
    let workplace = Workplace::with_datasets("[hellaswag: {any: thing}]");
    check(&workplace, &["--configs", "a"], &["the dataset `hellaswag` is not supported"]);
}

#[test]
fn an_output_that_cannot_be_written_is_refused_before_anything_is_read() {
    // There are no jokes: whoever looks for them first fails over that.
    let workplace = Workplace::with_datasets("[joke]");
    workplace.write("file", "");
    let nothing = workplace.path().join("nothing");
    std::os::unix::fs::symlink("nowhere", nothing).expect("can be linked");
    let check_flag = |flag: &str, value: &str, expected: &[&str]| {
        check(&workplace, &["--configs", "a", flag, value], expected);
    };
    check_flag("--output_dir", "file", &["`output_dir: file`", "`file` is no folder", "hint:"]);
    check_flag("--output_dir", "file/out", &["`output_dir: file/out`", "`file` is no folder"]);
    check_flag("--output_dir", "nothing", &["`nothing` is a link to nothing"]);
    check_flag("--output_dir", "new/..", &["`output_dir: new/..` names no folder"]);
    check_flag("--output_dir", "/", &["`output_dir: /` names no folder"]);
    // Nobody can make a file there, not even root.
    let expected = ["`output_dir: /proc/out` cannot be written: no file can be made in `/proc`"];
    check_flag("--output_dir", "/proc/out", &expected);
    check_flag("--filename_prefix", "", &["`filename_prefix: `"]);
    check_flag("--filename_prefix", "a/b", &["`filename_prefix: a/b`"]);
}

#[test]
fn a_second_prefix_in_one_folder_is_refused() {
    let workplace = Workplace::with_datasets("[joke]");
    workplace.write(JOKES, jokes(20));
    workplace.run(&["--configs", "a"]).ok();
    let outcome = workplace.run(&["--configs", "a", "--filename_prefix", "b"]);
    assert_eq!(outcome.code, Some(2), "{}", outcome.err);
    assert!(outcome.err.contains("holds shards of `filename_prefix: a`"), "{}", outcome.err);
}
