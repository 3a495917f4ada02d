//! The ledger: a line for every row, whose counts are the manifest's.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::workplace::{JOKES, Workplace, jokes};

/// Why documents are left out before they are planned; the manifest counts those that were.
const NOT_PLANNED: [&str; 6] = [
    "fraction",
    "size",
    "max_val_set",
    "eval_size",
    "max_count",
    "name stands twice in the datamix",
];

fn lines(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

/// (source, split, reason) -> how often. Without a split, rows are meant.
type Counts = BTreeMap<(String, String, String), u64>;

/// Where each row's document of a split would stand, and how often rows were left out.
fn counts(lines: &[Value]) -> Counts {
    let mut counts = Counts::new();
    let mut kept = BTreeSet::new();
    for line in lines {
        let source = text(line, "source");
        let mut count = |split: &str, reason: &str| {
            *counts.entry((source.into(), split.into(), reason.into())).or_default() += 1;
        };
        for it in list(line, "dropped") {
            count(text(it, "split"), text(it, "reason"));
        }
        for it in list(line, "kept") {
            if kept.insert((text(it, "split"), it["document"].as_u64())) {
                count(text(it, "split"), "kept");
                if it["truncated"] == true {
                    count(text(it, "split"), "truncated");
                }
            }
        }
        let is_told = !list(line, "kept").is_empty() || !list(line, "dropped").is_empty();
        assert!(is_told || line["tree"].is_string(), "nothing is said of {line}");
    }
    counts.retain(|(_, _, reason), _| !NOT_PLANNED.contains(&reason.as_str()));
    counts
}

/// The same, as the manifest has it.
fn of_manifest(manifest: &Value) -> Counts {
    let mut counts = Counts::new();
    let mut count = |source: &Value, split: &str, reasons: &Value| {
        for (reason, n) in reasons.as_object().expect("counts by reason") {
            let key = (text(source, "name").to_string(), split.to_string(), reason.clone());
            *counts.entry(key).or_default() += n.as_u64().expect("a number");
        }
    };
    for source in list(manifest, "sources_read") {
        count(source, "", &source["dropped"]);
    }
    for split in list(manifest, "splits") {
        for source in list(split, "sources") {
            count(source, text(split, "name"), &source["skipped"]);
            count(source, text(split, "name"), &json!({"kept": source["documents"]}));
            count(
                source,
                text(split, "name"),
                &json!({"truncated": source["truncated"].as_u64().unwrap_or(0)}),
            );
        }
    }
    counts.retain(|_, n| *n > 0);
    counts
}

/// Builds with a ledger, on one thread, on three and in three parts: the bytes are the same, and the counts those of the
/// manifest.
#[track_caller]
fn check(workplace: &Workplace, flags: &[&str]) -> Vec<Value> {
    let with = |more: &[&str]| {
        workplace.run(&[flags, &["--ledger", "ledger.jsonl"], more].concat()).ok();
        workplace.read("ledger.jsonl")
    };
    let ledger = with(&["--threads", "1"]);
    assert!(ledger == with(&["--threads", "3"]), "the ledger depends on the number of threads");
    let lines = lines(&ledger);
    assert_eq!(counts(&lines), of_manifest(&workplace.manifest()));

    for part in ["1/3", "2/3", "3/3"] {
        workplace.run(&[flags, &["--ledger", "merged.jsonl.gz", "--part", part]].concat()).ok();
    }
    let merged = workplace.subcommand("merge", &["out.parts"]).status();
    assert!(merged.expect("it can be started").success());
    let mut merged = Vec::new();
    let packed = workplace.read("merged.jsonl.gz");
    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut merged).expect("gzip");
    assert!(ledger == merged, "the ledger of parts differs");
    lines
}

