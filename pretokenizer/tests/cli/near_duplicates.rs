//! Conversations that are much like another one.

use serde_json::json;

use crate::workplace::Workplace;

const SOURCES: &str = "[messages: {name: one, path: one.jsonl, val_split: 0.25}, \
                        messages: {name: two, path: two.jsonl, val_split: 0.25}]";

/// A conversation of 100 words that no other number has, of which the last `n_changed` are others for each version.
fn row(number: usize, version: usize, n_changed: usize) -> String {
    let word = |i: usize| {
        if i < 100 - n_changed {
            format!("w{number}x{i}")
        } else {
            format!("v{number}x{i}x{version}")
        }
    };
    let text = |words: std::ops::Range<usize>| words.map(word).collect::<Vec<_>>().join(" ");
    let messages = json!([
        {"role": "system", "content": "You are an assistant. ".repeat(40)},
        {"role": "user", "content": format!("{}?", text(0..40))},
        {"role": "assistant", "content": text(40..100)},
    ]);
    format!("{}\n", json!({"messages": messages}))
}

fn workplace() -> Workplace {
    let workplace = Workplace::with_datasets(SOURCES);
    // Versions with 2 words of 100 changed have 94 of 98 shingles in common (J = 0.96); with 30, 66 of 126 (J = 0.52).
    let near = |n: std::ops::Range<usize>, version| n.map(move |i| row(i, version, 2));
    let far = |n: std::ops::Range<usize>, version| n.map(move |i| row(i, version, 30));
    let one: String = near(0..30, 0)
        .chain(near(0..10, 1))
        .chain(far(100..130, 0))
        .chain(far(100..110, 1))
        .collect();
    let two: String = near(20..40, 2).chain(far(120..140, 2)).collect();
    workplace.write("one.jsonl", one);
    workplace.write("two.jsonl", two);
    workplace
}

/// What the lines of both splits begin with: the number of each conversation.
fn numbers(workplace: &Workplace) -> [Vec<String>; 2] {
    ["train", "val"].map(|split| {
        let text = workplace.read(&format!("out/a-{split}.jsonl"));
        let text = String::from_utf8(text).expect("ASCII");
        let number = |line: &str| {
            let (_, words) = line.split_once('w').expect("a first word");
            words.split('x').next().expect("a number").to_owned()
        };
        text.lines().map(number).collect()
    })
}

fn built(flags: &[&str]) -> (Workplace, [Vec<String>; 2]) {
    let workplace = workplace();
    workplace.run(&[&["--configs", "a", "--write_json"], flags].concat()).ok();
    let numbers = numbers(&workplace);
    (workplace, numbers)
}

/// Whether a number is one of those whose versions are nearly the same.
fn is_near(number: &str) -> bool {
    number.parse::<usize>().expect("a number") < 100
}

/// What a run leaves of a plain run's splits.
fn expected(train_in_val: bool) -> [Vec<String>; 2] {
    let (_, mut splits) = built(&[]);
    let in_val = splits[1].clone();
    if train_in_val {
        splits[0].retain(|number| !is_near(number) || !in_val.contains(number));
    }
    for split in &mut splits {
        let mut seen = Vec::new();
        split.retain(|number| {
            let is_new = !is_near(number) || !seen.contains(number);
            seen.push(number.clone());
            is_new
        });
    }
    splits
}

#[test]
fn the_first_of_several_that_are_much_alike_stays_whatever_source_it_is_from() {
    let expected = expected(false);
    for threads in ["1", "3"] {
        let (workplace, found) = built(&["--remove_near_duplicates", "true", "--threads", threads]);
        assert_eq!(found, expected, "{threads} threads");
        let manifest = workplace.manifest();
        let split = &manifest["splits"][0];
        let sources = split["sources"].as_array().expect("a list");
        let skipped = |i: usize| sources[i]["skipped"]["near_duplicate"].as_u64();
        assert!(skipped(0) > Some(0) && skipped(1) > Some(0), "{sources:?}");
        let all = sources.iter().map(|it| it["samples"].as_u64().expect("a number")).sum::<u64>();
        let n = found[0].len() as u64;
        assert_eq!(all, n + skipped(0).unwrap_or(0) + skipped(1).unwrap_or(0));
    }
}

