//! An exported folder, as transformers sees it.

mod python;
mod tiny_run;

use std::path::Path;
use std::process::Command;

use python::python;
use serde_json::json;
use shards::Role;
use tch::{Device, Kind, Tensor};
use text::{Conversation, Message};
use tiny_run::{TinyRun, fails, succeeds};
use trainer::hf_tokenizer;
use trainer::llama_config::LlamaConfig;
use trainer::params::Model;
use trainer::sample::{Options, Sampler};
use trainer::weights::{self, Source};
use trainer::{checkpoint, proof};

/// A trained run in `run`.
fn trained() -> TinyRun {
    let run = TinyRun::new(4, "");
    succeeds(&mut run.train("run", &[]));
    run
}

/// `trainer export run --out model` and more.
fn export(run: &TinyRun, more: &[&str]) -> Command {
    let mut command = run.command("export");
    command.args(["run", "--out", "model"]).args(more);
    command
}

#[test]
fn transformers_has_our_logits_our_ids_and_our_answer() {
    let Some(python) = python() else { return };
    let run = trained();
    let output = succeeds(&mut export(&run, &["--dtype", "f32", "--max-shard-size", "0.0001"]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("read back and compared"), "{said}");
    check_report(&run);

    let texts = [
        "3 + 1?",
        "",
        " two  blanks\nand\tmore\n\n",
        "äöü €, 日本語, 🙂 and \u{0} bytes",
        "<|im_end|>\n<s> <unk> </s><PAD>",
        "def f(x):\n    return  x ** 2\n",
        "▁blank",
    ];
    check_with_transformers(&run, &python, &texts);
}

/// transformers has the logits, the ids and the answers to these messages that are had here of the folder `model`.
#[track_caller]
fn check_with_transformers(run: &TinyRun, python: &str, texts: &[&str]) {
    let folder = run.path("model");
    let tokenizer = hf_tokenizer::open_folder(&folder).expect("a tokenizer");
    let mut model =
        Model::zeros(LlamaConfig::read(&folder).expect("a Llama"), Kind::Float, Device::Cpu);
    weights::load(&folder, &mut model).expect("whole");
    let options = Options { max_new_tokens: 24, ..Options::default() };
    let sampler = Sampler::open(&folder).expect("a model");
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
            let last: Vec<f32> = logits.get(0).get(-1).try_into().expect("a vector");
            json!({
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": text},
                ],
                "ids": ids,
                "last_logits": last,
                "answer": sampler.answer(&conversation, &options, |_| Ok(())).expect("it answers").ids,
            })
        })
        .collect();
    let expected = run.path("expected.json");
    shards::atomic::write(&expected, json!(cases).to_string().as_bytes()).expect("written");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/open_export.py");
    let output = Command::new(python)
        .arg(script)
        .arg(&folder)
        .arg(&expected)
        .output()
        .expect("Python starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}", String::from_utf8_lossy(&output.stdout));
}

/// What the report says of the tokens that the datamix added.
#[track_caller]
fn check_report(run: &TinyRun) {
    let report: serde_json::Value =
        serde_json::from_slice(&run.bytes("model/export_report.json")).expect("JSON");
    // Forty documents: each opens and closes a turn of the user and one of the assistant, of which the latter is learned.
    let tokens = report["new_tokens"]["tokens"].as_array().expect("a list");
    let of = |name: &str| {
        let found = tokens.iter().find(|it| it["token"] == name);
        let found = found.unwrap_or_else(|| panic!("{name} in {tokens:?}"));
        (found["occurrences"].as_u64(), found["supervised"].as_u64())
    };
    assert_eq!(of("<|im_end|>"), (Some(80), Some(40)));
    assert_eq!(of("<MASK>"), (Some(0), Some(0)));
    assert_eq!(report["new_tokens"]["passes"], 4.0 * 8.0 / 40.0);
    assert_eq!(report["proof"]["logits"]["largest_difference"], 0.0);
    assert_eq!(report["proof"]["tensors"].as_array().expect("a list").len(), 2 * 9 + 3);

    let card = String::from_utf8(run.bytes("model/README.md")).expect("text");
    for words in
        ["4 steps of 8 documents", "<|im_start|>user", "learning rate", "SHA-256", "## Licence"]
    {
        let words = if words == "learning rate" { "lr: 0.01" } else { words };
        assert!(card.contains(words), "`{words}` is not in:\n{card}");
    }
}

