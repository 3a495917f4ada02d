//! Base models on disk: what is read, what is written, and what is refused.

use std::path::Path;

use tch::{Device, Kind, Tensor};
use tempfile::TempDir;
use trainer::llama_config::LlamaConfig;
use trainer::params::Model;
use trainer::stored::{INDEX, SINGLE};
use trainer::weights::{self, Source};

fn golden() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/llama"))
}

fn empty() -> Model {
    Model::zeros(LlamaConfig::read(golden()).expect("a Llama"), Kind::Float, Device::Cpu)
}

fn model() -> Model {
    let mut model = empty();
    weights::load(golden(), &mut model).expect("the golden model is whole");
    model
}

#[test]
fn a_model_is_read_back_from_one_file_or_several_in_f32_and_in_bfloat16() {
    let model = model();
    let tensors = weights::sources(&model);
    for (kind, most, files) in [(Kind::Float, u64::MAX, 1), (Kind::BFloat16, 2000, 7)] {
        let folder = tempfile::tempdir().unwrap();
        weights::write_folder(folder.path(), &tensors, kind, most).unwrap();
        let names = fs_err::read_dir(folder.path()).unwrap();
        let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        let n_weights = names.iter().filter(|name| name.to_string_lossy() != INDEX).count();
        assert_eq!(n_weights, files, "{names:?}");

        let mut read = empty();
        weights::load(folder.path(), &mut read).unwrap();
        for (one, two) in model.units.iter().zip(&read.units) {
            assert_eq!(one.master.to_kind(kind).to_kind(Kind::Float), two.master, "{kind:?}");
        }
    }
}

#[test]
fn the_index_has_the_bytes_of_all_tensors() {
    let (model, folder) = (model(), tempfile::tempdir().unwrap());
    weights::write_folder(folder.path(), &weights::sources(&model), Kind::BFloat16, 2000).unwrap();
    let text = fs_err::read_to_string(folder.path().join(INDEX)).unwrap();
    let index: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(index["metadata"]["total_size"], model.numel() * 2);
}

/// Writes the golden model with one change to its tensors, changes the file's bytes, and expects a refusal.
#[track_caller]
fn check(
    change: impl FnOnce(&mut Vec<(String, Tensor)>),
    damage: impl FnOnce(&mut Vec<u8>),
    complaints: &[&str],
) {
    let folder: TempDir = tempfile::tempdir().expect("a temporary folder");
    let model = model();
    let tensors = weights::parameters(&model).into_iter();
    let mut tensors: Vec<(String, Tensor)> =
        tensors.map(|(spec, tensor)| (spec.name, tensor.copy())).collect();
    change(&mut tensors);
    let path = folder.path().join(SINGLE);
    let sources: Vec<_> =
        tensors.iter().map(|(name, it)| Source::tensor(name.as_str(), it)).collect();
    weights::write_file(&path, &sources, Kind::Float).expect("space on the disk");
    let mut bytes = fs_err::read(&path).expect("the file was just written");
    damage(&mut bytes);
    shards::atomic::write(&path, &bytes).expect("space on the disk");
    let error = weights::load(folder.path(), &mut empty()).expect_err("it is damaged");
    let said = format!("{error:#}");
    for complaint in complaints {
        assert!(said.contains(complaint), "{said}");
    }
}

#[test]
fn tensors_that_are_not_the_models_are_all_named() {
    let norm = "model.norm.weight";
    let change = |tensors: &mut Vec<(String, Tensor)>| {
        tensors[0].0 = "model.embed.weight".into();
        let at = tensors.iter().position(|(name, _)| name == norm).unwrap();
        tensors[at].1 = Tensor::ones([5], (Kind::Float, Device::Cpu));
    };
    check(
        change,
        |_| {},
        &[
            "`model.embed_tokens.weight` is missing",
            "`model.embed.weight` is no tensor of this model",
            "`model.norm.weight` has the shape [5], expected [16]",
        ],
    );
}

#[test]
fn numbers_that_are_none_are_refused() {
    let spoil = |tensors: &mut Vec<(String, Tensor)>| {
        let _ = tensors[0].1.get(0).get(0).fill_(f64::NAN);
    };
    check(spoil, |_| {}, &["`model.embed_tokens.weight` has numbers that are infinite or not"]);
}

#[test]
fn a_file_that_is_cut_short_or_is_something_else_is_refused() {
    let whole = "is no whole safetensors file\nhint: ";
    check(|_| {}, |bytes| bytes.truncate(bytes.len() - 1), &[SINGLE, whole]);
    check(|_| {}, |bytes| bytes.truncate(100), &[SINGLE, whole]);
    check(|_| {}, |bytes| bytes.truncate(0), &[SINGLE]);
    check(|_| {}, |bytes| bytes.fill(b'<'), &[SINGLE, whole]);
}