/// Messages whose answer has so many words.
fn row(question: &str, words: usize) -> Value {
    let answer = "word ".repeat(words);
    json!({"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]})
}

#[test]
fn every_row_of_the_demo_is_kept_or_dropped() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/demo");
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/datamix");
    let configs = configs.to_str().expect("the path is UTF-8");
    let workplace = Workplace::linking(&data);
    let flags = ["--config-dir", configs, "--configs", "demo", "--output_dir", "out"];
    let lines = check(&workplace, &flags);
    assert_eq!(lines.iter().filter(|it| it["source"] == "orca-chat").count(), 896);
    // What a line names is what stands there.
    let trees = lines.iter().filter(|it| it["source"] == "oasst_export");
    let mut packed = &workplace.read("oasst/trees.jsonl.gz")[..];
    let mut export = String::new();
    flate2::read::MultiGzDecoder::new(&mut packed).read_to_string(&mut export).expect("gzip");
    let mut rows = 0;
    for (line, tree) in trees.zip(export.lines().filter(|it| !it.is_empty())) {
        let tree: Value = serde_json::from_str(tree).expect("a tree");
        assert_eq!(line["id"], tree["message_tree_id"]);
        rows += 1;
    }
    assert!(rows > 0 && export.lines().filter(|it| !it.is_empty()).count() == rows);
}

/// Everything that can happen to a row, at once.
fn everything() -> Workplace {
    let workplace = Workplace::with_datasets(
        "[messages: {name: chats, path: chats.jsonl, val_split: 0.3, max_val_set: 9, fraction: 0.9}, \
          minimath: {fill_min_length: 40}, trivia_qa_nocontext, \
          oasst_export: {input_file_path: messages.jsonl, val_split: 0.5}, \
          red_pajama: {max_chunk_size: 20, size: 10}]",
    );
    let mut chats: Vec<String> =
        (0..60).map(|i| row(&format!("q{}", i % 40), i % 8).to_string()).collect();
    chats[3] = "{\"messages\": 7}".into();
    chats[17] = "no JSON".into();
    chats[20] = json!({"messages": []}).to_string();
    workplace.write("chats.jsonl", chats.join("\n\n"));
    let jsonl =
        |rows: Vec<Value>| -> String { rows.iter().map(|row| format!("{row}\n")).collect() };
    let sum = |i| json!({"question": format!("{i}"), "answer": if i % 5 == 0 { "" } else { "a" }});
    workplace.write("kentsui/minimath/train.jsonl", jsonl((0..40).map(sum).collect()));
    let trivia = |i| json!({"question": format!("t{i}"), "answer": {"aliases": ["x", "y", "z"]}});
    for split in ["train", "validation"] {
        workplace.write(&format!("trivia_qa/{split}.jsonl"), jsonl((0..9).map(trivia).collect()));
    }
    let message = |id: &str, parent: Option<&str>, role: &str| {
        json!({"message_id": id, "parent_id": parent, "text": format!("the message {id}"), "role": role, "lang": "en", "review_result": true,
            "tree_state": "ready_for_export"})
    };
    let mut messages = Vec::new();
    for i in 0..8 {
        let [tree, one, two] = ["t", "a", "b"].map(|it| format!("{it}{i}"));
        messages.push(message(&tree, None, "prompter"));
        messages.push(message(&one, Some(&tree), "assistant"));
        messages.push(message(&two, Some(if i == 5 { "nobody" } else { &tree }), "assistant"));
    }
    messages[0]["lang"] = json!("de");
    workplace.write(".cache/messages.jsonl", jsonl(messages));
    let page = |i: usize| json!({"text": "x".repeat(i * 7)});
    workplace.write(
        "togethercomputer/RedPajama-Data-1T-Sample/p.jsonl",
        jsonl((0..9).map(page).collect()),
    );
    workplace
}

/// The flags that switch all of it on.
fn switches() -> Vec<&'static str> {
    let flags = "--configs a --on_error skip --remove_duplicates true --remove_near_duplicates true \
                 --remove_train_in_val true --min_assistant_tokens 9 --eval_size 6";
    flags.split_whitespace().collect()
}

/// A line for each way in which rows of a source ended.
#[track_caller]
fn check_ways(lines: &[Value], source: &str, expected: &Expect) {
    let mut ways = BTreeMap::new();
    for line in lines.iter().filter(|it| it["source"] == source) {
        let kept = list(line, "kept").iter().map(|it| {
            let cut = if it["truncated"] == true { ", truncated" } else { "" };
            format!("kept in {}{cut}", text(it, "split"))
        });
        let dropped = list(line, "dropped").iter().map(|it| {
            let split = text(it, "split");
            format!(
                "{}{}",
                if split.is_empty() { String::new() } else { format!("{split}: ") },
                text(it, "reason")
            )
        });
        let tree = line["tree"].as_str().map(|_| "message of a tree".to_string());
        for way in kept.chain(dropped).chain(tree) {
            *ways.entry(way).or_insert(0) += 1;
        }
    }
    let ways: Vec<_> = ways.iter().map(|(way, n)| format!("{n} {way}\n")).collect();
    expected.assert_eq(&ways.concat());
}

