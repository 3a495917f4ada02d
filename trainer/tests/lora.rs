//! LoRA's numbers are peft's, whatever the layout: logits, gradients, what some steps of AdamW make of them.
//!
//! `golden/lora.py` made the expected numbers, with adapters whose two matrices are both far from zero.

#[path = "../../crates/torch-ext/tests/ranks/mod.rs"]
mod ranks;

mod golden_run;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use golden_run::join;
use tch::{Device, Kind, Tensor};
use trainer::adapter;
use trainer::backward::{Pass, micro_batch};
use trainer::batch::{Batching, MicroBatch};
use trainer::config::{
    Config, HeadPlaces, LoraConfig, Normalize, OptimizerConfig, ParallelConfig, Recompute,
    RowLayout, Zero,
};
use trainer::gradients::Gradients;
use trainer::llama_config::LlamaConfig;
use trainer::loss::Objective;
use trainer::noise::Noise;
use trainer::optimizer::AdamW;
use trainer::params::Model;
use trainer::ranks::{Mesh, Ranks};
use trainer::rows::Sample;
use trainer::run::Run;
use trainer::weights;

const CASES: [&str; 4] = ["qv", "all", "saved", "head"];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn tensors(name: &str) -> BTreeMap<String, Tensor> {
    let read = Tensor::read_safetensors(golden(name)).expect("the golden file can be read");
    read.into_iter().collect()
}

/// The golden model with the adapter of a case.
fn model(case: &str, kind: Kind) -> Model {
    let folder = golden("lora").join(case);
    let lora = adapter::read_config(&folder).expect("an adapter of peft's");
    let base = golden("llama");
    let config = LlamaConfig::read(&base).expect("the golden model has a config");
    let alone = Mesh::alone();
    let mut model = Model::sharded(config, Some(&lora), kind, Device::Cpu, &alone, Zero::Nothing);
    weights::load(&base, &mut model).expect("the golden model has weights");
    adapter::load(&folder, &lora, &mut model).expect("the adapter fits");
    model
}

fn batches(layout: RowLayout) -> Vec<MicroBatch> {
    let documents = tensors("llama/expected.safetensors");
    let sample = |i| {
        let tokens = documents[&format!("document.{i}")].to_kind(Kind::Int64);
        let learned = documents[&format!("learned.{i}")].to_kind(Kind::Float);
        Sample {
            tokens: Vec::try_from(tokens).expect("a list"),
            weights: Vec::try_from(learned).expect("a list"),
            cut: Default::default(),
        }
    };
    let batching = Batching {
        layout,
        sequence_length: 64,
        micro: 2,
        normalize: Normalize::Tokens,
        head: HeadPlaces::Learned,
        pad_id: 0,
        device: Device::Cpu,
    };
    batching.update(&(0..4).map(sample).collect::<Vec<_>>())
}

fn pass(recompute: Recompute) -> Pass {
    // Chunks of 5 make several, the last one shorter.
    let objective =
        Objective { chunk_tokens: 5, vocab_size: 48, z_loss: 0.0, label_smoothing: 0.0 };
    Pass { recompute, objective, noise: None }
}

fn accumulated(model: &Model, batches: &[MicroBatch], pass: Pass) -> (Gradients, f64) {
    let mut gradients = Gradients::zeros(model);
    let losses = batches.iter().map(|batch| {
        let loss = micro_batch(model, batch, pass, &mut gradients).expect("a backward pass");
        loss.double_value(&[])
    });
    let loss = losses.sum();
    (gradients, loss)
}

/// The largest difference, over the largest number that is expected.
fn off(found: &Tensor, wanted: &Tensor) -> f64 {
    let largest = wanted.abs().max().double_value(&[]);
    (found - wanted).abs().max().double_value(&[]) / largest
}

/// Everything that is trained is expected, and nothing else.
#[track_caller]
fn check<'a>(
    model: &Model,
    found: impl IntoIterator<Item = &'a [Tensor]>,
    expected: &BTreeMap<String, Tensor>,
    what: &str,
    tolerance: f64,
) {
    let mut n_compared = 0;
    for (unit, views) in model.units.iter().zip(found) {
        for (param, found) in unit.spec.params.iter().zip(views) {
            let off = off(found, &expected[&format!("{what}{}", param.name)]);
            assert!(off < tolerance, "{what}{} is off by {off} of its largest", param.name);
            n_compared += 1;
        }
    }
    let n_expected = expected.keys().filter(|key| key.starts_with(what)).count();
    assert_eq!(n_compared, n_expected);
}