#[test]
fn an_export_that_is_not_what_was_trained_has_failed() {
    let run = trained();
    succeeds(&mut export(&run, &["--dtype", "f32"]));
    let folder = run.path("model");
    let checkpoint = run.path("run/checkpoints/step-0000004");
    let (stored, _) = checkpoint::open_weights(&checkpoint).unwrap();
    let config = LlamaConfig::read(&folder).unwrap();
    let model = Model::zeros(config.clone(), Kind::Float, Device::Cpu);
    let specs: Vec<_> = weights::parameters(&model).into_iter().map(|(spec, _)| spec).collect();
    let sources: Vec<_> =
        specs.iter().map(|it| Source::stored(&stored, &it.name, it.shape.clone())).collect();
    let tokenizer = hf_tokenizer::open_folder(&folder).unwrap();
    let prove = || {
        let proof = proof::prove(&folder, &sources, &config, Kind::Float, Some(&tokenizer));
        proof.map(drop).map_err(|error| format!("{error:#}"))
    };
    assert_eq!(prove(), Ok(()));

    let check = |name: &str, fault: &dyn Fn(&mut Vec<u8>), complaint: &str| {
        let path = folder.join(name);
        let whole = fs_err::read(&path).unwrap();
        let mut faulty = whole.clone();
        fault(&mut faulty);
        assert_ne!(whole, faulty, "{name}");
        shards::atomic::write(&path, &faulty).unwrap();
        let said = prove().unwrap_err();
        assert!(said.contains(complaint), "{said}");
        shards::atomic::write(&path, &whole).unwrap();
    };
    let replace = |from: &'static str, to: &'static str| {
        move |bytes: &mut Vec<u8>| {
            let text = String::from_utf8_lossy(bytes).replace(from, to);
            *bytes = text.into_bytes();
        }
    };
    check(
        "model.safetensors",
        &|bytes| *bytes.last_mut().unwrap() ^= 0x10,
        "`model.norm.weight` was read back otherwise than it was trained",
    );
    let theta = replace("1000000.0", "10000.0");
    check("config.json", &theta, "the folder answers otherwise than the trained model");
    let eps = replace("0.00001", "0.1");
    check("config.json", &eps, "the folder answers otherwise than the trained model");
    let merges = |bytes: &mut Vec<u8>| {
        let mut json: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        json["model"]["merges"].as_array_mut().unwrap().reverse();
        *bytes = json.to_string().into_bytes();
    };
    check("tokenizer.json", &merges, "`tokenizer.json` gives other ids");
    assert_eq!(prove(), Ok(()));
}

#[test]
fn a_trimmed_vocabulary_has_as_many_rows_as_the_tokenizer_has_tokens() {
    let run = TinyRun::new(2, "");
    let wide = "model.new_rows={fill: mean, multiple: 1000}";
    succeeds(&mut run.train("run", &["--set", wide]));
    succeeds(&mut export(&run, &["--vocab", "trim"]));
    let config = LlamaConfig::read(&run.path("model")).unwrap();
    let tokens = hf_tokenizer::open_folder(&run.path("model")).unwrap().vocab_size();
    assert_eq!(config.vocab_size, i64::from(tokens));
    let report: serde_json::Value =
        serde_json::from_slice(&run.bytes("model/export_report.json")).unwrap();
    assert_eq!(report["new_tokens"]["filling_rows"], 0);

    succeeds(&mut export(&run, &["--force"]));
    assert_eq!(LlamaConfig::read(&run.path("model")).unwrap().vocab_size % 1000, 0);
}