#[test]
fn its_counts_are_the_manifests_whatever_happens_to_a_row() {
    let workplace = everything();
    let lines = check(&workplace, &switches());
    check_ways(
        &lines,
        "chats",
        &expect![[r#"
            1 bad row: not JSON
            1 bad row: wrong type
            23 kept in train
            4 kept in val
            1 no messages
            7 train: duplicate
            4 train: fraction
            2 train: in_val
            3 train: min_assistant_tokens
            1 val: duplicate
            3 val: eval_size
            9 val: max_val_set
            1 val: min_assistant_tokens
        "#]],
    );
    check_ways(
        &lines,
        "minimath",
        &expect![[r#"
            8 empty
            17 kept in train
            15 kept in val
        "#]],
    );
    check_ways(
        &lines,
        "trivia_qa_nocontext",
        &expect![[r#"
            6 train: in_val
            3 train: min_assistant_tokens
            3 val: eval_size
            6 val: min_assistant_tokens
        "#]],
    );
    check_ways(
        &lines,
        "oasst_export",
        &expect![[r#"
            1 another language
            1 bad row: not as expected
            7 kept in train
            6 kept in val
            16 message of a tree
        "#]],
    );
    check_ways(
        &lines,
        "red_pajama",
        &expect![[r#"
            1 empty
            7 train: in_val
            3 train: min_assistant_tokens
            3 train: size
            4 val: min_assistant_tokens
        "#]],
    );
}

#[test]
fn its_counts_are_the_manifests_whatever_the_options_leave_out_or_cut() {
    let workplace = Workplace::with_datasets(
        "[messages: {name: chats, path: chats.jsonl, val_split: 0.25, lang: [en], detect_lang: true, min_chars: 9, roles: {tool: drop}}, \
          instructions: {name: faq, path: faq.jsonl, lang: de, lang_column: lang, val_split: 5}, \
          oa_leet10k: {val_split: 0.2}, oa_leet10k: {val_split: 0.4, seed: 1}, \
          text: {name: pages, path: pages.jsonl, val_split: 0}]\n  max_tokens: 60\n  too_long: truncate\n  chat_template: t.jinja\n  on_template_error: skip",
    );
    workplace.write(
        "t.jinja",
        "{% for m in messages %}{% if 'secret' in m.content %}{{ raise_exception('a secret') }}{% endif %}\
         {{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}",
    );
    let chat = |i: usize| {
        let question = [
            "Where is the river, and how does one get there?",
            "Wo ist der Fluss, und wie kommt man dorthin?",
            "Hm",
            "x9!",
        ][i % 4];
        let mut row = row(&format!("{question} {}", i / 8), 3 + i % 3);
        match i % 10 {
            3 => row["messages"][1]["role"] = json!("tool"),
            4 => row["messages"][0]["content"] = json!("This is the secret of the old river."),
            8 => {
                let long = json!({"role": "user", "content": "and the long way home ".repeat(20)});
                row["messages"].as_array_mut().expect("a list").push(long);
            }
            _ => {}
        }
        row
    };
    let jsonl =
        |rows: Vec<Value>| -> String { rows.iter().map(|row| format!("{row}\n")).collect() };
    workplace.write("chats.jsonl", jsonl((0..80).map(chat).collect()));
    let faq = |i: usize| json!({"instruction": format!("Frage {}", i % 25), "output": "Antwort ".repeat(i % 9), "lang": (if i.is_multiple_of(2) { "de" } else { "en" })});
    workplace.write("faq.jsonl", jsonl((0..60).map(faq).collect()));
    let code = |i: usize| {
        let answer = ["As a language model, no", "yes", ""][i % 3];
        json!({"INSTRUCTION": format!("q{i}"), "RESPONSE": answer})
    };
    workplace.write("ehartford/oa_leet10k/train.jsonl", jsonl((0..20).map(code).collect()));
    let page = |i: usize| json!({"text": "the wide river and the small house ".repeat(i)});
    workplace.write("pages.jsonl", jsonl((0..8).map(page).collect()));
    let flags = "--configs a --remove_near_duplicates true --remove_train_in_val true --min_assistant_tokens 10 --eval_size 9";
    let lines = check(&workplace, &flags.split(' ').collect::<Vec<_>>());
    for (source, expected) in [
        (
            "chats",
            expect![[r#"
            8 a role that the datamix drops
            44 another language
            3 kept in train
            8 kept in train, truncated
            5 kept in val
            1 train: in_val
            1 train: near_duplicate
            8 train: near_in_val
            1 val: chat_template
            1 val: near_duplicate
        "#]],
        ),
        (
            "faq",
            expect![[r#"
            30 another language
            4 empty
            19 kept in train
            4 kept in val
            2 train: too_long
            1 val: too_long
        "#]],
        ),
        (
            "oa_leet10k",
            expect![[r#"
            12 empty
            2 train: in_val
            4 train: min_assistant_tokens
            3 train: near_duplicate
            3 val: min_assistant_tokens
            2 val: name stands twice in the datamix
            14 word filter
        "#]],
        ),
        (
            "pages",
            expect![[r#"
            1 empty
            2 kept in train
            5 train: near_duplicate
        "#]],
        ),
    ] {
        check_ways(&lines, source, &expected);
    }
}

#[test]
fn a_file_for_it_that_cannot_be_written_is_refused_before_anything_is_read() {
    // There are no jokes: whoever looks for them first fails over that.
    let workplace = Workplace::with_datasets("[joke]");
    let check = |path: &str, expected: &str| {
        let outcome = workplace.run(&["--configs", "a", "--ledger", path]);
        assert_eq!(outcome.code, Some(2));
        assert!(outcome.err.contains(expected), "{}", outcome.err);
    };
    check("nowhere/ledger.jsonl", "`--ledger nowhere/ledger.jsonl`: there is no folder `nowhere`");
    check("configs", "`--ledger configs`: this is a folder");
}

#[test]
fn a_document_is_told_of_that_stands_behind_some_that_are_left_out() {
    let entry = "messages: {name: chats, path: chats.jsonl, val_split: 2}";
    let workplace = Workplace::with_datasets(&format!("[{entry}]"));
    let rows = (0..30).map(|i| format!("{}\n", row("q", i % 2 * 10)));
    workplace.write("chats.jsonl", rows.collect::<String>());
    let flags = ["--configs", "a", "--max_count", "5", "--min_assistant_tokens", "12"];
    workplace.run(&[&flags[..], &["--ledger", "ledger.jsonl"]].concat()).ok();
    let found = counts(&lines(&workplace.read("ledger.jsonl")));
    assert_eq!(found, of_manifest(&workplace.manifest()));
    let n = |reason: &str| found[&("chats".into(), "train".into(), reason.into())];
    assert!(n("kept") == 5 && n("min_assistant_tokens") > 2, "{found:?}");
}

#[test]
fn what_a_killed_run_left_of_it_goes_with_the_next_run() {
    let workplace = Workplace::with_datasets("[joke]");
    workplace.write(JOKES, jokes(5));
    workplace.write(".ledger.jsonl.partial-4194305", "{");
    check(&workplace, &["--configs", "a"]);
    assert!(!workplace.path().join(".ledger.jsonl.partial-4194305").exists());
}

#[test]
fn a_line_says_where_its_row_stands_and_where_its_documents_do() {
    let workplace = everything();
    workplace.run(&[&switches()[..], &["--ledger", "l.jsonl", "--write_json"]].concat()).ok();
    let text = workplace.read("l.jsonl");
    let of_messages = lines(&text).into_iter().filter(|it| it["source"] == "oasst_export");
    let shown: Vec<_> = of_messages.map(|it| it.to_string()).take(6).collect();
    expect![[r#"
        {"source":"oasst_export","file":".cache/messages.jsonl","row":1,"id":"t0","dropped":[{"reason":"another language"}]}
        {"source":"oasst_export","file":".cache/messages.jsonl","row":2,"id":"a0","tree":"t0"}
        {"source":"oasst_export","file":".cache/messages.jsonl","row":3,"id":"b0","tree":"t0"}
        {"source":"oasst_export","file":".cache/messages.jsonl","row":4,"id":"t1","kept":[{"split":"val","document":5,"message":"a1"},{"split":"val","document":6,"message":"b1"}]}
        {"source":"oasst_export","file":".cache/messages.jsonl","row":5,"id":"a1","tree":"t1"}
        {"source":"oasst_export","file":".cache/messages.jsonl","row":6,"id":"b1","tree":"t1"}"#]].assert_eq(&shown.join("\n"));
    // The documents are those of the rows: their texts say which.
    let chats = String::from_utf8(workplace.read("chats.jsonl")).expect("UTF-8");
    let chats: Vec<&str> = chats.lines().collect();
    let documents = |split: &str| {
        let json = String::from_utf8(workplace.read(&format!("out/a-{split}.jsonl")));
        json.expect("ASCII").lines().map(String::from).collect::<Vec<_>>()
    };
    let (train, val) = (documents("train"), documents("val"));
    let mut n = 0;
    for line in lines(&text).iter().filter(|it| it["source"] == "chats") {
        let place = line["row"].as_u64().and_then(|row| usize::try_from(row).ok()).expect("a row");
        for kept in list(line, "kept") {
            let documents = if kept["split"] == "train" { &train } else { &val };
            let document = kept["document"].as_u64().and_then(|it| usize::try_from(it).ok());
            let row: Value = serde_json::from_str(chats[place - 1]).expect("a row that was kept");
            let said = row["messages"][0]["content"].as_str().expect("a text");
            assert!(documents[document.expect("a number")].contains(&format!("{said}<|im_end|>")));
            n += 1;
        }
    }
    assert!(n > 10);
}
