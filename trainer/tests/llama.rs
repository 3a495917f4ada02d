//! The model's numbers are transformers' and PyTorch's: logits, losses, every gradient, RMSNorm in bfloat16.
//!
//! `golden/make.py` made the expected numbers. The model is small and its weights are large, so that attention, gates
//! and norms are far from linear; two query heads share a head of keys and values, and theta is 1e6.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tch::{Device, Kind, Tensor};
use trainer::backward::{Gradients, Pass, micro_batch};
use trainer::batch::MicroBatch;
use trainer::config::Recompute;
use trainer::llama_config::LlamaConfig;
use trainer::loss;
use trainer::model::{Context, KvCache};
use trainer::params::Model;
use trainer::rows::Row;
use trainer::weights;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn tensors(name: &str) -> BTreeMap<String, Tensor> {
    Tensor::read_safetensors(golden(name))
        .expect("the golden file can be read")
        .into_iter()
        .collect()
}

fn model(kind: Kind) -> Model {
    let folder = golden("llama");
    let config = LlamaConfig::read(&folder).expect("the golden model has a config");
    let mut model = Model::zeros(config, kind, Device::Cpu);
    weights::load(&folder, &mut model).expect("the golden model has weights");
    model
}

/// The golden documents in micro-batches of two.
fn batches(expected: &BTreeMap<String, Tensor>) -> Vec<MicroBatch> {
    let rows: Vec<Row> = (0..4)
        .map(|i| {
            let numbers = |name: &str| {
                Vec::<i64>::try_from(&expected[&format!("{name}.{i}")]).expect("a list")
            };
            let supervised = numbers("learned").into_iter().map(|learned| learned == 1).collect();
            Row { tokens: numbers("document"), supervised, cut: Default::default() }
        })
        .collect();
    rows.chunks(2).map(|rows| MicroBatch::new(rows, 64, 0, Device::Cpu)).collect()
}

fn pass(recompute: Recompute, chunk_tokens: i64) -> Pass {
    Pass { recompute, chunk_tokens }
}

fn distance(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[])
}

/// The gradients of the golden micro-batches, each scaled, and the scaled loss.
fn accumulated(
    model: &Model,
    batches: &[MicroBatch],
    scales: &[f64],
    pass: Pass,
) -> (Gradients, f64) {
    let mut gradients = Gradients::zeros(model);
    let mut total = 0.0;
    for (batch, scale) in batches.iter().zip(scales) {
        let loss =
            micro_batch(model, batch, *scale, pass, &mut gradients).expect("a backward pass");
        total += loss.double_value(&[]) * scale;
    }
    (gradients, total)
}

#[test]
fn logits_are_those_of_transformers() {
    let (model, expected) = (model(Kind::Float), tensors("llama/expected.safetensors"));
    let logits = model.logits(&expected["document.0"].unsqueeze(0));
    // Logits are of the order of ten; f32 keeps six digits of them.
    assert!(
        distance(&logits, &expected["logits"]) < 2e-5,
        "{}",
        distance(&logits, &expected["logits"])
    );
}

#[test]
fn losses_and_gradients_are_those_of_pytorch_whatever_divides_the_loss() {
    let (model, expected) = (model(Kind::Float), tensors("llama/expected.safetensors"));
    let batches = batches(&expected);
    let learned: Vec<f64> = batches.iter().map(|batch| batch.counts.supervised as f64).collect();
    assert!(
        learned[1] > 1.5 * learned[0],
        "the micro-batches must be unequal for this to be a test: {learned:?}"
    );
    let tokens = vec![1.0 / (learned[0] + learned[1]); 2];
    let micro_batch = learned.iter().map(|learned| 0.5 / learned).collect();
    for (name, scales) in [("tokens", tokens), ("micro_batch", micro_batch)] {
        // A chunk of 3 makes several chunks, the last one shorter.
        let (gradients, loss) = accumulated(&model, &batches, &scales, pass(Recompute::None, 3));
        let wanted = expected[&format!("{name}.loss")].double_value(&[]);
        assert!((loss - wanted).abs() < 1e-5, "{name}: loss {loss}, expected {wanted}");
        for (unit, views) in model.units.iter().zip(gradients.views()) {
            for (param, found) in unit.spec.params.iter().zip(views) {
                let wanted = &expected[&format!("{name}.{}", param.name)];
                let largest = wanted.abs().max().double_value(&[]);
                let off = distance(found, wanted) / largest;
                assert!(
                    off < 2e-5,
                    "{name}: the gradient of `{}` is off by {off} of its largest",
                    param.name
                );
            }
        }
    }
}

