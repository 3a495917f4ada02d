//! Conversations that stand in the output more than once.

use std::collections::HashSet;

use serde_json::json;

use crate::workplace::Workplace;

const SOURCES: &str = "[messages: {name: one, path: one.jsonl, val_split: 0.25}, \
                        messages: {name: two, path: two.jsonl, val_split: 0.25}]";

fn rows(numbers: impl IntoIterator<Item = u32>) -> String {
    let row = |n| json!({"messages": [{"role": "user", "content": format!("q{n}")}, {"role": "assistant", "content": "a"}]});
    numbers.into_iter().map(|n| format!("{}\n", row(n))).collect()
}

/// The texts of both splits, built with these flags.
fn built(flags: &[&str]) -> (Workplace, [Vec<String>; 2]) {
    let workplace = Workplace::with_datasets(SOURCES);
    // Repeated within a source, and across; by the draw of the splits also across those.
    workplace.write("one.jsonl", rows((0..40).chain(0..20)));
    workplace.write("two.jsonl", rows(30..70));
    workplace.run(&[&["--configs", "a", "--write_json"], flags].concat()).ok();
    let texts = ["train", "val"].map(|split| {
        let text = workplace.read(&format!("out/a-{split}.jsonl"));
        String::from_utf8(text).expect("ASCII").lines().map(String::from).collect()
    });
    (workplace, texts)
}

/// Compares with what removing lines from the texts of a plain run gives.
#[track_caller]
fn check(flags: &[&str], repeated: bool, train_in_val: bool) {
    let (_, mut expected) = built(&[]);
    let in_val: HashSet<String> = expected[1].iter().cloned().collect();
    if train_in_val {
        expected[0].retain(|text| !in_val.contains(text));
    }
    if repeated {
        for texts in &mut expected {
            let mut seen = HashSet::new();
            texts.retain(|text| seen.insert(text.clone()));
        }
    }
    for threads in ["1", "3"] {
        let (_, found) = built(&[flags, &["--threads", threads]].concat());
        assert_eq!(found, expected, "{threads} threads");
    }
}

#[test]
fn a_conversation_that_stands_earlier_in_its_split_is_left_out() {
    check(&["--remove_duplicates", "true"], true, false);
}

#[test]
fn a_training_conversation_that_stands_in_validation_is_left_out() {
    check(&["--remove_train_in_val", "true"], false, true);
}

#[test]
fn both_are_counted_by_reason_for_each_source() {
    let flags = ["--remove_duplicates", "true", "--remove_train_in_val", "true"];
    check(&flags, true, true);
    let (workplace, [train, val]) = built(&flags);
    let manifest = workplace.manifest();
    let sources = manifest["splits"][0]["sources"].as_array().expect("a list");
    let mut documents = 0;
    for source in sources {
        let skipped = source["skipped"].as_object().expect("counts");
        let n_skipped: u64 = skipped.values().filter_map(serde_json::Value::as_u64).sum();
        let n = source["documents"].as_u64().expect("a number");
        assert_eq!(source["samples"], n + n_skipped);
        assert!(skipped["duplicate"].as_u64() > Some(0) && skipped["in_val"].as_u64() > Some(0));
        documents += n;
    }
    assert_eq!(documents, train.len() as u64);
    assert_eq!(sources[0]["samples"], 45);
    assert!(train.iter().all(|text| !val.contains(text)));
}

#[test]
fn parts_leave_out_what_a_run_on_one_machine_does() {
    let flags = ["--configs", "a", "--remove_duplicates", "true", "--remove_train_in_val", "true"];
    let (workplace, _) = built(&flags[2..]);
    workplace.check_parts(&[&flags[..], &["--write_json"]].concat());
}
