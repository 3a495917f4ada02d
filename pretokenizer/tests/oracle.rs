//! The bytes of the reference: every file that it wrote comes out again, on one thread and on many.

mod workplace;

use std::collections::BTreeMap;
use std::path::Path;

use fs_err as fs;
use pretokenizer::config::ValSplit;
use serde_json::Value;
use workplace::{Workplace, oracle};

/// A workplace with the inputs of an oracle, in which a run can write.
fn inputs(folder: &Path) -> Workplace {
    let workplace = Workplace::new();
    for entry in fs::read_dir(folder).expect("the oracle can be read") {
        let path = entry.expect("the oracle can be read").path();
        let name = path.file_name().expect("an entry has a name");
        if name != "expected" {
            std::os::unix::fs::symlink(&path, workplace.path().join(name)).expect("can be linked");
        }
    }
    workplace
}

/// `SHA256SUMS` below a folder of outputs: hash by file name.
fn expected(sums: &Path, folder: &str) -> BTreeMap<String, String> {
    let sums = fs::read_to_string(sums).expect("the sums can be read");
    let lines = sums.lines().filter_map(|line| line.split_once("  "));
    let here = lines.filter_map(|(sum, path)| {
        let name = path.trim_start_matches("./").strip_prefix(folder)?.strip_prefix('/')?;
        Some((name.to_string(), sum.to_string()))
    });
    here.collect()
}

/// Runs the configurations and compares all files with the reference's.
#[track_caller]
fn check(
    workplace: &Workplace,
    configs: &[&str],
    output: &str,
    expected: &BTreeMap<String, String>,
) {
    assert!(!expected.is_empty(), "the oracle has no sums for {output}");
    for threads in ["1", "7"] {
        let arguments = [&["--configs"], configs, &["--write_json", "--threads", threads]].concat();
        let outcome = workplace.run(&arguments).ok();
        let mut found = BTreeMap::new();
        for name in workplace.files(output) {
            let bytes = workplace.read(&format!("{output}/{name}"));
            found.insert(name, shards::hash::sha256(&bytes));
        }
        assert!(found.remove("manifest.json").is_some(), "there is no manifest in {output}");
        assert_eq!(&found, expected, "{output} on {threads} threads\n{}", outcome.err);
    }
}

fn check_real(configs: &[&str], output: &str) {
    let Some(oracle) = oracle() else { return };
    let workplace = inputs(&oracle.join("real"));
    for name in ["codellama", "llama2"] {
        let model = oracle.join(format!("../tokenizers/{name}/tokenizer.model"));
        let link = workplace.path().join(format!("{name}.model"));
        std::os::unix::fs::symlink(model, link).expect("can be linked");
    }
    let sums = oracle.join("real/expected/SHA256SUMS");
    check(&workplace, configs, &format!("output/{output}"), &expected(&sums, output));
}

fn check_scenario(name: &str) {
    let Some(oracle) = oracle() else { return };
    let workplace = inputs(&oracle.join("scenarios"));
    if name == "mix" {
        fs::create_dir_all(workplace.path().join("emozilla/soda_synthetic_dialogue"))
            .expect("writable");
        workplace.write("emozilla/soda_synthetic_dialogue/train.jsonl", soda_dialogue(&oracle));
    }
    let sums = oracle.join("scenarios/expected/SHA256SUMS");
    let output = format!("{name}_tiny");
    check(&workplace, &[name, "tiny"], &format!("out/{output}"), &expected(&sums, &output));
}

/// The oracle lacks one input of the scenario `mix`; what matters of it stands in the outputs.
fn soda_dialogue(oracle: &Path) -> String {
    let lines = |split: &str, place: usize, n: usize| -> Vec<String> {
        let path = oracle.join(format!("scenarios/expected/mix_tiny/mix-{split}.jsonl"));
        let text = fs::read_to_string(path).expect("the oracle can be read");
        let line = |line: &str| {
            let value: Value = serde_json::from_str(line).expect("a line is JSON");
            value["text"].as_str().expect("a line has a text").to_string()
        };
        text.lines().skip(place).take(n).map(line).collect()
    };
    // Where the dataset's documents stand, by the statistics.
    let (train, val) = (lines("train", 754, 32), lines("val", 116, 8));
    let (train_rows, val_rows) =
        pretokenizer::split::sklearn(40, Some(ValSplit::Fraction(0.2))).expect("forty rows divide");
    let mut rows = vec![String::new(); 40];
    for (row, document) in train_rows.into_iter().zip(train).chain(val_rows.into_iter().zip(val)) {
        let conversation = document
            .replace("<|im_start|>user\n", "User: ")
            .replace("<|im_end|>\n<|im_start|>assistant\n", "\nAssistant: ")
            .replace("<|im_end|>\n", "");
        rows[row] = serde_json::json!({ "conversation": conversation }).to_string() + "\n";
    }
    rows.concat()
}

#[test]
fn the_published_datamix() {
    check_real(&["orca_megacode_oasst_best", "codellama"], "orca_megacode_oasst_best");
}

#[test]
fn fractions_and_sizes() {
    check_real(&["fractions", "llama2"], "fractions_llama2");
}

#[test]
fn oasst_top1() {
    check_scenario("oasst_top1");
}

#[test]
fn oasst_all() {
    check_scenario("oasst_all");
}

#[test]
fn mega2() {
    check_scenario("mega2");
}

#[test]
fn mega3fill() {
    check_scenario("mega3fill");
}

#[test]
fn mix() {
    check_scenario("mix");
}

#[test]
fn oig2() {
    check_scenario("oig2");
}

#[test]
fn q_size() {
    check_scenario("q_size");
}

#[test]
fn q_emptymid() {
    check_scenario("q_emptymid");
}

#[test]
fn q_extra() {
    check_scenario("q_extra");
}
