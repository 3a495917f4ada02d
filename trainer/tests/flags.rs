//! What the command line refuses before anything is opened.

use std::process::Command;

#[track_caller]
fn check(arguments: &str, expected: &str) {
    let output = Command::new(env!("CARGO_BIN_EXE_trainer"))
        .args(arguments.split(' '))
        .output()
        .expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(expected), "`{expected}` is not in:\n{said}");
}

#[test]
fn numbers_out_of_range_are_refused_with_the_range() {
    let sample = |flag: &str| format!("sample model --prompt Hi {flag}");
    check(
        &sample("--temperature=nan"),
        "'nan' for '--temperature <T>': expected a number from 0 on",
    );
    check(&sample("--temperature -1"), "'-1' for '--temperature <T>': expected a number from 0 on");
    check(&sample("--top-p 3"), "'3' for '--top-p <P>': expected a number above 0, at most 1");
    check(&sample("--top-p 0"), "expected a number above 0, at most 1");
    check(&sample("--max-new-tokens 0"), "'0' for '--max-new-tokens <N>': 0 is not in 1..");
    check(&sample("--max-new-tokens -1"), "'-1' for '--max-new-tokens <N>': -1 is not in 1..");
    let shape = "--vocab-size 8 --hidden-size 8 --intermediate-size 8 --layers 1 --heads 1";
    let init = |flag: &str| format!("init --out base {shape} {flag}");
    check(&init("--rope-theta 0"), "expected a number above 0");
    check(&init("--rope-theta inf"), "expected a number above 0");
    check(&init("--initializer-range -0.1"), "expected a number from 0 on");
    check("export run --out model --max-shard-size 0", "expected a number above 0");
}