#[test]
fn logits_losses_and_gradients_are_those_of_peft() {
    for case in CASES {
        let (model, expected) =
            (model(case, Kind::Float), tensors(&format!("lora/{case}/expected.safetensors")));
        let document = &tensors("llama/expected.safetensors")["document.0"];
        let logits = model.logits(&document.unsqueeze(0));
        // f32 sums of a few dozen products, in another order; the adapter's two small matrices are scaled earlier.
        assert!(off(&logits, &expected["logits"]) < 5e-6, "{case}");
        for layout in [RowLayout::Padded, RowLayout::Packed] {
            let (gradients, loss) = accumulated(&model, &batches(layout), pass(Recompute::None));
            assert!((loss - expected["loss"].double_value(&[])).abs() < 1e-5, "{case}: {loss}");
            check(&model, gradients.views(), &expected, "tokens.", 2e-5);
        }
    }
}

#[test]
fn steps_of_adamw_make_of_adapters_what_they_make_of_pefts() {
    for case in CASES {
        let mut model = model(case, Kind::Float);
        let settings = OptimizerConfig {
            lr: 1e-2,
            min_lr: 0.0,
            betas: [0.9, 0.99],
            eps: 1e-8,
            weight_decay: 0.1,
            clip_grad: 0.0,
        };
        let mut optimizer = AdamW::new(settings, &model);
        for number in 1..=5 {
            let (gradients, _) =
                accumulated(&model, &batches(RowLayout::Padded), pass(Recompute::All));
            optimizer.step(&mut model, &gradients, 1e-2, number).expect("a step");
        }
        let expected = tensors(&format!("lora/{case}/expected.safetensors"));
        let masters: Vec<_> = model.units.iter().map(|unit| unit.master_views()).collect();
        // Adam divides by the root of small squares: what rounding does to a small gradient is seen in full.
        check(&model, masters.iter().map(Vec::as_slice), &expected, "end.", 1e-4);
    }
}

#[test]
fn computing_again_changes_no_bit_and_bfloat16_follows() {
    let expected = tensors("lora/saved/expected.safetensors");
    for kind in [Kind::Float, Kind::BFloat16] {
        let model = model("saved", kind);
        let noise = |step| Noise::of_step(Default::default(), 0.3, model.n_layers(), 7, step);
        for layout in [RowLayout::Padded, RowLayout::Packed] {
            let of = |recompute, step: Option<u64>| {
                let pass = Pass { noise: step.and_then(noise), ..pass(recompute) };
                let (gradients, loss) = accumulated(&model, &batches(layout), pass);
                let flat = gradients.views().into_iter().flatten().map(Tensor::copy);
                (flat.collect::<Vec<_>>(), loss)
            };
            let every_2 = Recompute::Every(2.try_into().expect("not zero"));
            for step in [None, Some(1)] {
                let kept = of(Recompute::None, step);
                assert_eq!(kept, of(Recompute::All, step), "{kind:?} {layout:?} {step:?}");
                assert_eq!(kept, of(every_2, step), "{kind:?} {layout:?} {step:?}");
            }
            // Dropout draws, and draws otherwise in another step.
            assert_ne!(of(Recompute::None, None).1, of(Recompute::None, Some(1)).1);
            assert_ne!(of(Recompute::None, Some(2)).1, of(Recompute::None, Some(1)).1);
            let loss = of(Recompute::None, None).1;
            // Eight bits of logits that are of the order of ten.
            let tolerance = if kind == Kind::Float { 1e-5 } else { 0.05 };
            assert!((loss - expected["loss"].double_value(&[])).abs() < tolerance, "{loss}");
        }
    }
}

#[test]
fn a_new_adapter_changes_nothing_and_begins_as_pefts_do() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = config(folder.path(), "{r: 4}", &[]);
    let run = Run::open(config).expect("a sound run");
    let (plain, document) = (golden("llama"), Tensor::arange(9, (Kind::Int64, Device::Cpu)));
    let mut base =
        Model::zeros(LlamaConfig::read(&plain).expect("a Llama"), Kind::Float, Device::Cpu);
    weights::load(&plain, &mut base).expect("weights");
    let document = document.unsqueeze(0);
    assert_eq!(run.model.logits(&document), base.logits(&document));

    let parameters = weights::parameters(&run.model);
    // Queries and values of two blocks.
    assert_eq!(parameters.len(), 8);
    for (spec, values) in parameters {
        let largest = values.abs().max().double_value(&[]);
        if spec.name.ends_with("lora_B.weight") {
            assert_eq!(largest, 0.0);
        } else {
            // Uniform up to 1/sqrt(16): of 64 numbers, the largest is close to it, and half of them are above half.
            assert!(largest <= 0.25 && largest > 0.22, "{largest}");
            let above = values.abs().gt(0.125).sum(Kind::Int64).int64_value(&[]);
            assert!((16..=48).contains(&above), "{above}");
        }
    }
}

/// A run of the golden model on documents of which some teach nothing, with these settings of LoRA.
fn config(folder: &Path, lora: &str, settings: &[&str]) -> Config {
    let prefix = folder.join("docs-train");
    let documents = (0..12).map(|i| (6 + 2 * i, if i % 4 == 0 { 6 + 2 * i } else { 3 }));
    golden_run::write_documents(&prefix, documents);
    let lines = format!(
        "steps: 3\noptimizer: {{lr: 0.01, eps: 1.0e-4, weight_decay: 0.1}}\nlora: {lora}\n"
    );
    golden_run::config(&prefix, &folder.join("run.yaml"), &lines, settings)
}

