//! Keys of an entry, and what the reference's Python makes of zero, of an empty text and of null, which are no defaults.

use serde_json::{Value, json};

use crate::workplace::{Outcome, Workplace};

const JOKES: &str = ".cache/joke_explaination.jsonl";

fn lines(rows: impl IntoIterator<Item = Value>) -> String {
    rows.into_iter().map(|row| format!("{row}\n")).collect()
}

fn jokes(n: usize) -> String {
    lines((0..n).map(|i| json!({"joke": format!("q{i}"), "explaination": "a"})))
}

/// The texts of a split, in order.
fn texts(workplace: &Workplace, split: &str) -> Vec<String> {
    let lines = String::from_utf8(workplace.read(&format!("out/a-{split}.jsonl"))).expect("UTF-8");
    let text = |line| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        line["text"].as_str().expect("a text").to_owned()
    };
    lines.lines().map(text).collect()
}

fn build(workplace: &Workplace, datasets: &str, flags: &[&str]) -> Outcome {
    workplace.write_datasets(datasets);
    workplace.run(&[&["--configs", "a", "--write_json"], flags].concat())
}

/// How many documents each split has.
#[track_caller]
fn sizes(workplace: &Workplace, datasets: &str, flags: &[&str]) -> [usize; 2] {
    build(workplace, datasets, flags).ok();
    ["train", "val"].map(|split| texts(workplace, split).len())
}

/// What the user and the assistant say in a document of two turns.
fn turns(question: &str, answer: &str) -> String {
    format!("<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n{answer}<|im_end|>\n")
}

#[test]
fn a_limit_of_zero_is_no_limit() {
    let workplace = Workplace::with_datasets("[joke]");
    workplace.write(JOKES, jokes(20));
    let all = [16, 4];
    assert_eq!(sizes(&workplace, "[joke]", &[]), all);
    assert_eq!(sizes(&workplace, "[joke: {max_val_set: 0}]", &[]), all);
    assert_eq!(sizes(&workplace, "[joke]", &["--eval_size", "0"]), all);
    assert_eq!(sizes(&workplace, "[joke]", &["--max_count", "0"]), all);
    assert_eq!(sizes(&workplace, "[joke: {max_val_set: 3}]", &["--max_count", "2"]), [2, 2]);
}

/// Numpy's stream is the same behind it, so that the next dataset has the same validation set.
#[test]
fn a_limit_of_zero_draws_nothing() {
    let workplace = Workplace::with_datasets("[joke]");
    workplace.write(JOKES, jokes(20));
    let val = |first: &str| {
        build(&workplace, &format!("[joke: {{{first}}}, JOKE: {{max_val_set: 2}}]"), &[]).ok();
        texts(&workplace, "val").split_off(4)
    };
    assert_eq!(val("max_val_set: 0"), val("val_split: 0.2"));
}

#[test]
fn only_the_word_mmap_is_the_newer_format() {
    let workplace = Workplace::with_datasets("[joke]");
    workplace.write(JOKES, jokes(20));
    for (flags, magic) in [
        (&["--dataset_impl", "mmap"][..], b"MMIDIDX"),
        (&["--no-dataset_impl"], b"TNTIDX\0"),
        (&["--dataset_impl", "lazy"], b"TNTIDX\0"),
        (&["--dataset_impl="], b"TNTIDX\0"),
    ] {
        build(&workplace, "[joke]", flags).ok();
        assert!(workplace.read("out/a-train-text.idx").starts_with(magic), "{flags:?}");
    }
}

#[test]
fn no_files_are_all_files() {
    let workplace = Workplace::with_datasets("[joke]");
    let row = |text: &str| lines([json!({"prompt": text, "completion": text})]);
    workplace.write("rombodawg/MegaCodeTraining112k/RombosCodeTraining112k.json", row("named"));
    workplace.write("rombodawg/MegaCodeTraining112k/other.json", row("other"));
    let said = |data_files: &str| {
        build(&workplace, &format!("[megacode: {{val_split: 0{data_files}}}]"), &[]).ok();
        let mut texts = texts(&workplace, "train");
        texts.sort();
        texts
    };
    let [named, other] = ["named", "other"].map(|text| turns(text, text));
    assert_eq!(said(""), [&*named]);
    assert_eq!(said(", data_files: null"), [&*named, &*other]);
    assert_eq!(said(", data_files: other.json"), [other]);
}

