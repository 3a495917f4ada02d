//! The bytes of a build do not depend on how much of it is kept in memory, nor on the number of threads.
//!
//! One test: a datamix names its datasets relative to the working folder, which is the process's.

use std::collections::BTreeMap;
use std::path::Path;

use fs_err as fs;
use pretokenizer::build;
use pretokenizer::config::Datamix;
use pretokenizer::config::sections::Sections;
use pretokenizer::pipeline::Limits;
use pretokenizer::prepare::Options;
use serde_json::json;

/// Documents of one sample, joined ones, ones with wordings, and such that share a sample.
const DATAMIX: &str = "
a:
  datasets:
    - joke: {fraction: 0.7}
    - minimath: {fill_min_length: 3000}
    - xsum
    - dolphin-mix: {max_char_len: 2000}
    - oa_leet10k: {val_split: 0}
  vocab_file: demo.model
  tokenizer_type: SentencePieceTokenizer
  filename_prefix: a
  write_json: true
";

fn write(name: &str, rows: impl IntoIterator<Item = serde_json::Value>) {
    let path = Path::new(name);
    fs::create_dir_all(path.parent().expect("a file stands in a folder")).expect("writable");
    let lines: String = rows.into_iter().map(|row| format!("{row}\n")).collect();
    shards::atomic::write(path, lines.as_bytes()).expect("writable");
}

/// A text of its own for each number, of very different lengths.
fn text(i: usize) -> String {
    let words = ["one", "two ", "drei", "čtyři\n", "five, "];
    (0..i * 7919 % 997).map(|j| words[(i + j * j) % words.len()]).collect()
}

fn write_inputs() {
    let n = 150;
    write(
        ".cache/joke_explaination.jsonl",
        (0..n).map(|i| json!({"joke": text(i), "explaination": text(i + 1)})),
    );
    write(
        "kentsui/minimath/train.jsonl",
        (0..n).map(|i| json!({"question": text(2 * i), "answer": text(3 * i)})),
    );
    for (split, n) in [("train", n), ("validation", 30)] {
        let rows = (0..n).map(|i| json!({"document": text(i + 5), "summary": text(i + 6)}));
        write(&format!("xsum/{split}.jsonl"), rows);
    }
    let instruction = |i: usize| format!("instruction {}", i % 3);
    write(
        "ehartford/dolphin/flan5m-alpaca-uncensored.jsonl",
        (0..n).map(
            |i| json!({"instruction": instruction(i), "input": text(i), "output": text(i + 2)}),
        ),
    );
    let long = "a text that is longer than any block of the store. ".repeat(6000);
    write(
        "ehartford/oa_leet10k/train.jsonl",
        (0..2).map(|i| json!({"INSTRUCTION": format!("{i}"), "RESPONSE": format!("{long}{i}")})),
    );
}

fn built(datamix: &Datamix, options: &Options) -> BTreeMap<String, Vec<u8>> {
    build::build(datamix, options).expect("the datamix can be built");
    let mut files = BTreeMap::new();
    for entry in fs::read_dir("out").expect("it was written") {
        let path = entry.expect("readable").path();
        let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
        files.insert(name, fs::read(&path).expect("readable"));
    }
    fs::remove_dir_all("out").expect("it is ours");
    files
}

#[test]
fn any_limits_and_any_number_of_threads_give_the_same_bytes() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/demo/tokenizer.model");
    fs::copy(model, folder.path().join("demo.model")).expect("the demo has a tokenizer");
    std::env::set_current_dir(folder.path()).expect("it is there");
    write_inputs();
    shards::atomic::write(Path::new("a.yaml"), DATAMIX.as_bytes()).expect("writable");

    for (min_assistant_tokens, max_count, near_duplicates) in [
        (None, None, None),
        (None, Some(300), None),
        (Some(700), Some(20), None),
        (None, None, Some("{\"num_perm\": 16}")),
    ] {
        let sections = Sections::read(Path::new(".")).expect("it is written above");
        let mut section = sections.merge(&["a".into()]).expect("the section is there");
        section.set("output_dir", Some("out")).expect("a key");
        let min: Option<String> = min_assistant_tokens.map(|n: usize| n.to_string());
        section.set("min_assistant_tokens", min.as_deref()).expect("a key");
        section.set("remove_near_duplicates", near_duplicates).expect("a key");
        let datamix = Datamix::new(section).expect("a datamix");

        let options =
            |threads, limits| Options { threads, max_count, part: None, limits, ledger: None };
        let expected = built(&datamix, &options(1, Limits::default()));
        assert_eq!(expected.len(), 14);
        for (threads, limits) in [
            (4, Limits { store: 0, buckets: 0, bucket: 1 }),
            (2, Limits { store: 300_000, buckets: 50_000, bucket: 10_000 }),
        ] {
            let found = built(&datamix, &options(threads, limits));
            assert!(found.keys().eq(expected.keys()));
            for (name, bytes) in &expected {
                assert!(
                    found[name] == *bytes,
                    "`{name}` differs on {threads} threads with {limits:?}"
                );
            }
        }
    }
    let left: Vec<_> = fs::read_dir(".")
        .expect("readable")
        .filter_map(|it| it.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with('.') && name != ".cache")
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
