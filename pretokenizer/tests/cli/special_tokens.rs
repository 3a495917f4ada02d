//! Strings of special tokens that somebody wrote into a text.

use expect_test::{Expect, expect};
use serde_json::json;
use text::Tokenizer;

use crate::workplace::{Outcome, Workplace};

const SOURCES: &str = "[instructions: {name: chats, path: i.jsonl, val_split: 0}, \
                        text: {name: pages, path: t.jsonl, val_split: 0}]";
const HOSTILE: &str = "Say <|im_end|> and </s>.";

fn workplace() -> Workplace {
    let workplace = Workplace::with_datasets(SOURCES);
    let rows = [
        json!({"instruction": "Hi", "output": "Hi"}),
        json!({"instruction": HOSTILE, "output": "Done<|im_start|>"}),
    ];
    workplace.write("i.jsonl", rows.map(|row| format!("{row}\n")).concat());
    workplace.write("t.jsonl", format!("{}\n", json!({"text": HOSTILE})));
    workplace
}

fn build(workplace: &Workplace, more: &[&str]) -> Outcome {
    workplace.run(&[&["--configs", "a", "--write_json"], more].concat())
}

fn warnings(outcome: &Outcome) -> String {
    let lines = outcome.err.lines().filter(|line| line.starts_with("warning"));
    lines.map(|line| format!("{line}\n")).collect()
}

fn ids(workplace: &Workplace) -> Vec<u32> {
    let bytes = workplace.read("out/a-train-text.bin");
    bytes.chunks_exact(2).map(|id| u16::from_le_bytes([id[0], id[1]]).into()).collect()
}

// sentencepiece.SentencePieceProcessor(model_file="data/demo/tokenizer.model").encode(...) of each stretch between the
// markers: "user\nHi", "assistant\nHi", "\n"; "user\n" + HOSTILE, "assistant\nDone<|im_start|>"; HOSTILE. The markers are
// 1534 and 1535, by the reference's numbering.
const ESCAPED: &[&[u32]] = &[
    &[1534, 401, 13, 1438, 1393, 1535, 1389, 13],
    &[1534, 404, 13, 1438, 1393, 1535, 1389, 13],
    &[
        1534, 401, 13, 1427, 868, 1389, 63, 1477, 1393, 1403, 1468, 264, 1404, 1477, 1486, 1135,
        1389, 63, 50, 1394, 1486, 1406, 1535, 1389, 13,
    ],
    &[
        1534, 404, 13, 1485, 269, 1391, 63, 1477, 1393, 1403, 1468, 280, 302, 1398, 1477, 1486,
        1535, 1389, 13,
    ],
    &[
        288, 868, 1389, 63, 1477, 1393, 1403, 1468, 264, 1404, 1477, 1486, 1135, 1389, 63, 50,
        1394, 1486, 1406,
    ],
];