#[test]
fn no_length_is_any_length() {
    let workplace = Workplace::with_datasets("[joke]");
    let long = "q".repeat(40_000);
    let file = "Aeala/ShareGPT_Vicuna_unfiltered/ShareGPT_V4.3_unfiltered_cleaned_split.json";
    let said = |who, what: &str| json!({"from": who, "value": what});
    workplace
        .write(file, lines([json!({"conversations": [said("human", &long), said("gpt", "a")]})]));
    let scene = json!({"narrative": "n", "speakers": ["A", "B"], "dialogue": ["q", long]});
    workplace.write("allenai/soda/train.jsonl", lines([scene]));
    let text = |entry: &str| {
        build(&workplace, &format!("[{entry}]"), &[]).ok();
        texts(&workplace, "train").remove(0)
    };
    assert_eq!(text("vicuna: {val_split: 0}"), turns(&long[..32_768], "a"));
    assert_eq!(text("vicuna: {val_split: 0, input_max_length: null}"), turns(&long, "a"));
    assert_eq!(text("vicuna: {val_split: 0, input_max_length: 3}"), turns("qqq", "a"));
    let question = "n You are B. q";
    assert_eq!(text("soda: {val_split: 0}"), turns(question, &long[..32_768]));
    assert_eq!(text("soda: {val_split: 0, input_max_length: }"), turns(question, &long));
}

#[test]
fn no_number_of_samples_is_all_of_them() {
    let workplace = Workplace::with_datasets("[joke]");
    let turn = |text: &str| json!({"USER": text, "ASSISTANT": text});
    let row = json!({"cluster": {"samples": [turn("1"), turn("2"), turn("3")]}});
    workplace.write("shahules786/megacode-best/train.jsonl", lines([row]));
    for (n, taken) in [("1", &["1"][..]), ("2", &["1", "2"]), ("null", &["1", "2", "3"])] {
        let entry = format!("[bestofmegacode: {{val_split: 0, rows_per_conv: {n}}}]");
        build(&workplace, &entry, &[]).ok();
        let expected: String = taken.iter().map(|text| turns(text, text)).collect();
        assert_eq!(texts(&workplace, "train"), [expected], "{n}");
    }
}

#[test]
fn all_or_nothing_may_validate_where_trees_instructions_and_chats_are_divided() {
    let workplace = Workplace::with_datasets("[joke]");
    let oig = (0..4).map(|i| json!({"text": format!("<human>: q{i} <bot>: a")}));
    workplace.write(".cache/o.jsonl", lines(oig));
    let alpaca =
        (0..4).map(|i| json!({"instruction": format!("q{i}"), "input": "", "output": "a"}));
    workplace.write("yahma/alpaca-cleaned/train.jsonl", lines(alpaca));
    let tree = |i| {
        let id = format!("t{i}");
        let reply = json!({"message_id": format!("r{i}"), "text": "a", "role": "assistant"});
        json!({"message_tree_id": id, "tree_state": "ready_for_export", "prompt": {
            "message_id": id, "text": "q", "role": "prompter", "lang": "en", "review_result": true, "replies": [reply],
        }})
    };
    workplace.write(".cache/t.jsonl", lines((0..4).map(tree)));
    for entry in [
        "oig_file: {source_url: x/o.jsonl, min_length: null, no_cache: false",
        "alpaca: {manual_seed: 3",
        "oasst_export: {input_file_path: t.jsonl",
    ] {
        let sizes = |share: &str| {
            let entry = format!("[{entry}, val_split: {share}}}]");
            build(&workplace, &entry, &[]).ok();
            ["train", "val"].map(|split| texts(&workplace, split).len())
        };
        for (share, expected) in [("1.0", [0, 4]), ("1", [0, 4]), ("0", [4, 0]), ("false", [4, 0])]
        {
            assert_eq!(sizes(share), expected, "{entry}, {share}");
        }
    }
    // The other way of dividing knows no share of all, and `false` is zero to it as well.
    workplace.write(JOKES, jokes(4));
    let outcome = build(&workplace, "[joke: {val_split: 1.0}]", &[]);
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.err.contains("which leaves none to train on"), "{}", outcome.err);
    build(&workplace, "[joke: {val_split: false}]", &[]).ok();
    assert_eq!(texts(&workplace, "train").len(), 4);
}

#[test]
fn an_empty_path_is_none() {
    let workplace = Workplace::with_datasets("[joke]");
    workplace.write(JOKES, jokes(20));
    assert_eq!(sizes(&workplace, "[joke: {data_path: \"\"}]", &[]), [16, 4]);
    for (split, id) in [("train", "t"), ("validation", "v")] {
        let message = |id: &str, parent: Option<&str>, role: &str| {
            json!({
                "message_id": id, "parent_id": parent, "text": id, "role": role, "lang": "en",
                "review_result": true, "tree_state": "ready_for_export",
            })
        };
        let reply = format!("{id}-a");
        let rows = [message(id, None, "prompter"), message(&reply, Some(id), "assistant")];
        workplace.write(&format!("OpenAssistant/oasst1/{split}.jsonl"), lines(rows));
    }
    let entry = "[oasst_export: {input_file_path: \"\", val_split: 0}]";
    build(&workplace, entry, &[]).ok();
    let mut texts = texts(&workplace, "train");
    texts.sort();
    assert_eq!(texts, [turns("t", "t-a"), turns("v", "v-a")]);
}