#[test]
fn going_unit_by_unit_and_computing_again_change_no_bit() {
    for kind in [Kind::Float, Kind::BFloat16] {
        let (model, expected) = (model(kind), tensors("llama/expected.safetensors"));
        let batch = &batches(&expected)[..1];
        let (units, loss) = accumulated(&model, batch, &[0.25], pass(Recompute::None, 512));
        let (again, same_loss) = accumulated(&model, batch, &[0.25], pass(Recompute::All, 512));
        assert_eq!(loss.to_bits(), same_loss.to_bits());

        // The same through one graph: all blocks at once, from the gradient that the head gives.
        let rope = model.rope(0, batch[0].tokens_bt.size()[1]);
        let mut x = model.embed(&batch[0].tokens_bt);
        for layer in 0..model.n_layers() {
            x = model.block(layer, &x, &rope, Context::Rows);
        }
        let mut head = Tensor::zeros_like(&units.views()[model.units.len() - 1][0]);
        let from_head = loss::gradients(&model, &x.detach(), &batch[0], 0.25, 512, &mut head)
            .expect("the head's gradients");
        let leaves: Vec<&Tensor> =
            model.units[..=model.n_layers()].iter().flat_map(|unit| &unit.leaves).collect();
        let plain = torch_ext::grad(&[&x], &[&from_head.x_btd], &leaves).expect("a backward pass");

        let flat = |gradients: &Gradients| -> Vec<Tensor> {
            gradients.views().iter().flatten().map(Tensor::shallow_clone).collect()
        };
        for ((units, again), plain) in flat(&units).iter().zip(flat(&again)).zip(&plain) {
            let plain = plain.as_ref().expect("every parameter is used").to_kind(Kind::Float);
            assert_eq!(*units, plain, "{kind:?}");
            assert_eq!(*units, again, "{kind:?}");
        }
        assert_eq!(head, units.views()[model.units.len() - 1][0]);
    }
}

#[test]
fn a_micro_batch_with_nothing_to_learn_adds_zero() {
    let model = model(Kind::Float);
    let row = Row { tokens: vec![1, 2, 3], supervised: vec![false; 3], cut: Default::default() };
    let batch = [MicroBatch::new(&[row], 64, 0, Device::Cpu)];
    let (gradients, loss) = accumulated(&model, &batch, &[1.0], pass(Recompute::None, 512));
    assert_eq!(loss, 0.0);
    assert_eq!(gradients.norm(1.0).expect("a norm"), (0.0, None));
}

#[test]
fn in_bfloat16_a_norm_is_cast_before_its_weight_multiplies() {
    let expected = tensors("norm.safetensors");
    let mut model = model(Kind::BFloat16);
    let head = model.units.len() - 1;
    model.units[head].leaves[1] = expected["weight"].shallow_clone();
    let found = model.final_norm(&expected["x"]);
    assert_eq!(found.kind(), Kind::BFloat16);
    assert_eq!(found, expected["y"]);
}

#[test]
fn generating_token_by_token_gives_the_logits_of_the_whole() {
    let (model, expected) = (model(Kind::Float), tensors("llama/expected.safetensors"));
    let tokens = expected["document.0"].unsqueeze(0);
    let (prompt, length) = (6, tokens.size()[1]);
    let mut cache = KvCache::new(&model);
    let mut found = vec![model.next_logits(&tokens.narrow(1, 0, prompt), &mut cache)];
    for place in prompt..length {
        found.push(model.next_logits(&tokens.narrow(1, place, 1), &mut cache));
    }
    assert_eq!(cache.len(), length);
    let whole = expected["logits"].squeeze_dim(0).narrow(0, prompt - 1, length - prompt + 1);
    assert!(distance(&Tensor::cat(&found, 0), &whole) < 2e-5);
}