#[test]
fn a_tied_head_is_exported_as_one_after_any_kind_of_run() {
    let Some(python) = python() else { return };
    let run = TinyRun::new(4, "checkpoint: {every: 2}\n");
    let mut init = run.command("init");
    init.args(["--out", "tied", "--tokenizer"]).arg(tiny_run::data().join("tokenizer.model"));
    let shape = "--hidden-size 32 --intermediate-size 48 --layers 2 --heads 4 --kv-heads 2 \
                 --rope-theta 1e6 --tie-word-embeddings";
    succeeds(init.args(shape.split(' ')));
    let tied = ["--set", "model.base=tied", "--set", "model.new_rows={fill: mean, multiple: 1600}"];
    succeeds(&mut run.train("whole", &tied));
    succeeds(run.train("run", &tied).args(["--stop-after", "2"]));
    succeeds(&mut run.train("run", &tied));
    for name in ["model", "exp_avg"] {
        let file = format!("checkpoints/step-0000004/{name}.safetensors");
        let [run, whole] = ["run", "whole"].map(|out| run.bytes(Path::new(out).join(&file)));
        assert!(run == whole, "{name}");
    }
    succeeds(&mut export(&run, &["--dtype", "f32", "--max-shard-size", "0.0001"]));
    let config = LlamaConfig::read(&run.path("model")).unwrap();
    assert!(config.tie_word_embeddings && config.vocab_size == 1600);
    let report: serde_json::Value =
        serde_json::from_slice(&run.bytes("model/export_report.json")).unwrap();
    assert_eq!(report["new_tokens"]["vocabulary"].as_object().unwrap().len(), 1);
    check_with_transformers(&run, &python, &["3 + 1?", "äöü"]);

    let words = ["embedding and head of `tied` are one matrix", "hint: `trainer convert --untie`"];
    for lora in ["lora={r: 2}", "lora={modules_to_save: [embed_tokens]}"] {
        fails(run.train("never", &tied).args(["--set", lora]), 2, &words);
    }
}

#[test]
fn what_is_exported_answers_as_the_run_does() {
    let run = trained();
    succeeds(&mut export(&run, &["--dtype", "f32"]));
    let answer = |model: &str| {
        let mut sample = run.command("sample");
        sample.args([model, "--prompt", "What comes after 3?", "--max-new-tokens", "8"]);
        succeeds(&mut sample).stdout
    };
    assert_eq!(answer("model"), answer("run"));
    assert_eq!(answer("model"), answer("run/checkpoints/step-0000004"));
}

#[test]
fn an_export_replaces_nothing_that_it_was_not_told_to() {
    let run = trained();
    succeeds(&mut export(&run, &[]));
    fails(&mut export(&run, &[]), 2, &["`model` is there already", "--force"]);
    succeeds(&mut export(&run, &["--force"]));

    let mut over_shards = run.command("export");
    over_shards.args(["run", "--out", "shards", "--force"]);
    fails(&mut over_shards, 2, &["something else than an exported model"]);
    let mut over_file = run.command("export");
    over_file.args(["run", "--out", "train.yaml"]);
    fails(&mut over_file, 2, &["`--out` is `train.yaml`, a file"]);
    let mut of_base = run.command("export");
    of_base.args(["base", "--out", "other"]);
    fails(&mut of_base, 2, &["neither a checkpoint nor a run"]);
    assert!(!run.path("other").exists());
}

#[test]
fn answers_to_a_file_of_prompts_are_counted() {
    let run = trained();
    succeeds(&mut export(&run, &[]));
    let prompts = run.path("p.jsonl");
    let write = |text: &str| shards::atomic::write(&prompts, text.as_bytes()).unwrap();
    let sample = || {
        let mut sample = run.command("sample");
        sample.args(["model", "--prompts", "p.jsonl", "--out", "a.jsonl", "--max-new-tokens", "4"]);
        sample
    };
    write(r#"{"messages": [{"role": "user", "content": "1?"}], "answer": "none such", "id": 5}"#);
    let output = succeeds(&mut sample());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("0 of 1 answers are exactly as expected"), "{said}");
    let line: serde_json::Value = serde_json::from_slice(&run.bytes("a.jsonl")).unwrap();
    assert_eq!((&line["id"], &line["correct"]), (&json!(5), &json!(false)));

    write(r#"{"messages": [{"role": "cat"}]}"#);
    fails(&mut sample(), 2, &["p.jsonl:1: missing field `content`"]);

    let check = |text: &str, complaint: &str| {
        write(text);
        fails(&mut sample(), 2, &[complaint]);
    };
    check("\n\n", "`p.jsonl` has no prompts");
    check("\n{\"messages\": []}\n", "p.jsonl:2: there is no message of the role `user`");
    check(
        r#"{"messages": [{"role": "assistant", "content": "Hi."}]}"#,
        "p.jsonl:1: the last message is of the role `assistant`, expected `user`",
    );
    check(
        r#"{"messages": [{"role": "robot", "content": "Hi."}]}"#,
        "p.jsonl:1: message 0 has the role `robot`",
    );
}

#[test]
fn an_answer_that_cannot_be_written_is_no_success() {
    let run = trained();
    let sample = || {
        let mut sample = run.command("sample");
        sample.args(["run", "--prompt", "What comes after 3?", "--max-new-tokens", "4"]);
        sample
    };
    let full = fs_err::OpenOptions::new().write(true).open("/dev/full").unwrap().into_file();
    let output = sample().stdout(full).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("error: writing the answer: "), "{said}");

    fails(sample().args(["--out", "a.txt"]), 2, &["cannot be used with"]);
}

