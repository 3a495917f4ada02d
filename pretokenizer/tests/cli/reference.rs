//! Every dataset name, byte for byte: what `tests/reference/make.py` let the reference write comes out again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::workplace::Workplace;
use fs_err as fs;

type Hashes = BTreeMap<String, BTreeMap<String, String>>;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference")
}

fn expected() -> Hashes {
    let text = fs::read_to_string(folder().join("expected.json")).expect("the hashes are there");
    serde_json::from_str(&text).expect("hashes by section and file")
}

fn workplace() -> Workplace {
    let workplace = Workplace::linking(&folder().join("inputs"));
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/demo/tokenizer.model");
    workplace.write("tokenizer.model", fs::read(model).expect("the demo has a tokenizer"));
    workplace
}

#[test]
fn every_section_has_the_bytes_of_the_reference_on_one_thread_and_on_many() {
    let workplace = workplace();
    for (section, expected) in expected() {
        for threads in ["1", "5"] {
            let output_dir = format!("--output_dir=out/{section}-{threads}/a");
            let arguments =
                ["--configs", &section, "--write_json", "--threads", threads, &output_dir];
            let outcome = workplace.run(&arguments).ok();
            let out = format!("out/{section}-{threads}");
            let mut found = BTreeMap::new();
            for name in workplace.files(&out) {
                let bytes = workplace.read(&format!("{out}/{name}"));
                // The statistics name the folder.
                let at = format!("out/{section}-{threads}/a");
                let bytes = String::from_utf8(bytes)
                    .map(|text| text.replace(&at, "out/a").into_bytes())
                    .unwrap_or_else(|error| error.into_bytes());
                found.insert(name, shards::hash::sha256(&bytes));
            }
            found.retain(|name, _| !name.ends_with("manifest.json"));
            assert_eq!(found, expected, "{section} on {threads} threads\n{}", outcome.err);
        }
    }
}

#[test]
fn every_name_is_in_a_section() {
    let configs = fs::read_to_string(folder().join("inputs/configs/all.yaml")).expect("readable");
    let missing: Vec<_> = pretokenizer::config::dataset_names()
        .filter(|name| !configs.contains(&format!("\"{name}\"")))
        .collect();
    // Sources of one's own, what only a branch of the reference had, and what it crashes on.
    let own = ["messages", "sharegpt", "instructions", "text"];
    assert_eq!(missing, [&own[..], &["bestofmegacode", "red_pajama", "fanfics"]].concat());
}

#[test]
fn every_name_is_in_the_table_of_the_readme() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md"));
    let readme = readme.expect("there is a README");
    let named = |name: &&str| readme.contains(&format!("`{name}`"));
    let missing: Vec<_> = pretokenizer::config::dataset_names().filter(|it| !named(it)).collect();
    assert!(missing.is_empty(), "not in README.md: {missing:?}");
}