#[test]
fn what_is_much_like_a_validation_conversation_is_not_trained_on() {
    let flags = ["--remove_near_duplicates", "true", "--remove_train_in_val", "true"];
    let (workplace, found) = built(&flags);
    assert_eq!(found, expected(true));
    let skipped = &workplace.manifest()["splits"][0]["sources"][0]["skipped"];
    assert!(skipped["near_in_val"].as_u64() > Some(0), "{skipped}");
}

#[test]
fn the_threshold_decides() {
    let [plain, _] = built(&[]).1;
    // Those of J = 0.52 go as well, those of 0.96 stay.
    for (threshold, distinct) in [("0.4", true), ("1", false)] {
        let keys = format!("{{\"threshold\": {threshold}, \"num_perm\": 256}}");
        let [train, _] = built(&["--remove_near_duplicates", &keys]).1;
        let mut once = plain.clone();
        once.sort();
        once.dedup();
        assert_eq!(train.len(), if distinct { once.len() } else { plain.len() }, "{threshold}");
    }
}

#[test]
fn parts_leave_out_what_a_run_on_one_machine_does() {
    let flags =
        ["--configs", "a", "--remove_near_duplicates", "true", "--remove_train_in_val", "true"];
    let (workplace, _) = built(&flags[2..]);
    workplace.check_parts(&[&flags[..], &["--write_json"]].concat());
}

#[test]
fn check_says_how_many_would_go() {
    let workplace = workplace();
    let (_, [plain, _]) = built(&[]);
    let [train, _] = expected(false);
    let flags = ["--configs", "a", "--remove_near_duplicates", "true"];
    let output = workplace.subcommand("check", &flags).output().expect("it can be started");
    let text = String::from_utf8(output.stdout).expect("a text");
    let counts = text.lines().filter(|line| line.contains("in `train`: "));
    let counts =
        counts.filter_map(|line| line.split(": ").nth(1)?.split(' ').next()?.parse::<usize>().ok());
    assert_eq!(counts.sum::<usize>(), plain.len() - train.len(), "{text}");
}

/// What the program says of these keys.
fn refusal(keys: &str) -> String {
    let workplace = Workplace::new();
    workplace.write("configs/a.yaml", format!("a:\n  remove_near_duplicates: {keys}\n  datasets: [joke]\n  vocab_file: x\n  tokenizer_type: SentencePieceTokenizer\n  output_dir: out\n  filename_prefix: a\n"));
    let output = workplace.subcommand("check", &["--configs", "a"]).output();
    let output = output.expect("it can be started");
    assert_eq!(output.status.code(), Some(2));
    String::from_utf8(output.stderr).expect("a text")
}

#[test]
fn wrong_keys_are_named() {
    let said = [
        "{treshold: 0.8}",
        "{threshold: 80}",
        "{threshold: 0}",
        "{bands: 20}",
        "{bands: 20, rows: 7}",
        "{ngram: 0}",
        "{num_perm: 100000}",
        "maybe",
    ]
    .map(refusal);
    expect_test::expect![[r#"
        error: configs/a.yaml:2:28: unknown key `treshold`
          |
        2 |   remove_near_duplicates: {treshold: 0.8}
          |                            ^
        hint: did you mean `threshold`?
        error: `remove_near_duplicates`: `threshold: 80` must be above 0 and at most 1
        error: `remove_near_duplicates`: `threshold: 0` must be above 0 and at most 1
        error: `remove_near_duplicates`: `bands` and `rows` go together: give both, or neither
        error: `remove_near_duplicates`: `bands: 20` of `rows: 7` need 140 hash functions, and `num_perm` is 128
        error: `remove_near_duplicates`: `ngram: 0` must be at least 1
        error: `remove_near_duplicates`: `num_perm: 100000` must be from 1 to 4096
        error: configs/a.yaml:2:3: found the text "maybe", expected `true`, `false`, or keys such as `{threshold: 0.8, ngram: 5}`
          |
        2 |   remove_near_duplicates: maybe
          |   ^
    "#]].assert_eq(&said.concat());
}