/// A template that trims, names a token of its own, and has a variable.
const JINJA: &str = "{{ bos_token }}{% for m in messages %}\n\
    {% if m.role == 'system' %}[{{ tone }}] {{ m.content | trim }}\n\
    {% else %}<|im_start|>{{ m.role | upper }}: {{ m.content | trim }}{{ '</s>' if m.role == 'assistant' }}\n\
    {% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>ASSISTANT:{% endif %}";

#[test]
fn a_model_of_another_chat_template_is_spoken_to_and_exported_with_that_one() {
    let run = trained();
    // As `pretokenizer build` leaves it beside shards of a Jinja template.
    shards::atomic::write(&run.path("shards/chat_template.jinja"), JINJA.as_bytes()).unwrap();
    shards::atomic::write(
        &run.path("shards/special_tokens_map.json"),
        br#"{"bos_token": "<s>", "eos_token": "</s>"}"#,
    )
    .unwrap();
    let mut manifest = shards::Manifest::read(&run.path("shards")).unwrap();
    manifest.template_sha256 = shards::hash::sha256(JINJA.as_bytes());
    manifest.template = format!("jinja sha256:{}", manifest.template_sha256);
    manifest.config = json!({"chat_template_variables": {"tone": "kind \"and\" brief"}});
    manifest.config_sha256 = shards::manifest::config_sha256(&manifest.config);
    manifest.write(&run.path("shards")).unwrap();

    succeeds(run.command("export").args(["run", "--out", "model"]));
    let sampler = Sampler::open(&run.path("model")).unwrap();
    let tokenizer = hf_tokenizer::open_folder(&run.path("model")).unwrap();
    let message = Message { role: Role::User, text: " What? ".into(), context: None };
    let conversation = Conversation { system: Some("x".into()), messages: vec![message] };
    let expected = "<s>[kind \"and\" brief] x\n<|im_start|>USER: What?\n<|im_start|>ASSISTANT:";
    let mut ids = Vec::new();
    tokenizer.encoder().encode(expected, &mut ids);
    assert_eq!(sampler.prompt(&conversation).unwrap(), ids);

    let json = |name: &str| {
        serde_json::from_slice::<serde_json::Value>(&run.bytes(format!("model/{name}"))).unwrap()
    };
    // An answer ends where the template ends it, which is not where ChatML does.
    assert_eq!(json("generation_config.json")["eos_token_id"][0], 2);
    assert_eq!(json("tokenizer_config.json")["eos_token"], "</s>");
    let card = String::from_utf8(run.bytes("model/README.md")).unwrap();
    assert!(card.contains("<|im_start|>USER: {prompt}\n<|im_start|>ASSISTANT:\n```"), "{card}");
    // Of the run itself, whose template has its variables from the manifest.
    succeeds(run.command("sample").args(["run", "--prompt", "What?", "--max-new-tokens", "2"]));

    if let Some(python) = python() {
        let script = "import json, sys; from transformers import AutoTokenizer; \
                      t = AutoTokenizer.from_pretrained(sys.argv[1]); \
                      print(json.dumps(t.apply_chat_template(json.loads(sys.argv[2]), add_generation_prompt=True, return_dict=False)))";
        let messages =
            json!([{"role": "system", "content": "x"}, {"role": "user", "content": " What? "}]);
        let mut command = Command::new(python);
        command.args(["-c", script]).arg(run.path("model")).arg(messages.to_string());
        let found: Vec<u32> = serde_json::from_slice(&succeeds(&mut command).stdout).unwrap();
        assert_eq!(found, ids);
    }

    let changed = [JINJA, " "].concat();
    shards::atomic::write(&run.path("shards/chat_template.jinja"), changed.as_bytes()).unwrap();
    let mut export = run.command("export");
    let words = ["`shards/chat_template.jinja` is not the template of the shards", "hint:"];
    fails(export.args(["run", "--out", "again"]), 2, &words);
}
