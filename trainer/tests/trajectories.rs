//! Runs of other shapes than the oracle's, step by step against what `golden/trajectories.py` computed with
//! transformers and torch: grouped queries, RoPE stretched in both ways, other splits, micro-batches, betas, clipping,
//! sequence lengths, schedules, normalisers, label weights, a tied head - everything set as a user would, with `--set`.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};
use shards::layout::IndexKind;
use shards::role::Role;
use shards::writer::PairWriter;
use tch::Tensor;
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

/// A trajectory that is about to begin, with these settings besides its own.
#[track_caller]
fn begin(name: &str, more: &[&str]) -> (Golden, Run) {
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
    (golden_run, Run::open(config).expect("the run can be opened"))
}

/// A trajectory's tensors against those that it should have, relative to the largest number of each.
#[track_caller]
fn check_tensors(name: &str, file: &str, found: impl Iterator<Item = (String, Tensor)>) {
    let stored = Stored::open_files(&[golden().join(name).join(file)]).expect("tensors");
    let mut n_found = 0;
    for (parameter, found) in found {
        let wanted = stored.tensor(&parameter).expect("the parameter is stored");
        let largest = wanted.abs().max().double_value(&[]);
        let off = (&found - &wanted).abs().max().double_value(&[]) / largest;
        assert!(off <= 1e-3, "{name}, {file}: `{parameter}` is off by {off} of its largest");
        n_found += 1;
    }
    assert_eq!(n_found, stored.names().count());
}

/// Runs a trajectory with these settings besides its own, and compares every step and the last weights.
#[track_caller]
fn check(name: &str, more: &[&str]) {
    let (golden_run, mut run) = begin(name, more);
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
    let weights = weights::parameters(&run.model).into_iter();
    check_tensors(name, "end.safetensors", weights.map(|(spec, found)| (spec.name, found)));
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
fn a_tied_head_follows_transformers_gradient_for_gradient() {
    check("tied", &[]);
    let (_, mut run) = begin("tied", &[]);
    run.step().expect("a step");
    let params = run.model.units.iter().flat_map(|unit| &unit.spec.params);
    let gradients = run.gradients().views().into_iter().flatten().map(Tensor::shallow_clone);
    let named = params.map(|param| param.name.clone()).zip(gradients);
    check_tensors("tied", "gradients.safetensors", named);
}

#[test]
fn packed_rows_follow_the_same_trajectories() {
    for name in ["gqa", "mqa", "mha", "tied"] {
        check(name, &["data.rows=packed", "recompute=every_2"]);
    }
}