#[test]
fn files_whose_names_begin_with_a_dot_are_passed_over() {
    let workplace = Workplace::with_datasets("[joke]");
    let row = |text: &str| {
        lines([json!({"text": "t", "translate": [{"round": 1, "human": text, "answer": "a"}]})])
    };
    workplace.write(".cache/oa_translated/a.jsonl", row("seen"));
    workplace.write(".cache/oa_translated/.b.jsonl", row("hidden"));
    build(&workplace, "[oa_translated: {val_split: 0}]", &[]).ok();
    let texts = texts(&workplace, "train");
    assert_eq!(texts.len(), 1);
    assert!(texts[0].contains("seen"), "{}", texts[0]);
}

#[test]
fn two_slashes_at_the_beginning_of_a_path_stay() {
    let workplace = Workplace::with_datasets("[joke]");
    workplace.write(JOKES, jokes(20));
    let folder = workplace.path().to_str().expect("UTF-8");
    let output_dir = format!("/{folder}//out");
    build(&workplace, "[joke]", &["--output_dir", &output_dir]).ok();
    let stats = String::from_utf8(workplace.read("out/a-train_stats.txt")).expect("UTF-8");
    // python -c "import pathlib; print(pathlib.PurePosixPath('//a//out') / 'a-train')" writes //a/out/a-train
    assert_eq!(stats.lines().nth(1), Some(&*format!("# Stats for /{folder}/out/a-train*")));
}

#[test]
fn keys_that_the_reference_knows_are_taken_and_what_cannot_be_done_is_refused() {
    let workplace = Workplace::with_datasets("[joke]");
    let row = json!({"instruction": "", "cluster": {"samples": [{"input": "q", "output": "a"}]}});
    workplace.write("shahules786/orca-best/train.jsonl", lines([row]));
    build(&workplace, "[orca-chat: {val_split: 0, use_auth_token: true}]", &[]).ok();
    let outcome = build(&workplace, "[oig_file: {source_url: x/o.jsonl, no_cache: true}]", &[]);
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.err.contains("a.yaml:2:14: `no_cache: true` of `oig_file`"), "{}", outcome.err);
}

#[test]
fn the_fraction_of_an_extra_dataset_is_passed_over_whatever_it_is() {
    let workplace = Workplace::with_datasets("[joke]");
    workplace.write(JOKES, jokes(20));
    let extra = "[joke]\n  datasets_extra: [{JOKE: {fraction: 0}}]";
    assert_eq!(sizes(&workplace, extra, &[]), [32, 8]);
    let outcome = build(&workplace, "[joke: {fraction: 0}]", &[]);
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.err.contains("`fraction: 0` of `joke` must be above 0"), "{}", outcome.err);
}

#[test]
fn a_dataset_of_which_nothing_is_taken_is_told_of() {
    let workplace = Workplace::with_datasets("[joke]");
    workplace.write(JOKES, jokes(20));
    for key in ["size: 0", "fraction: 0.01"] {
        let outcome = build(&workplace, &format!("[joke: {{{key}}}]"), &[]).ok();
        let expected = "warning: `joke` gives nothing to the split `train`: its `fraction` or `size` takes none of 16 samples";
        assert!(outcome.err.contains(expected), "{}", outcome.err);
    }
}

#[test]
fn a_vocabulary_that_the_fast_encoder_does_not_take_is_told() {
    let workplace = Workplace::with_datasets("[joke: {val_split: 0}]");
    workplace.write(JOKES, jokes(20));
    let told = |workplace: &Workplace| {
        let outcome = workplace.run(&["--configs", "a"]).ok();
        let lines = outcome.err.lines().filter(|line| line.contains("vocab_file"));
        lines.map(String::from).collect::<Vec<_>>()
    };
    assert!(told(&workplace).is_empty());
    // One more piece, of 128 bytes: parts of a protobuf message are only joined.
    let piece = [&[0x0a, 0x80, 0x01][..], "=".repeat(128).as_bytes()].concat();
    let model = workplace.read("demo.model");
    workplace.write("demo.model", [&model[..], &[0x0a, 0x83, 0x01], &piece].concat());
    let expected = "note: `vocab_file: demo.model`: texts are encoded at a tenth of the usual speed, since a piece has 128 bytes, more than 127";
    assert_eq!(told(&workplace), [expected]);
}
