//! What `pretokenizer check` says, and that it leaves nothing behind.

use std::path::Path;

use expect_test::{Expect, expect};

use crate::workplace::{JOKES, Outcome, Workplace};

fn jokes() -> String {
    let row = |i| format!("{{\"joke\": \"q{}\", \"explaination\": \"a\"}}\n", i % 12);
    (0..20).map(row).collect()
}

fn run(workplace: &Workplace, arguments: &[&str]) -> Outcome {
    let before = workplace.files("");
    let mut command = workplace.subcommand("check", arguments);
    let outcome = Outcome::of(command.output().expect("the program can be started"));
    assert_eq!(workplace.files(""), before, "a check writes nothing");
    outcome
}

#[track_caller]
fn check(workplace: &Workplace, arguments: &[&str], out: &Expect, err: &Expect) {
    let outcome = run(workplace, arguments).ok();
    out.assert_eq(&outcome.out);
    err.assert_eq(&outcome.err);
}

#[test]
fn of_many_files_in_a_folder_a_few_are_named() {
    let row = "{\"instruction\": \"q\", \"output\": \"a\"}\n";
    let entry = "instructions: {name: faq, path: faq, val_split: 0}";
    let workplace = Workplace::with_datasets(&format!("[{entry}]"));
    let files = |n: std::ops::Range<i32>| {
        n.for_each(|i| workplace.write(&format!("faq/train-{i:03}.jsonl"), row));
        let out = run(&workplace, &["--configs", "a"]).ok().out;
        let (from, to) = (out.find("input files").expect("told"), out.find("\n\n  source"));
        out[from..to.expect("told")].to_owned()
    };
    assert_eq!(files(0..12).lines().count(), 13);
    expect![[r#"
        input files: 99, 3.48 KiB
                36 B  faq/train-000.jsonl
                36 B  faq/train-001.jsonl
                36 B  faq/train-002.jsonl
            3.34 KiB  faq/... (95 others)
                36 B  faq/train-098.jsonl"#]]
    .assert_eq(&files(12..99));
}

#[test]
fn the_demo_is_told_whole() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/demo");
    let configs = demo.join("../../configs/datamix");
    let configs = configs.to_str().expect("the path is UTF-8");
    let arguments = ["--config-dir", configs, "--configs", "demo", "--output_dir", "out"];
    let out = expect![[r#"
        configuration: {
          "datasets": [
            {
              "orca-chat": {
                "val_split": 0.05,
                "max_val_set": 20,
                "rows_per_conv": 2
              }
            },
            {
              "bestofmegacode": {
                "val_split": 0.05,
                "max_val_set": 20,
                "rows_per_conv": 2
              }
            },
            {
              "oasst_export": {
                "val_split": 0.05,
                "input_file_path": "trees.jsonl.gz",
                "lang": "cs,de,en,es,fr,uk",
                "top_k": 1
              }
            }
          ],
          "datasets_extra": [],
          "rng_seed": 42,
          "cache_dir": "oasst",
          "eval_size": null,
          "tokenizer_type": "SentencePieceTokenizer",
          "vocab_file": "tokenizer.model",
          "vocab_extra_ids_list": "<|im_start|>,<|im_end|>",
          "dataset_impl": "mmap",
          "min_assistant_tokens": 1,
          "output_dir": "out",
          "output_dir_suffix": "",
          "filename_prefix": "demo"
        }

        tokenizer: SentencePieceTokenizer, `tokenizer.model` (21.83 KiB), 1,536 ids
        special tokens: <CLS> 1529, <SEP> 1530, <EOD> 1531, <MASK> 1532, <PAD> 1533, <s> 1, </s> 2, <|im_start|> 1534, <|im_end|> 1535
        template: chatml

        input files: 3, 460.37 KiB
            8.86 KiB  shahules786/orca-best/data/train-00000-of-00001.parquet
          191.68 KiB  shahules786/megacode-best/train.jsonl
          259.84 KiB  oasst/trees.jsonl.gz

          source              samples to train on       taken to validate
          orca-chat               896         851         851          20
          bestofmegacode          944         896         896          20
          oasst_export          1,602       1,519       1,519          83
          left out of `oasst_export`, when it was read: 4 (another language), 2 (no conversation in the tree), 1 (not accepted in review), 3 (tree not ready for export)

        train: 3,266 documents, in `demo-train-*`
        val: 123 documents, in `demo-val-*`
        what `min_assistant_tokens: 1` will leave out of these is known when they are encoded
        folder: `out`, new
        nothing was written
    "#]];
    let err = expect![[r#"
        orca-chat: 896 samples
        bestofmegacode: 944 samples
        oasst_export: 1602 samples, 4 left out (another language), 2 left out (no conversation in the tree), 1 left out (not accepted in review), 3 left out (tree not ready for export)
    "#]];
    check(&Workplace::linking(&demo), &arguments, &out, &err);
}

#[test]
fn what_is_sampled_removed_and_capped_is_counted() {
    let datasets = "[joke: {fraction: 0.5, val_split: 4}]\n  remove_duplicates: true\n  remove_train_in_val: true\n  compress: true";
    let workplace = Workplace::with_datasets(datasets);
    workplace.write(JOKES, jokes());
    let arguments = ["--configs", "a", "--max_count", "3", "--rng_seed", "7"];
    let out = expect![[r#"
        configuration: {
          "datasets": [
            {
              "joke": {
                "fraction": 0.5,
                "val_split": 4
              }
            }
          ],
          "datasets_extra": [],
          "rng_seed": 7,
          "cache_dir": ".cache",
          "tokenizer_type": "SentencePieceTokenizer",
          "vocab_file": "demo.model",
          "vocab_extra_ids_list": "<|im_start|>,<|im_end|>",
          "dataset_impl": "mmap",
          "remove_duplicates": true,
          "remove_train_in_val": true,
          "output_dir": "out",
          "output_dir_suffix": "",
          "filename_prefix": "a",
          "compress": true
        }

        tokenizer: SentencePieceTokenizer, `demo.model` (21.83 KiB), 1,536 ids
        special tokens: <CLS> 1529, <SEP> 1530, <EOD> 1531, <MASK> 1532, <PAD> 1533, <s> 1, </s> 2, <|im_start|> 1534, <|im_end|> 1535
        template: chatml

        input files: 1, 722 B
               722 B  .cache/joke_explaination.jsonl

          source      samples to train on       taken to validate
          joke             20          16           5           4
          left out of `joke`, in `train`: 3 (duplicate)

        train: 3 of 5 documents, in `a-train-*`
        val: 3 of 4 documents, in `a-val-*`
        folder: `out`, new
        it would be packed into a `.tar.gz` beside it
        nothing was written
    "#]];
    let err = expect![[r#"
        joke: 20 samples
        joke: 3 left out of `train` (duplicate)
    "#]];
    check(&workplace, &arguments, &out, &err);
}

#[test]
fn its_counts_are_those_of_the_build() {
    let workplace = Workplace::with_datasets("[joke: {fraction: 0.5, val_split: 4}]");
    workplace.write(JOKES, jokes());
    let flags = ["--configs", "a", "--ledger", "ledger.jsonl"];
    let said = run(&workplace, &flags).ok();
    let built = workplace.run(&flags).ok();
    assert_eq!(said.err, built.err);
    for split in workplace.manifest()["splits"].as_array().expect("a list") {
        let (name, n) = (&split["name"], &split["sources"][0]["documents"]);
        let line = format!("{}: {n} documents", name.as_str().expect("a text"));
        assert!(said.out.contains(&line), "{line:?} is not in:\n{}", said.out);
    }
    let again = run(&workplace, &["--configs", "a"]).ok();
    assert!(again.out.contains("folder: `out`, its shards would be replaced"), "{}", again.out);
}

#[test]
fn a_folder_that_cannot_be_written_is_a_problem() {
    let workplace = Workplace::with_datasets("[joke]");
    workplace.write(JOKES, jokes());
    let outcome = run(&workplace, &["--configs", "a", "--output_dir", "/proc/a/b"]);
    assert_eq!((outcome.code, &*outcome.out), (Some(2), ""), "{}", outcome.err);
    let expected =
        "error: `output_dir: /proc/a/b` cannot be written: no file can be made in `/proc`";
    assert!(outcome.err.starts_with(expected), "{}", outcome.err);
}

#[test]
fn what_is_broken_ends_it_as_it_ends_the_build() {
    #[track_caller]
    fn check(datasets: &str, content: &str, expected: &Expect) {
        let workplace = Workplace::with_datasets(datasets);
        workplace.write(JOKES, content);
        let outcome = run(&workplace, &["--configs", "a"]);
        assert_eq!((outcome.code, &*outcome.out), (Some(2), ""), "{}", outcome.err);
        expected.assert_eq(&outcome.err);
        let build = workplace.run(&["--configs", "a"]);
        assert_eq!((build.code, build.err), (outcome.code, outcome.err));
    }
    let unknown_key = expect![[r#"
        error: configs/a.yaml:2:21: unknown key `fracton`
          |
        2 |   datasets: [joke: {fracton: 0.5}]
          |                     ^
        hint: did you mean `fraction`?
    "#]];
    check("[joke: {fracton: 0.5}]", &jokes(), &unknown_key);
    let too_many = expect![[r#"
        joke: 20 samples
        error: configs/a.yaml:2:14: `size: 21` of `joke` is more than its 16 train samples
    "#]];
    check("[joke: {size: 21}]", &jokes(), &too_many);
    let wrong_type = expect![[r#"
        error: configs/a.yaml:2:14: `joke`: .cache/joke_explaination.jsonl:1: missing field `explaination`
        hint: the fields there are: `joke`
    "#]];
    check("[joke]", "{\"joke\": 1}\n", &wrong_type);
}