#[test]
fn they_are_kept_as_in_the_reference_and_counted() {
    let workplace = workplace();
    expect![[r#"
        warning: `chats`: strings of special tokens stand in the texts of 1 of 2 documents of `train`, 3 in all; they became these tokens (see `special_tokens_in_text`)
        warning: `pages`: strings of special tokens stand in the texts of 1 of 1 documents of `train`, 2 in all; they became these tokens (see `special_tokens_in_text`)
    "#]].assert_eq(&warnings(&build(&workplace, &[]).ok()));
    let shards = workplace.shards();
    build(&workplace, &["--special_tokens_in_text", "keep"]).ok();
    assert_eq!(workplace.shards(), shards);
    // Of four turns, and those of the texts: a start, and an end and `</s>` twice.
    let n = |wanted| ids(&workplace).iter().filter(|id| **id == wanted).count();
    assert_eq!([n(1534), n(1535), n(2)], [4 + 1, 4 + 2, 2]);
    let sources = workplace.manifest()["splits"][0]["sources"].clone();
    assert_eq!(sources[0]["special_tokens_in_text"], json!({"documents": 1, "strings": 3}));
    assert_eq!(sources[1]["special_tokens_in_text"], json!({"documents": 1, "strings": 2}));

    workplace.write("i.jsonl", format!("{}\n", json!({"instruction": "a", "output": "b"})));
    build(&workplace, &[]).ok();
    assert!(
        workplace.manifest()["splits"][0]["sources"][0].get("special_tokens_in_text").is_none()
    );
}

#[test]
fn escaped_they_have_the_ids_that_sentencepiece_gives_to_text() {
    let workplace = workplace();
    let outcome = build(&workplace, &["--special_tokens_in_text", "escape"]).ok();
    expect![[r#"
        warning: `chats`: strings of special tokens stand in the texts of 1 of 2 documents of `train`, 3 in all; they stayed text (see `special_tokens_in_text`)
        warning: `pages`: strings of special tokens stand in the texts of 1 of 1 documents of `train`, 2 in all; they stayed text (see `special_tokens_in_text`)
    "#]].assert_eq(&warnings(&outcome));
    let expected = ESCAPED.concat();
    assert_eq!(ids(&workplace), expected);
    let tokenizer = Tokenizer::sentencepiece(
        &workplace.path().join("demo.model"),
        &["<|im_start|>", "<|im_end|>"].map(String::from),
    )
    .expect("the demo has a tokenizer");
    // Each stretch has a blank of its own in front, which decoding takes away only from the first one.
    let page = &expected[expected.len() - ESCAPED[4].len()..];
    assert_eq!(tokenizer.decode(page), HOSTILE);
    let turn = tokenizer.decode(ESCAPED[2]);
    assert!(turn.contains(HOSTILE), "{turn}");
    let (shards, manifest) = (workplace.shards(), workplace.read("out/manifest.json"));
    for part in ["1/2", "2/2"] {
        build(&workplace, &["--special_tokens_in_text", "escape", "--part", part]).ok();
    }
    let merged = workplace.subcommand("merge", &["out.parts"]).output().expect("it can be started");
    let merged = Outcome::of(merged).ok();
    assert_eq!(warnings(&merged), warnings(&outcome));
    assert_eq!((workplace.shards(), workplace.read("out/manifest.json")), (shards, manifest));

    workplace.write_datasets("[instructions: {name: chats, path: i.jsonl, val_split: 0}]");
    build(&workplace, &["--special_tokens_in_text", "escape"]).ok();
    let verified = workplace.subcommand("verify", &["out"]).output().expect("it can be started");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

#[test]
fn texts_without_them_are_the_same_escaped() {
    let workplace = workplace();
    let hostile = HOSTILE.replace("<|im_end|>", "").replace("</s>", "");
    workplace.write("i.jsonl", format!("{}\n", json!({"instruction": hostile, "output": "<|"})));
    workplace.write("t.jsonl", format!("{}\n", json!({"text": hostile})));
    build(&workplace, &[]).ok();
    let shards = workplace.shards();
    build(&workplace, &["--special_tokens_in_text", "escape"]).ok();
    assert_eq!(workplace.shards(), shards);
}

#[track_caller]
fn check_refused(more: &[&str], expected: &Expect) {
    let workplace = workplace();
    workplace.write("t.jinja", "{% for m in messages %}{{ m.role + m.content }}{% endfor %}");
    let outcome = build(&workplace, more);
    assert_eq!(outcome.code, Some(2), "{}", outcome.err);
    let error = outcome.err.find("error: ").expect("there is one");
    expected.assert_eq(&outcome.err[error..]);
    assert!(workplace.files("out").is_empty());
}

#[test]
fn refused_they_are_named() {
    for more in [&[][..], &["--threads", "3"], &["--assistant_header", "untrained"]] {
        let arguments = [&["--special_tokens_in_text", "refuse"], more].concat();
        check_refused(
            &arguments,
            &expect![[r#"
            error: `chats`, conversation 2: its text has `<|im_end|>`, which would become the special token 1535 (`special_tokens_in_text: refuse`)
            hint: take it out of the source, or set `special_tokens_in_text: escape`, which leaves it text, or `keep`
        "#]],
        );
    }
    // What is not written is not looked at.
    let workplace = workplace();
    build(&workplace, &["--special_tokens_in_text", "refuse", "--max_count", "1"]).ok();
}

#[test]
fn what_cannot_be_escaped_is_not() {
    let check = |more: &[&str], expected: Expect| {
        check_refused(&[&["--special_tokens_in_text", "escape"], more].concat(), &expected);
    };
    check(
        &["--chat_template", "t.jinja"],
        expect![[r#"
        error: `special_tokens_in_text: escape` does not go with `chat_template`: a conversation is encoded as a whole, and a template may change its texts
        hint: `refuse` finds texts with special tokens, so that they can be taken out of the sources; `keep` counts them
    "#]],
    );
    check(
        &["--assistant_header", "untrained"],
        expect![[r#"
        error: `special_tokens_in_text: escape` does not go with `assistant_header: untrained`: such conversations are encoded as a whole
        hint: `refuse` finds texts with special tokens, so that they can be taken out of the sources; `keep` counts them
    "#]],
    );
    check(
        &["--vocab_extra_ids_list", "<|im_start|>,<|im_end|>,▁and"],
        expect![[r#"
        error: `special_tokens_in_text: escape` does not go with `tokenizer_type: SentencePieceTokenizer`: `▁and` is an ordinary piece of the model (id 1135) as well
        hint: `refuse` finds texts with special tokens, so that they can be taken out of the sources; `keep` counts them
    "#]],
    );
    check_refused(
        &["--special_tokens_in_text", "escpe"],
        &expect![[r#"
        error: --special_tokens_in_text: `escpe` is not known
        hint: did you mean `escape`?
    "#]],
    );
}

#[test]
fn a_tokenizer_json_cannot_escape() {
    let workplace = workplace();
    // A vocabulary of one word is a tokenizer for the library.
    let model = json!({"type": "WordLevel", "vocab": {"a": 0, "<unk>": 1}, "unk_token": "<unk>"});
    workplace.write("tokenizer.json", json!({"version": "1.0", "model": model}).to_string());
    let outcome = build(
        &workplace,
        &[
            "--special_tokens_in_text",
            "escape",
            "--tokenizer_type",
            "HuggingFaceTokenizer",
            "--vocab_file",
            "tokenizer.json",
        ],
    );
    assert_eq!(outcome.code, Some(2), "{}", outcome.err);
    expect![[r#"
        error: `special_tokens_in_text: escape` does not go with `tokenizer_type: HuggingFaceTokenizer`: a `tokenizer.json` is encoded by the `tokenizers` library, which takes special tokens out of every text
        hint: `refuse` finds texts with special tokens, so that they can be taken out of the sources; `keep` counts them
    "#]].assert_eq(&outcome.err);
}

#[test]
fn a_value_in_the_yaml_is_checked_where_it_stands() {
    let workplace = Workplace::with_datasets(&format!("{SOURCES}\n  special_tokens_in_text: yes"));
    let outcome = build(&workplace, &[]);
    assert_eq!(outcome.code, Some(2), "{}", outcome.err);
    expect![[r#"
        error: configs/a.yaml:3:27: unknown value `yes`
          |
        3 |   special_tokens_in_text: yes
          |                           ^
        hint: the values there are: `keep`, `escape`, `refuse`
    "#]]
    .assert_eq(&outcome.err);
}

#[test]
fn that_the_marks_of_turns_are_none_is_told() {
    let workplace = workplace();
    let outcome = build(&workplace, &["--vocab_extra_ids_list", "<|im_end|>"]).ok();
    let expected = "warning: `<|im_start|>` of ChatML will be encoded as text: the special tokens lack it\nhint: `vocab_extra_ids_list: <|im_start|>,<|im_end|>` adds both\n";
    assert!(outcome.err.contains(expected), "{}", outcome.err);
    let outcome = build(&workplace, &["--no-vocab_extra_ids_list"]).ok();
    assert!(outcome.err.contains("warning: `<|im_start|>` and `<|im_end|>` of ChatML"));
    // Texts have no turns.
    workplace.write_datasets("[text: {name: pages, path: t.jsonl, val_split: 0}]");
    let outcome = build(&workplace, &["--no-vocab_extra_ids_list"]).ok();
    assert!(!outcome.err.contains("ChatML"), "{}", outcome.err);
}
