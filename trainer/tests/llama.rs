//! The model's numbers are transformers' and PyTorch's: logits, losses, every gradient, RMSNorm in bfloat16.
//!
//! `golden/make.py` made the expected numbers. The model is small and its weights are large, so that attention, gates
//! and norms are far from linear; two query heads share a head of keys and values, and theta is 1e6.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tch::{Device, Kind, Tensor};
use trainer::backward::{Pass, micro_batch};
use trainer::batch::{Batching, MicroBatch};
use trainer::config::{HeadPlaces, NoiseConfig, Normalize, Recompute, RowLayout};
use trainer::gradients::Gradients;
use trainer::llama_config::LlamaConfig;
use trainer::loss::{self, Objective};
use trainer::model::{Context, KvCache};
use trainer::noise::Noise;
use trainer::params::Model;
use trainer::rows::Sample;
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

/// Micro-batches of two.
fn batching(normalize: Normalize) -> Batching {
    Batching {
        layout: RowLayout::Padded,
        sequence_length: 64,
        micro: 2,
        normalize,
        head: HeadPlaces::Learned,
        pad_id: 0,
        device: Device::Cpu,
    }
}

fn numbers(tensor: &Tensor) -> Vec<i64> {
    Vec::try_from(tensor.to_kind(Kind::Int64)).expect("a list")
}

/// The golden documents.
fn samples(expected: &BTreeMap<String, Tensor>) -> Vec<Sample> {
    let sample = |i| {
        let learned = &expected[&format!("learned.{i}")].to_kind(Kind::Float);
        Sample {
            tokens: numbers(&expected[&format!("document.{i}")]),
            weights: Vec::try_from(learned).expect("a list"),
            cut: Default::default(),
        }
    };
    (0..4).map(sample).collect()
}

fn pass(recompute: Recompute, chunk_tokens: i64) -> Pass {
    let objective = Objective { chunk_tokens, vocab_size: 48, z_loss: 0.0, label_smoothing: 0.0 };
    Pass { recompute, objective, noise: None }
}

fn distance(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[])
}

/// The gradients of some micro-batches, and their loss.
fn accumulated(model: &Model, batches: &[MicroBatch], pass: Pass) -> (Gradients, f64) {
    let mut gradients = Gradients::zeros(model);
    let mut total = 0.0;
    for batch in batches {
        let loss = micro_batch(model, batch, pass, &mut gradients).expect("a backward pass");
        total += loss.double_value(&[]);
    }
    (gradients, total)
}

/// Compares gradients with those that are expected, as far as they are.
#[track_caller]
fn check_gradients(
    model: &Model,
    gradients: &Gradients,
    expected: &BTreeMap<String, Tensor>,
    name: &str,
) {
    let mut compared = 0;
    for (unit, views) in model.units.iter().zip(gradients.views()) {
        for (param, found) in unit.spec.params.iter().zip(views) {
            let Some(wanted) = expected.get(&format!("{name}.{}", param.name)) else { continue };
            let largest = wanted.abs().max().double_value(&[]);
            let off = distance(found, wanted) / largest;
            let param = &param.name;
            // f32 sums of a few hundred products, in another order.
            assert!(off < 2e-5, "{name}: the gradient of `{param}` is off by {off} of its largest");
            compared += 1;
        }
    }
    assert!(compared >= 3, "{name}: only {compared} gradients were compared");
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
    let samples = samples(&expected);
    let learned = |samples: &[Sample]| -> f32 { samples.iter().flat_map(|it| &it.weights).sum() };
    let [first, second] = [learned(&samples[..2]), learned(&samples[2..])];
    assert!(second > 1.5 * first, "micro-batches must be unequal for this to be a test");
    for (name, normalize) in [("tokens", Normalize::Tokens), ("micro_batch", Normalize::MicroBatch)]
    {
        // The same however rows are laid out and whichever places go through the head.
        for layout in [RowLayout::Padded, RowLayout::Packed] {
            for head in [HeadPlaces::Learned, HeadPlaces::All] {
                let batching = Batching { layout, head, ..batching(normalize) };
                // A chunk of 3 makes several chunks, the last one shorter.
                let batches = batching.update(&samples);
                let (gradients, loss) = accumulated(&model, &batches, pass(Recompute::None, 3));
                let wanted = expected[&format!("{name}.loss")].double_value(&[]);
                assert!((loss - wanted).abs() < 1e-5, "{name}: loss {loss}, expected {wanted}");
                check_gradients(&model, &gradients, &expected, name);
            }
        }
    }
}

