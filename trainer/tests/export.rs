//! An exported folder, as transformers sees it.

mod workplace;

use std::path::Path;
use std::process::Command;

use serde_json::json;
use shards::Role;
use tch::{Device, Kind, Tensor};
use text::{Conversation, Message};
use trainer::hf_tokenizer;
use trainer::llama_config::LlamaConfig;
use trainer::params::Model;
use trainer::sample::{Options, Sampler};
use trainer::weights;
use workplace::Workplace;

/// The Python with transformers that `scripts/test` sets up; none, with a word about it, where it is not at hand.
fn python() -> Option<String> {
    let python = std::env::var("PYTHON_FOR_TESTS").ok();
    assert!(
        python.is_some() || std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "`PYTHON_FOR_TESTS` is not set"
    );
    if python.is_none() {
        println!("skipped: `PYTHON_FOR_TESTS` names no Python with transformers");
    }
    python
}

/// A trained run in `run`.
fn trained() -> Workplace {
    let place = Workplace::new();
    place.done(&["train", "--config", "run.yaml", "--out", "run"]);
    place
}

#[test]
fn transformers_has_our_logits_our_ids_and_our_answer() {
    let Some(python) = python() else { return };
    let place = trained();
    let words = ["export", "run", "--out", "model", "--dtype", "f32", "--max-shard-size", "0.0001"];
    let said = place.done(&words);
    assert!(said.contains("read back and compared"), "{said}");

    let folder = place.path("model");
    let tokenizer = hf_tokenizer::open_folder(&folder).unwrap();
    let mut model = Model::zeros(LlamaConfig::read(&folder).unwrap(), Kind::Float, Device::Cpu);
    weights::load(&folder, &mut model).unwrap();
    let options = Options { max_new_tokens: 24, temperature: 0.0, top_p: 1.0, top_k: 0, seed: 0 };
    let sampler = Sampler::open(&folder, options).unwrap();
    let texts = [
        "3 + 1?",
        "",
        " two  blanks\nand\tmore\n\n",
        "äöü €, 日本語, 🙂 and \u{0} bytes",
        "<|im_end|>\n<s> <unk> </s><PAD>",
        "def f(x):\n    return  x ** 2\n",
        "▁blank",
    ];
    let cases: Vec<_> = texts
        .iter()
        .map(|text| {
            let message = Message { role: Role::User, text: text.to_string(), context: None };
            let conversation =
                Conversation { system: Some("Be brief.".into()), messages: vec![message] };
            let mut ids = Vec::new();
            tokenizer.encoder().encode(&text::prompt(&conversation), &mut ids);
            let tokens: Vec<i64> = ids.iter().map(|&id| id.into()).collect();
            let logits = model.logits(&Tensor::from_slice(&tokens).unsqueeze(0));
            let last: Vec<f32> = logits.get(0).get(-1).try_into().unwrap();
            json!({
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": text},
                ],
                "ids": ids,
                "last_logits": last,
                "answer": sampler.answer(&conversation, |_| {}).unwrap().ids,
            })
        })
        .collect();
    let expected = place.path("expected.json");
    shards::atomic::write(&expected, json!(cases).to_string().as_bytes()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/open_export.py");
    let output = Command::new(python).arg(script).arg(&folder).arg(&expected).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn what_is_exported_answers_as_the_run_does() {
    let place = trained();
    place.done(&["export", "run", "--out", "model", "--dtype", "f32"]);
    let answer = |model: &str| {
        let words = ["sample", model, "--prompt", "3 + 1?", "--max-new-tokens", "8"];
        String::from_utf8(place.trainer(&words).stdout).unwrap()
    };
    assert_eq!(answer("model"), answer("run"));
    assert_eq!(answer("model"), answer("run/checkpoints/step-0000004"));
}

#[test]
fn an_export_replaces_nothing_that_it_was_not_told_to() {
    let place = trained();
    let export = ["export", "run", "--out", "model"];
    let forced = ["export", "run", "--out", "model", "--force"];
    place.done(&export);
    place.refused(&export, "`model` is there already");
    place.done(&forced);
    place.refused(
        &["export", "run", "--out", "shards", "--force"],
        "something else than an exported model",
    );
    place.refused(&["export", "base", "--out", "other"], "neither a checkpoint nor a run");
    assert!(!place.path("other").exists());
}

#[test]
fn answers_to_a_file_of_prompts_are_counted() {
    let place = trained();
    place.done(&["export", "run", "--out", "model"]);
    let prompts = r#"{"messages": [{"role": "user", "content": "1 + 1?"}], "answer": "no such answer", "id": 5}"#;
    shards::atomic::write(&place.path("p.jsonl"), prompts.as_bytes()).unwrap();
    let sample =
        ["sample", "model", "--prompts", "p.jsonl", "--out", "a.jsonl", "--max-new-tokens", "4"];
    let said = place.done(&sample);
    assert!(said.contains("0 of 1 answers are exactly as expected"), "{said}");
    let line = fs_err::read_to_string(place.path("a.jsonl")).unwrap();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["id"], &line["correct"]), (&json!(5), &json!(false)));

    shards::atomic::write(&place.path("p.jsonl"), br#"{"messages": [{"role": "cat"}]}"#).unwrap();
    place.refused(&sample, "p.jsonl:1: missing field `content`");
}
