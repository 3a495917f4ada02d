//! Runs of other shapes than the oracle's, step by step against what `golden/trajectories.py` computed with
//! transformers and torch: grouped queries, RoPE stretched in both ways, other splits, micro-batches, betas, clipping,
//! sequence lengths, schedules, normalisers and label weights - everything set as a user would, with `--set`.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};
use shards::layout::IndexKind;
use shards::role::Role;
use shards::writer::PairWriter;
use trainer::config::Config;
use trainer::run::Run;
use trainer::stored::Stored;
use trainer::weights;

#[derive(Deserialize)]
struct Golden {
    settings: Map<String, Value>,
    steps: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    lr: f64,
    loss: f64,
    grad_norm: f64,
    loss_tokens: u64,
    first_docs: Vec<usize>,
}

#[derive(Deserialize)]
struct Document {
    tokens: Vec<u32>,
    roles: Vec<u8>,
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/trajectories")
}

/// Runs a trajectory with these settings besides its own, and compares every step and the last weights.
#[track_caller]
fn check(name: &str, more: &[&str]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let prefix = folder.path().join("docs-train");
    let docs: Vec<Document> =
        cli::Yaml::open(&golden().join("docs.json")).expect("JSON is YAML").parse().expect("docs");
    let mut writer = PairWriter::create(&prefix, IndexKind::Mmap, 56).expect("shards");
    for Document { tokens, roles } in docs {
        let roles: Vec<Role> =
            roles.into_iter().map(|role| Role::try_from(role).expect("a role")).collect();
        writer.push(&tokens, &roles).expect("a document");
    }
    writer.finish().expect("whole shards");

    // The YAML reader keeps every bit of a number: learning rates are compared exactly.
    let path = golden().join(name).join("run.json");
    let golden_run: Golden = cli::Yaml::open(&path).expect("JSON is YAML").parse().expect("a run");
    let base = golden().join(name).join("base");
    let yaml = format!(
        "model: {{base: '{}'}}\ndata: {{train: '{}'}}\nbatch: {{global: 1, micro: 1, sequence_length: 16}}\n\
         steps: 1\noptimizer: {{lr: 1.0}}\ndevice: cpu\n",
        base.display(),
        prefix.display()
    );
    let config = folder.path().join("run.yaml");
    fs_err::write(&config, yaml).expect("a configuration");
    let own = golden_run.settings.iter().map(|(key, value)| format!("{key}={value}"));
    let settings: Vec<String> = own.chain(more.iter().map(ToString::to_string)).collect();
    let config = Config::read(&config, &settings).expect("a sound config");
    let mut run = Run::open(config).expect("the run can be opened");

    for (i, wanted) in golden_run.steps.iter().enumerate() {
        let step = run.step().expect("a step");
        assert_eq!(step.first_documents, wanted.first_docs, "{name}, step {i}");
        assert_eq!(step.lr, wanted.lr, "{name}, step {i}");
        assert_eq!(step.counts.supervised, wanted.loss_tokens, "{name}, step {i}");
        let (loss, norm) = (step.loss, step.grad_norm);
        assert!(
            (loss - wanted.loss).abs() <= 1e-4,
            "{name}, step {i}: loss {loss}, expected {}",
            wanted.loss
        );
        assert!(
            (norm / wanted.grad_norm - 1.0).abs() <= 1e-3,
            "{name}, step {i}: gradient norm {norm}, expected {}",
            wanted.grad_norm
        );
    }
    assert_eq!(run.steps, golden_run.steps.len() as u64);
    let end = Stored::open_files(&[golden().join(name).join("end.safetensors")]).expect("weights");
    for (spec, found) in weights::parameters(&run.model) {
        let wanted = end.tensor(&spec.name).expect("the parameter is stored");
        let largest = wanted.abs().max().double_value(&[]);
        let off = (&found - &wanted).abs().max().double_value(&[]) / largest;
        assert!(off <= 1e-3, "{name}: `{}` is off by {off} of its largest", spec.name);
    }
}

#[test]
fn grouped_queries_with_linear_scaling_follow_transformers() {
    check("gqa", &[]);
}

#[test]
fn one_wide_head_of_keys_with_llama_3_scaling_follows_transformers() {
    check("mqa", &[]);
}

#[test]
fn micro_batches_of_one_with_a_weight_for_everybody_follow_transformers() {
    check("mha", &[]);
}

#[test]
fn packed_rows_follow_the_same_trajectories() {
    for name in ["gqa", "mqa", "mha"] {
        check(name, &["data.rows=packed", "recompute=every_2"]);
    }
}
