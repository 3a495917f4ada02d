//! `trainer sample`: distributions, batches, streams, reports and conversations.

mod python;
mod tiny_run;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use python::python;
use serde_json::{Value, json};
use tch::{Kind, Tensor};
use tiny_run::{TinyRun, fails, succeeds};
use trainer::warp::Warp;

#[test]
fn every_way_to_filter_gives_the_distribution_of_transformers() {
    let Some(python) = python() else { return };
    let base = Warp { temperature: 1.0, ..Warp::default() };
    let warps = [
        base.clone(),
        Warp { temperature: 0.6, ..base.clone() },
        Warp { top_k: 5, ..base.clone() },
        Warp { top_k: 1000, ..base.clone() },
        Warp { top_p: 0.9, ..base.clone() },
        Warp { top_p: 0.01, ..base.clone() },
        Warp { repetition_penalty: 1.3, ..base.clone() },
        Warp { repetition_penalty: 0.8, ..base.clone() },
        Warp { min_new_tokens: 4, ..base.clone() },
        Warp {
            temperature: 0.8,
            top_p: 0.9,
            repetition_penalty: 1.2,
            min_new_tokens: 1,
            ..base.clone()
        },
        Warp {
            temperature: 1.7,
            top_k: 50,
            top_p: 0.95,
            repetition_penalty: 1.2,
            min_new_tokens: 9,
        },
    ];
    tch::manual_seed(1);
    let mut cases = Vec::new();
    for (i, warp) in warps.iter().enumerate() {
        for spread in [0.5, 4.0] {
            let logits_v = Tensor::randn([200], (Kind::Float, tch::Device::Cpu)) * spread;
            // Some of equal probability, on either side of where it is cut.
            let _ = logits_v.narrow(0, 10, 8).fill_(spread);
            let (before, ends) = ([3, 12, 12, 150, 7, 199], [2, 77]);
            let scores_v = warp.scores(&logits_v, &before, i % 6, &ends);
            let probabilities = Vec::<f32>::try_from(scores_v.softmax(0, Kind::Float)).unwrap();
            cases.push(json!({
                "logits": Vec::<f32>::try_from(&logits_v).unwrap(),
                "before": before,
                "n_new": i % 6,
                "ends": ends,
                "warp": {
                    "temperature": warp.temperature,
                    "top_k": warp.top_k,
                    "top_p": warp.top_p,
                    "repetition_penalty": warp.repetition_penalty,
                    "min_new_tokens": warp.min_new_tokens,
                },
                "probabilities": probabilities,
            }));
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cases.json");
    shards::atomic::write(&path, json!(cases).to_string().as_bytes()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/warps.py");
    succeeds(Command::new(python).arg(script).arg(path));
}

fn sample(run: &TinyRun, more: &[&str]) -> Command {
    let mut sample = run.command("sample");
    sample.args(["run", "--max-new-tokens", "6"]).args(more);
    sample
}

#[test]
fn an_answer_hangs_on_its_prompt_and_the_seed_and_not_on_the_batch() {
    let run = TinyRun::new(2, "");
    succeeds(&mut run.train("run", &[]));
    let prompts: Vec<String> = (0..9)
        .map(|i| json!({"messages": [{"role": "user", "content": format!("{i}?")}]}).to_string())
        .collect();
    shards::atomic::write(&run.path("p.jsonl"), prompts.join("\n").as_bytes()).unwrap();
    let answers = |more: &[&str]| {
        let drawn = ["--prompts", "p.jsonl", "--temperature", "1.5", "--seed", "3"];
        let output = succeeds(sample(&run, &drawn).args(more)).stdout;
        let lines = String::from_utf8(output).unwrap();
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.collect::<Vec<_>>()
    };
    let one = answers(&["--batch", "1"]);
    assert_eq!(one.len(), 9);
    assert_eq!(one, answers(&["--batch", "4"]));
    let other = sample(&run, &["--prompt", "0?", "--temperature", "1.5", "--seed", "4"]);
    let alone = sample(&run, &["--prompt", "0?", "--temperature", "1.5", "--seed", "3"]);
    let text = |mut command: Command| String::from_utf8(succeeds(&mut command).stdout).unwrap();
    let (other, alone) = (text(other), text(alone));
    assert_ne!(other, alone);
    assert_eq!(one[0]["output"], alone.trim_end_matches('\n'));
}

#[test]
fn a_report_is_open_assistants_json_and_a_page() {
    let run = TinyRun::new(2, "");
    succeeds(&mut run.train("run", &[]));
    shards::atomic::write(&run.path("p.jsonl"), b"\"Hi & bye?\"\n\"1?\"\n").unwrap();
    let report = ["--report", "p.jsonl", "--out", "report.json"];
    succeeds(&mut sample(&run, &report));
    let report_json: Value = serde_json::from_slice(&run.bytes("report.json")).unwrap();
    let page = String::from_utf8(run.bytes("report.html")).unwrap();
    assert!(page.contains("Hi &amp; bye?") && !page.contains("src="), "{page}");
    assert_eq!(report_json["prompts"].as_array().unwrap().len(), 2);

    // The same keys, ways and numbers of answers as in a published one; one may sample fewer tokens.
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let name = "2023-08-26_OpenAssistant_codellama-13b-oasst-sft-v10_sampling_noprefix2.json";
    let Ok(theirs) = fs_err::read(shared.join(name)) else { return };
    let theirs: Value = serde_json::from_slice(&theirs).unwrap();
    let keys = |it: &Value| -> Vec<String> { it.as_object().unwrap().keys().cloned().collect() };
    assert_eq!(keys(&report_json), keys(&theirs));
    assert!(keys(&report_json["args"]).iter().all(|key| keys(&theirs["args"]).contains(key)));
    let (ours, theirs) = (&report_json["prompts"][0], &theirs["prompts"][0]);
    assert_eq!(keys(ours), keys(theirs));
    let results = theirs["results"].as_array().unwrap();
    assert_eq!(ours["results"].as_array().unwrap().len(), results.len());
    for (ours, theirs) in ours["results"].as_array().unwrap().iter().zip(results) {
        assert_eq!(ours["sampling_config"], theirs["sampling_config"]);
        let mut params = theirs["sampling_params"].clone();
        params["max_new_tokens"] = json!(6);
        assert_eq!(ours["sampling_params"], params);
        let n = |it: &Value| it["outputs"].as_array().unwrap().len();
        assert_eq!(n(ours), n(theirs));
    }

    let over = ["--report", "p.jsonl", "--out", "report.html"];
    fails(&mut sample(&run, &over), 2, &["which the page to read would replace"]);
    shards::atomic::write(&run.path("p.jsonl"), b"\"a\"\n{}\n").unwrap();
    fails(&mut sample(&run, &report), 2, &["p.jsonl:2: expected a JSON text"]);
}

#[test]
fn a_conversation_in_the_terminal_remembers_what_was_said() {
    let run = TinyRun::new(2, "");
    succeeds(&mut run.train("run", &[]));
    let chat = |said: &str| {
        let mut chat = sample(&run, &["--chat"]);
        let mut chat =
            chat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program starts");
        chat.stdin.take().unwrap().write_all(said.as_bytes()).unwrap();
        let output = chat.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let whole = chat("What comes after 3?\nAnd then?\n\n");
    assert_eq!(whole.matches("> ").count(), 3, "{whole}");
    assert!(whole.starts_with(chat("What comes after 3?\n").trim_end_matches("> ")), "{whole}");
}