#[test]
fn label_weights_z_loss_smoothing_and_a_smaller_vocabulary_are_those_of_pytorch() {
    let (model, expected) = (model(Kind::Float), tensors("llama/objective.safetensors"));
    let plain = pass(Recompute::None, 5).objective;
    for (name, weighted, objective) in [
        ("weights", true, plain),
        ("z_loss", false, Objective { z_loss: 0.02, ..plain }),
        ("smoothing", false, Objective { label_smoothing: 0.1, ..plain }),
        ("vocab", false, Objective { vocab_size: 41, ..plain }),
        ("all", true, Objective { vocab_size: 41, z_loss: 0.02, label_smoothing: 0.1, ..plain }),
    ] {
        let sample = |i| {
            let weights = &expected[&format!("weights.{i}")];
            let mut weights: Vec<f32> = Vec::try_from(weights).expect("a list");
            if !weighted {
                weights.iter_mut().for_each(|it| *it = f32::from(u8::from(*it > 0.0)));
            }
            let tokens = numbers(&expected[&format!("document.{i}")]);
            Sample { tokens, weights, cut: Default::default() }
        };
        let samples: Vec<Sample> = (0..3).map(sample).collect();
        let batches = batching(Normalize::Tokens).update(&samples);
        let pass = Pass { objective, ..pass(Recompute::None, 5) };
        let (gradients, loss) = accumulated(&model, &batches, pass);
        let wanted = expected[&format!("{name}.loss")].double_value(&[]);
        assert!((loss - wanted).abs() < 1e-5, "{name}: loss {loss}, expected {wanted}");
        check_gradients(&model, &gradients, &expected, name);
        let rest =
            gradients.views()[3][0].narrow(0, objective.vocab_size, 48 - objective.vocab_size);
        assert_eq!(rest.abs().sum(Kind::Float).double_value(&[]), 0.0, "{name}: rows left out");
    }
}

#[test]
fn going_unit_by_unit_and_computing_again_change_no_bit() {
    for kind in [Kind::Float, Kind::BFloat16] {
        let (model, expected) = (model(kind), tensors("llama/expected.safetensors"));
        let batch = &batching(Normalize::Tokens).update(&samples(&expected))[..1];
        let (units, loss) = accumulated(&model, batch, pass(Recompute::None, 512));
        let (again, same_loss) = accumulated(&model, batch, pass(Recompute::All, 512));
        assert_eq!(loss.to_bits(), same_loss.to_bits());
        let every_2 = Recompute::Every(2.try_into().expect("not zero"));
        let (some, same_loss) = accumulated(&model, batch, pass(every_2, 512));
        assert_eq!(loss.to_bits(), same_loss.to_bits());

        // The same through one graph: all blocks at once, from the gradient that the head gives.
        let rope = model.rope(0, batch[0].tokens_bt.size()[1]);
        let mut x = model.embed(&batch[0].tokens_bt);
        for layer in 0..model.n_layers() {
            x = model.block(layer, &x, &rope, Context::Rows, None);
        }
        let mut head = Tensor::zeros_like(&units.views()[model.units.len() - 1][0]);
        let objective = pass(Recompute::None, 512).objective;
        let scale = batch[0].scale;
        let from_head =
            loss::gradients(&model, &x.detach(), &batch[0], scale, objective, Some(&mut head))
                .expect("the head's gradients");
        let leaves: Vec<&Tensor> =
            model.units[..=model.n_layers()].iter().flat_map(|unit| &unit.leaves).collect();
        let plain = torch_ext::grad(&[&x], &[&from_head.x_btd], &leaves).expect("a backward pass");

        let flat = |gradients: &Gradients| -> Vec<Tensor> {
            gradients.views().into_iter().flatten().map(Tensor::shallow_clone).collect()
        };
        for ((units, some), again) in flat(&units).iter().zip(flat(&some)).zip(flat(&again)) {
            assert_eq!(*units, some, "{kind:?}");
            assert_eq!(*units, again, "{kind:?}");
        }
        for (units, plain) in flat(&units).iter().zip(&plain) {
            let plain = plain.as_ref().expect("every parameter is used").to_kind(Kind::Float);
            assert_eq!(*units, plain, "{kind:?}");
        }
        assert_eq!(head, units.views()[model.units.len() - 1][0]);
    }
}

