//! The golden model with a vocabulary of 20 tokens, of its 48 rows: of two ranks, the second has none that take part.

use std::path::Path;

use tch::{Device, Kind, Tensor};
use trainer::backward::{Pass, forward, micro_batch};
use trainer::batch::{Batching, MicroBatch};
use trainer::config::{HeadPlaces, Normalize, Recompute, RowLayout, Zero};
use trainer::gradients::Gradients;
use trainer::llama_config::LlamaConfig;
use trainer::loss::{Objective, token_losses};
use trainer::params::Model;
use trainer::ranks::Mesh;
use trainer::rows::Sample;
use trainer::weights;

/// What a micro-batch gives.
pub(crate) struct Made {
    loss: f64,
    head_grad_vd: Tensor,
    losses_n: Tensor,
    correct_n: Tensor,
}

/// These tokens, of which all but the first five are learned.
fn batch(tokens: Vec<i64>) -> MicroBatch {
    let batching = Batching {
        layout: RowLayout::Padded,
        sequence_length: 64,
        micro: 1,
        normalize: Normalize::Tokens,
        head: HeadPlaces::Learned,
        pad_id: 0,
        device: Device::Cpu,
    };
    let weights = (0..tokens.len()).map(|at| f32::from(u8::from(at > 4))).collect();
    batching.update(&[Sample { tokens, weights, cut: Default::default() }]).remove(0)
}

fn objective(vocab_size: i64) -> Objective {
    Objective { chunk_tokens: 7, vocab_size, z_loss: 0.01, label_smoothing: 0.1 }
}

fn model(mesh: &Mesh) -> Model {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/llama");
    let shape = LlamaConfig::read(&golden).expect("a Llama");
    let mut model = Model::sharded(shape, None, Kind::Double, Device::Cpu, mesh, Zero::Nothing);
    weights::load(&golden, &mut model).expect("the golden weights");
    model
}

/// Of forty tokens, of which of two ranks the first has 24: many that are to be predicted, and whether they are.
pub(crate) fn predicted(mesh: &Mesh) -> Vec<(i64, bool)> {
    let model = model(mesh);
    let found = (1..20).flat_map(|step| {
        let batch = batch((0..60).map(|i| step * i % 40).collect());
        let hidden = forward(&model, &batch, None).expect("a pass");
        let losses = token_losses(&model, &hidden, &batch, objective(40)).expect("losses");
        let labels = Vec::<i64>::try_from(&batch.labels_n).expect("labels");
        labels.into_iter().zip(Vec::<bool>::try_from(&losses.correct_n).expect("flags"))
    });
    found.collect()
}

/// Runs thirty tokens of twenty on these ranks.
pub(crate) fn make(mesh: &Mesh) -> Made {
    let objective = objective(20);
    let pass = Pass { recompute: Recompute::None, objective, noise: None };
    let model = model(mesh);
    let mut gradients = Gradients::zeros(&model);
    gradients.begin(true);
    let batch = batch((0..30).map(|i| (7 * i) % 20).collect());
    let loss = micro_batch(&model, &batch, pass, &mut gradients).expect("a pass");
    gradients.finish().expect("all ranks come");
    let head = model.units.len() - 1;
    let mut head = model.whole(head, gradients.of_master(head)).expect("all ranks come");
    let hidden = forward(&model, &batch, None).expect("a pass");
    let losses = token_losses(&model, &hidden, &batch, objective).expect("losses");
    Made {
        loss: loss.double_value(&[]),
        head_grad_vd: head.swap_remove(0),
        losses_n: losses.loss_n,
        correct_n: losses.correct_n,
    }
}

/// Compares it with what one rank makes.
#[track_caller]
pub(crate) fn compare(made: &Made, alone: &Made) {
    let off = |a: &Tensor, b: &Tensor| (a - b).abs().max().double_value(&[]);
    assert!(
        (made.loss - alone.loss).abs() < 1e-12,
        "the loss is off: {} for {}",
        made.loss,
        alone.loss
    );
    assert!(off(&made.head_grad_vd, &alone.head_grad_vd) < 1e-12, "the gradient is off");
    assert_eq!(made.head_grad_vd.narrow(0, 20, 28).abs().max().double_value(&[]), 0.0);
    assert!(off(&made.losses_n, &alone.losses_n) < 1e-12, "token losses are off");
    assert_eq!(made.correct_n, alone.correct_n);
}
