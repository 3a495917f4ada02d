//! `pretokenizer diff`: equal folders are equal, and every kind of difference is told apart.

use expect_test::{Expect, expect};

use crate::workplace::{Outcome, Workplace, oracle};

/// Twelve conversations, all to train on, into the folder.
fn build(workplace: &Workplace, rows: &[String], folder: &str, more: &[&str]) {
    workplace.write(".cache/joke_explaination.jsonl", rows.concat());
    workplace.run(&[&["--configs", "a", "--output_dir", folder], more].concat()).ok();
}

fn row(question: &str, answer: &str) -> String {
    format!("{{\"joke\": \"{question}\", \"explaination\": \"{answer}\"}}\n")
}

fn rows() -> Vec<String> {
    let row = |i| row(&format!("Why is {i} so?"), &format!("Because of the number {i}."));
    (0..12).map(row).collect()
}

fn diff(workplace: &Workplace, arguments: &[&str]) -> Outcome {
    let mut command = workplace.subcommand("diff", arguments);
    Outcome::of(command.output().expect("the program can be started"))
}

#[track_caller]
fn check(change: impl Fn(&mut Vec<String>), more: &[&str], expected: &Expect) {
    let workplace = Workplace::with_datasets("[joke: {val_split: 0}]");
    build(&workplace, &rows(), "one", &[]);
    let mut rows = rows();
    change(&mut rows);
    build(&workplace, &rows, "two", more);
    let outcome = diff(&workplace, &["one", "two"]);
    assert_eq!(outcome.code, Some(1), "{}{}", outcome.out, outcome.err);
    // The changed input is told first, by hashes that say nothing here.
    let lines = outcome.out.lines().filter(|line| !line.starts_with("input"));
    expected.assert_eq(&lines.map(|line| format!("{line}\n")).collect::<String>());
}

#[test]
fn equal_folders_are_equal_wherever_they_are() {
    let workplace = Workplace::with_datasets("[joke: {val_split: 0}]");
    build(&workplace, &rows(), "one", &[]);
    build(&workplace, &rows(), "two", &["--threads", "1"]);
    let outcome = diff(&workplace, &["one", "two"]).ok();
    expect![[r#"
        the same documents, in the same order, made in the same way
    "#]]
    .assert_eq(&outcome.out);
}

#[test]
fn changed_new_missing_and_moved_documents_are_told_apart() {
    let change = |rows: &mut Vec<String>| {
        rows[3] = row("Why is 3 so?", "Because of another number.");
        rows.remove(6);
        rows.insert(9, row("Who comes late?", "A new one."));
        rows.swap(0, 1);
    };
    check(
        change,
        &[],
        &expect![[r#"
            count `train: lengths`: 30 to 32 tokens, mean 30.33, median 30, 90 % 32, 99 % 32 -> 26 to 32 tokens, mean 30.08, median 30, 90 % 32, 99 % 32
            train: 12 documents in the first, 12 in the second
              source       same     moved other roles   changed first only second only
              joke            9         1           0         1          1           1
              moved: document 0 (`joke`) -> 1
              changed: document 3 (`joke`) -> 3, from token 22 on
                behind "?<|im_end|>\n<|im_start|>assistant\nBecause of"
                first  "the number 3.<|im_end|>\n"
                second "another number.<|im_end|>\n"
              only in the first: document 6 (`joke`): "<|im_start|>user\nWhy is 6 so?<|im_end|>\n<|im_start|>assistant\nBecause of the number"
              only in the second: document 9 (`joke`): "<|im_start|>user\nWho comes late?<|im_end|>\n<|im_start|>assistant\nA new one.<|im_end|>"
        "#]],
    );
}

#[test]
fn what_the_datamix_says_otherwise_is_told() {
    check(
        |_| (),
        &["--rng_seed", "43", "--max_count", "11"],
        &expect![[r#"
        key `rng_seed`: 42 -> 43
        count `train: lengths`: 30 to 32 tokens, mean 30.33, median 30, 90 % 32, 99 % 32 -> 30 to 32 tokens, mean 30.18, median 30, 90 % 30, 99 % 32
        train: 12 documents in the first, 11 in the second
          source       same     moved other roles   changed first only second only
          joke           11         0           0         0          1           0
          only in the first: document 11 (`joke`): "<|im_start|>user\nWhy is 11 so?<|im_end|>\n<|im_start|>assistant\nBecause of the"
    "#]],
    );
}

#[test]
fn other_roles_are_told() {
    let workplace = Workplace::with_datasets("[joke: {val_split: 0}]");
    build(&workplace, &rows(), "one", &[]);
    build(&workplace, &rows(), "two", &[]);
    let mut roles = workplace.read("two/a-train-role.bin");
    roles[8] = 0;
    workplace.write("two/a-train-role.bin", roles);
    let outcome = diff(&workplace, &["one", "two"]);
    assert_eq!(outcome.code, Some(1));
    expect![[r#"
        train: 12 documents in the first, 12 in the second
          source       same     moved other roles   changed first only second only
          joke           11         0           1         0          0           0
          other roles: document 0 (`joke`) -> 0, from token 4 on: `user` -> `system`
    "#]]
    .assert_eq(&outcome.out);
}

#[test]
fn a_folder_of_the_reference_equals_ours() {
    let Some(oracle) = oracle() else { return };
    let workplace = Workplace::linking(&oracle.join("scenarios"));
    workplace.run(&["--configs", "oasst_top1", "tiny"]).ok();
    diff(&workplace, &["expected/oasst_top1_tiny", "out/oasst_top1_tiny"]).ok();
    let other = diff(&workplace, &["expected/oasst_top1_tiny", "expected/oasst_all_tiny"]);
    assert_eq!(other.code, Some(1), "{}", other.out);
}
