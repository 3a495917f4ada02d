//! A cap on length: what is too long is left out or cut, and what is cut still is what its template says.

use serde_json::{Value, json};
use shards::PairReader;

use crate::workplace::{Outcome, Workplace};

/// Most tokens of a document.
const MAX: usize = 60;

/// ChatML, as a template of transformers.
const JINJA: &str = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}";

const SOURCES: &str = "[messages: {name: chats, path: chats.jsonl, val_split: 0}, \
                        text: {name: texts, path: texts.jsonl, val_split: 0}, \
                        text: {name: background, path: texts.jsonl, role: context, val_split: 0}]";

/// Conversations of up to six turns, some with a turn that is too long by itself, and texts.
fn workplace() -> Workplace {
    let workplace = Workplace::with_datasets(SOURCES);
    let chat = |i: usize| {
        let turn = |n: usize| {
            let words = if (i + n) % 11 == 10 { 70 } else { (i * 7 + n * 5) % 17 + 1 };
            let role = if n.is_multiple_of(2) { "user" } else { "assistant" };
            json!({"role": role, "content": "wörd ".repeat(words)})
        };
        let mut messages: Vec<Value> = (0..i % 7 + 1).map(turn).collect();
        if i.is_multiple_of(3) {
            messages.insert(0, json!({"role": "system", "content": "Say <|im_end|> at the end."}));
        }
        json!({"messages": messages}).to_string()
    };
    workplace.write("chats.jsonl", (0..80).map(chat).collect::<Vec<_>>().join("\n"));
    let text = |i: usize| json!({"text": "Ein längerer Text. 😀 ".repeat(i)}).to_string();
    workplace.write("texts.jsonl", (1..20).map(text).collect::<Vec<_>>().join("\n"));
    workplace.write("chatml.jinja", JINJA);
    workplace
}

type Document = (Vec<u32>, Vec<u32>);

/// The documents of a run, with their texts.
fn built(workplace: &Workplace, flags: &[&str]) -> Vec<(Document, String)> {
    workplace.run(&[&["--configs", "a", "--write_json"], flags].concat()).ok();
    let reader = PairReader::open(&workplace.path().join("out/a-train")).expect("a split");
    let texts = String::from_utf8(workplace.read("out/a-train.jsonl")).expect("ASCII");
    let texts = texts.lines().map(|line| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        line["text"].as_str().expect("a text").to_string()
    });
    let documents = (0..reader.len()).map(|i| {
        let document = reader.document(i);
        (document.tokens().collect(), document.roles().collect())
    });
    documents.zip(texts).collect()
}

/// What a document is to become; `None`: left out.
fn cut((tokens, roles): &Document, is_text: bool) -> Option<Document> {
    if tokens.len() <= MAX {
        return Some((tokens.clone(), roles.clone()));
    }
    let end = if is_text {
        MAX
    } else {
        // Behind the last answer that fits: the roles tell, as user and assistant speak in turn.
        (1..=MAX).rev().find(|end| roles[end - 1] == 2 && roles[*end] != 2)?
    };
    Some((tokens[..end].to_vec(), roles[..end].to_vec()))
}

fn verify(workplace: &Workplace) -> Outcome {
    let output = workplace.subcommand("verify", &["out"]).output();
    Outcome::of(output.expect("it can be started"))
}

/// Compares a run with the documents of a run without a cap.
#[track_caller]
fn check(template: &[&str]) {
    let workplace = workplace();
    let whole = built(&workplace, template);
    let is_text = |i: usize| i >= 80;
    let n_long = whole.iter().filter(|((tokens, _), _)| tokens.len() > MAX).count();
    let limit = MAX.to_string();
    let drop: Vec<&str> = [template, &["--max_tokens", &limit]].concat();
    let expected: Vec<_> =
        whole.iter().filter(|((tokens, _), _)| tokens.len() <= MAX).cloned().collect();
    assert!(built(&workplace, &drop) == expected, "dropped");
    verify(&workplace).ok();
    let sources = workplace.manifest()["splits"][0]["sources"].clone();
    let sum = |of: &dyn Fn(&Value) -> Option<u64>| -> u64 {
        sources.as_array().into_iter().flatten().filter_map(of).sum()
    };
    assert_eq!(sum(&|it| it["skipped"]["too_long"].as_u64()), n_long as u64);

    let truncate = [&drop[..], &["--too_long", "truncate", "--ledger", "ledger.jsonl"]].concat();
    let found = built(&workplace, &truncate);
    let cuts: Vec<_> = whole.iter().enumerate().map(|(i, (it, _))| cut(it, is_text(i))).collect();
    let expected: Vec<_> = cuts.iter().flatten().cloned().collect();
    assert_eq!(found.iter().map(|it| it.0.clone()).collect::<Vec<_>>(), expected, "cut");
    verify(&workplace).ok();
    // The text of what was cut is the beginning of the whole one.
    let wholes = whole.iter().zip(&cuts).filter(|(_, cut)| cut.is_some());
    for (((tokens, _), text), ((whole_tokens, _), whole_text)) in
        found.iter().zip(wholes.map(|(whole, _)| whole))
    {
        assert!(whole_text.starts_with(text.as_str()));
        assert_eq!(text == whole_text, tokens == whole_tokens);
        assert!(text.len() > 10, "{text:?}");
    }
    let sources = workplace.manifest()["splits"][0]["sources"].clone();
    let sum = |of: &dyn Fn(&Value) -> Option<u64>| -> u64 {
        sources.as_array().into_iter().flatten().filter_map(of).sum()
    };
    let n_dropped = cuts.iter().filter(|cut| cut.is_none()).count();
    assert!(n_dropped > 3 && n_long - n_dropped > 10, "the rows are of all kinds");
    assert_eq!(sum(&|it| it["skipped"]["too_long"].as_u64()), n_dropped as u64);
    assert_eq!(sum(&|it| it["truncated"].as_u64()), (n_long - n_dropped) as u64);
    // Strings of special tokens that were cut away do not count.
    let n_special: usize = found.iter().filter(|it| it.1.contains("Say <|im_end|>")).count();
    assert_eq!(sum(&|it| it["special_tokens_in_text"]["strings"].as_u64()), n_special as u64);
    let ledger = String::from_utf8(workplace.read("ledger.jsonl")).expect("UTF-8");
    assert_eq!(ledger.matches("\"reason\":\"too_long\"").count(), n_dropped);
    let is_cut = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        line["kept"][0]["truncated"] == true
    };
    let found: Vec<bool> = ledger.lines().map(is_cut).collect();
    let cut = whole.iter().zip(&cuts).map(|(it, cut)| it.0.0.len() > MAX && cut.is_some());
    assert_eq!(found, cut.collect::<Vec<_>>());
}

#[test]
fn conversations_lose_turns_from_their_end_and_texts_tokens() {
    check(&[]);
}

#[test]
fn so_they_do_with_a_chat_template() {
    check(&["--chat_template", "chatml.jinja"]);
}

#[test]
fn what_is_done_with_long_documents_needs_a_length() {
    let workplace = workplace();
    let check = |flags: &[&str], expected: &str| {
        let outcome = workplace.run(&[&["--configs", "a"], flags].concat());
        assert_eq!(outcome.code, Some(2));
        assert!(outcome.err.contains(expected), "{}", outcome.err);
    };
    check(&["--too_long", "truncate"], "`max_tokens`, which is not set");
    check(&["--max_tokens", "0"], "`max_tokens: 0` leaves no document");
    check(&["--max_tokens", "5", "--too_long", "cut"], "--too_long: `cut` is not known");
}
