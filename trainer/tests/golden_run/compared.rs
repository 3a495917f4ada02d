//! A few steps of a run, whoever makes them, and how far two runs are apart.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;

use tch::{Device, Kind, Tensor};
use trainer::config::{Config, Zero};
use trainer::gradients::Gradients;
use trainer::llama_config::LlamaConfig;
use trainer::params::Model;
use trainer::ranks::{Mesh, Ranks};
use trainer::run::Run;
use trainer::units::Share;

use crate::golden_run;

/// The golden model on documents of which some teach nothing and one teaches much more than the others.
pub(crate) fn config(settings: &[&str]) -> Config {
    let folder = tempfile::tempdir().expect("a temporary folder").keep();
    let prefix = folder.join("docs-train");
    let documents = (0..12).map(|i| {
        let length = if i == 5 { 60 } else { 6 + i };
        (length, if i % 4 == 0 { length } else { 3 })
    });
    golden_run::write_documents(&prefix, documents);
    let lines =
        "steps: 3\noptimizer: {lr: 0.01, eps: 1.0e-4, weight_decay: 0.1}\nprecision: fp64\n";
    golden_run::config(&prefix, &folder.join("run.yaml"), lines, settings)
}

/// Gradients and masters by name, brought together from all ranks. What several have must be the same on all.
fn by_name(run: &Run) -> BTreeMap<String, Tensor> {
    let mut found = BTreeMap::new();
    for (number, unit) in run.model.units.iter().enumerate() {
        for (what, flat) in
            [("gradient of", run.gradients().of_master(number)), ("weight of", &unit.master)]
        {
            let whole = run.model.whole(number, flat).expect("all ranks come");
            for ((param, whole), (piece, ours)) in
                unit.spec.params.iter().zip(whole).zip(unit.pieces(flat))
            {
                let Range { start, end } = piece.in_param;
                if start < end {
                    let held = param.held.of(&whole).contiguous().view(-1);
                    assert_eq!(held.narrow(0, start, end - start), ours, "{what} {}", param.name);
                }
                let mesh = run.model.mesh();
                let copied = param.share.is_copy().then_some(&mesh.tensor);
                for ranks in copied.into_iter().chain([&mesh.replicas]) {
                    let copies = ranks.each(&whole).expect("all ranks come");
                    assert!(copies.iter().all(|copy| *copy == whole), "{what} {}", param.name);
                }
                // Runs on different devices are compared too.
                found.insert(format!("{what} {}", param.name), whole.to_device(Device::Cpu));
            }
        }
    }
    found
}

/// What some steps did.
#[derive(Debug)]
pub(crate) struct Made {
    losses: Vec<f64>,
    norms: Vec<f64>,
    documents: Vec<Vec<usize>>,
    tensors: Vec<BTreeMap<String, Tensor>>,
}

/// Three steps.
pub(crate) fn make(ranks: &Rc<Ranks>, settings: &[&str]) -> Made {
    made(Run::open_on(ranks, config(settings)).expect("a sound run"))
}

/// Three steps of a run.
pub(crate) fn made(mut run: Run) -> Made {
    let mut made = Made { losses: vec![], norms: vec![], documents: vec![], tensors: vec![] };
    for _ in 0..3 {
        let step = run.step().expect("a step");
        assert!(!step.skipped);
        made.losses.push(step.loss);
        made.norms.push(step.grad_norm);
        made.documents.push(step.first_documents);
        made.tensors.push(by_name(&run));
    }
    made
}

/// The largest difference of two runs in any number.
pub(crate) fn off(one: &Made, other: &Made) -> (f64, String) {
    assert_eq!(one.documents, other.documents);
    let mut off = (0.0, String::new());
    let mut see = |difference: f64, name: String| {
        if difference > off.0 || difference.is_nan() {
            off = (difference, name);
        }
    };
    for (step, (one, other)) in one.losses.iter().zip(&other.losses).enumerate() {
        see((one - other).abs(), format!("loss of step {step}"));
    }
    for (step, (one, other)) in one.norms.iter().zip(&other.norms).enumerate() {
        see((one - other).abs(), format!("norm of step {step}"));
    }
    for (step, (one, other)) in one.tensors.iter().zip(&other.tensors).enumerate() {
        assert!(one.keys().eq(other.keys()));
        for (name, tensor) in one {
            let difference = (tensor - &other[name]).abs().max().double_value(&[]);
            see(difference, format!("{name} after step {step}"));
        }
    }
    off
}

/// What one rank makes, where it is known: on the first.
pub(crate) fn alone(ranks: &Rc<Ranks>, settings: &[&str]) -> Option<Made> {
    ranks.leads().then(|| make(&Ranks::alone(), settings))
}

/// Compares what these ranks make with what one made.
#[track_caller]
pub(crate) fn compare(
    ranks: &Rc<Ranks>,
    alone: Option<&Made>,
    settings: &[&str],
    layout: &[&str],
    tolerance: f64,
) {
    let made = make(ranks, &[settings, layout].concat());
    if let Some(alone) = alone {
        let (off, name) = off(alone, &made);
        assert!(off <= tolerance, "{settings:?} {layout:?}: {name} is off by {off:e}");
    }
}

/// Compares runs of these layouts with that of one rank.
#[track_caller]
pub(crate) fn check(ranks: &Rc<Ranks>, settings: &[&str], layouts: &[Vec<String>], tolerance: f64) {
    let alone = alone(ranks, settings);
    for layout in layouts {
        let layout: Vec<&str> = layout.iter().map(String::as_str).collect();
        compare(ranks, alone.as_ref(), settings, &layout, tolerance);
    }
}

/// The square of the norm of gradients that are 1 in every parameter, and of which the padding was 1e30 before they were
/// added up; and how many parameters there are.
pub(crate) fn square_of_ones(mesh: &Mesh, zero: Zero) -> (f64, f64) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/llama");
    let shape = LlamaConfig::read(&golden).expect("a Llama");
    let model = Model::sharded(shape, None, Kind::Double, Device::Cpu, mesh, zero);
    let mut gradients = Gradients::zeros(&model);
    gradients.begin(true);
    for (number, unit) in model.units.iter().enumerate() {
        gradients.open(number).expect("nothing is on its way");
        let whole = gradients.parameter(number, 0);
        let _ = whole.as_strided([unit.padded()], [1], 0).fill_(1e30);
        for (parameter, spec) in unit.spec.params.iter().enumerate() {
            // Of a sum over the tensor group, each brings a share.
            let summands = if spec.share == Share::Summand { mesh.tensor.size() } else { 1 };
            let share = 1.0 / (mesh.data.size() * summands) as f64;
            let _ = gradients.parameter(number, parameter).fill_(share);
        }
        gradients.close(number).expect("all ranks come");
    }
    gradients.finish().expect("all ranks come");
    let square = mesh.world.sums(&[gradients.square().expect("a norm")]).expect("all come")[0];
    (square, model.numel() as f64)
}