#[test]
fn with_dropout_a_unit_that_runs_again_draws_the_same() {
    let (model, expected) = (model(Kind::Float), tensors("llama/expected.safetensors"));
    let settings = NoiseConfig { dropout: 0.3, lima_dropout: false, neftune_alpha: 5.0 };
    let noise = |step| Noise::of_step(settings, 0.0, model.n_layers(), 7, step);
    for layout in [RowLayout::Padded, RowLayout::Packed] {
        let batches =
            Batching { layout, ..batching(Normalize::Tokens) }.update(&samples(&expected));
        let passes = [(Recompute::None, 1), (Recompute::All, 1), (Recompute::None, 2)];
        let [kept, again, other] = passes.map(|(recompute, step)| {
            let pass = Pass { noise: noise(step), ..pass(recompute, 512) };
            let (gradients, loss) = accumulated(&model, &batches, pass);
            (gradients.views().into_iter().flatten().map(Tensor::copy).collect::<Vec<_>>(), loss)
        });
        assert_eq!(kept, again);
        assert_ne!(kept.1, other.1);
    }
}

#[test]
fn a_micro_batch_with_nothing_to_learn_adds_zero() {
    let model = model(Kind::Float);
    let sample = Sample { tokens: vec![1, 2, 3], weights: vec![0.0; 3], cut: Default::default() };
    let batch = batching(Normalize::MicroBatch).update(&[sample]);
    let (gradients, loss) = accumulated(&model, &batch, pass(Recompute::None, 512));
    assert_eq!(loss, 0.0);
    assert_eq!(gradients.square().expect("a norm"), 0.0);
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

// import numpy as np
// k = np.arange(2**23, dtype=np.uint64) * np.uint64(2654435761) % np.uint64(2**32)
// g = (k.astype(np.float64) / 2**32 - 0.5).astype(np.float32)
// print(repr(np.sqrt(2 * (g.astype(np.float64) ** 2).sum())))
#[test]
fn the_norm_of_many_gradients_is_that_of_fp64() {
    let config = LlamaConfig::read(&golden("llama")).expect("the golden model has a config");
    let n = 1 << 23;
    let config = LlamaConfig { vocab_size: n / config.hidden_size, ..config };
    let model = Model::zeros(config, Kind::Float, Device::Cpu);
    let mut gradients = Gradients::zeros(&model);
    let k = Tensor::arange(n, (Kind::Int64, Device::Cpu)) * 2_654_435_761_i64;
    let k = k.bitwise_and(0xffff_ffff_i64);
    let g = (k.to_kind(Kind::Double) / 4_294_967_296.0 - 0.5).to_kind(Kind::Float);
    // The embedding's matrix and the head's; everything else is zero.
    for (unit, parameter) in [(0, 0), (model.units.len() - 1, 0)] {
        gradients.parameter(unit, parameter).copy_(&g.view([-1, model.config.hidden_size]));
    }
    let norm = gradients.square().expect("a number").sqrt();
    let expected = 1182.4134215700167;
    let off = |norm: f64| (norm / expected - 1.0).abs();
    // What adding up 65536 squares at a time in fp32 may lose.
    assert!(off(norm) < 1e-6, "{norm}");
    let naive = torch_ext::foreach::norms(&[&g, &g]).expect("two norms");
    let naive = naive.to_kind(Kind::Double).norm().double_value(&[]);
    assert!(
        off(naive) > 1e-5,
        "so many numbers must lose something for this to be a test: {naive}"
    );
}