/// What is trained after three steps, by name, brought together from all ranks; and the losses.
fn make(ranks: &Rc<Ranks>, lora: &str, settings: &[&str]) -> (BTreeMap<String, Tensor>, Vec<f64>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut run = Run::open_on(ranks, config(folder.path(), lora, settings)).expect("a sound run");
    let losses = (0..3).map(|_| run.step().expect("a step").loss).collect();
    let mut found = BTreeMap::new();
    for (number, unit) in run.model.units.iter().enumerate() {
        let whole = run.model.whole(number, &unit.master).expect("all ranks come");
        found.extend(unit.spec.params.iter().map(|it| it.name.clone()).zip(whole));
    }
    (found, losses)
}

#[test]
fn two_ranks_give_what_one_gives_at_every_stage_of_zero() {
    ranks::run(2, |place| {
        let ranks = join(place);
        let adapters = "{r: 2, lora_dropout: 0.1, target_modules: [q_proj, o_proj, down_proj]}";
        let saved = "{r: 2, target_modules: [v_proj], modules_to_save: [embed_tokens, lm_head]}";
        for lora in [adapters, saved] {
            for settings in [&["precision=fp64"][..], &["precision=fp64", "data.rows=packed"]] {
                let (alone, losses) = make(&Ranks::alone(), lora, settings);
                for zero in 0..=3 {
                    let zero = format!("parallel.zero={zero}");
                    let (found, same) = make(&ranks, lora, &[settings, &[&zero]].concat());
                    assert!(found.keys().eq(alone.keys()));
                    for (name, wanted) in &alone {
                        // fp64: rounding stays below, every mistake is far above.
                        let off = (&found[name] - wanted).abs().max().double_value(&[]);
                        assert!(off < 1e-12, "{lora} {settings:?} {zero}: {name} off by {off}");
                    }
                    for (one, two) in losses.iter().zip(&same) {
                        assert!((one - two).abs() < 1e-12, "{lora} {settings:?} {zero}");
                    }
                }
            }
        }
    });
}

#[test]
fn what_is_frozen_is_kept_once_in_the_compute_kind_and_a_part_of_it_at_zero_3() {
    ranks::run(2, |place| {
        let ranks = join(place);
        let lora = LoraConfig::default();
        let of = |zero| {
            let shape = LlamaConfig::read(&golden("llama")).expect("a Llama");
            let mesh = Mesh::of(&ranks, &ParallelConfig::default()).expect("a mesh");
            Model::sharded(shape, Some(&lora), Kind::BFloat16, Device::Cpu, &mesh, zero)
        };
        let kept = |model: &Model| -> usize {
            let frozen = |unit: &trainer::params::Unit| {
                let pieces = unit.base_pieces().into_iter().map(|(_, view)| view);
                pieces.map(|view| view.numel() * view.kind().elt_size_in_bytes()).sum::<usize>()
            };
            model.units.iter().map(frozen).sum()
        };
        // The golden model has 5,920 parameters; padding is in no piece.
        let all = usize::try_from(of(Zero::Nothing).n_frozen()).expect("positive");
        for zero in [Zero::Nothing, Zero::State, Zero::Gradients] {
            assert_eq!(kept(&of(zero)), 2 * all, "{zero:?}");
        }
        let halves = ranks.counts(&[kept(&of(Zero::Weights)) as u64]).expect("all ranks come");
        assert_eq!(halves[0], 2 * all as u64);
    });
}

#[test]
fn an_adapter_that_does_not_fit_is_refused_with_what_differs() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let refused = |lora: String| {
        let error = Run::open(config(folder.path(), &lora, &[])).expect_err("it must not begin");
        format!("{error:#}")
    };
    let qv = golden("lora/qv");
    let said = refused(format!("{{r: 4, lora_alpha: 16, adapter: '{}'}}", qv.display()));
    assert!(said.contains("its `lora_alpha` is 8, and the run's is 16\nhint: give its"), "{said}");
    let said = refused(format!("{{adapter: '{}'}}", golden("llama").display()));
    assert!(said.contains("is no folder of peft's"), "{said}");

    let dora = folder.path().join("dora");
    fs_err::create_dir(&dora).expect("a new folder");
    let json = fs_err::read_to_string(qv.join(adapter::CONFIG)).expect("a config");
    let json = json.replace("\"use_dora\": false", "\"use_dora\": true");
    fs_err::write(dora.join(adapter::CONFIG), json).expect("written");
    let said = refused(format!("{{adapter: '{}'}}", dora.display()));
    assert!(said.contains("`use_dora` is true, and only false is known here"), "{said}");
}
