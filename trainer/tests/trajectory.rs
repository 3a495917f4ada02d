//! A whole run against one whose every number is known: `../shared/oracle/trajectory`, made with transformers and
//! torch's AdamW with the reference's order, collation, label weights and normaliser.

//!
//! The traps that the reference's trainer has or had, and the tests that hold them:
//!
//! | trap | test |
//! |---|---|
//! | header and end of a turn are learned; weight follows the label | `learning.rs`: `header_and_end_...` |
//! | mean of micro-batch means, which changes with the micro-batch | here; `llama.rs`: `losses_and_gradients_...`; `trajectories.rs` |
//! | numpy's legacy permutations, split and epochs from one stream | `order.rs`: `orders_are_those_that_numpy_draws_...` |
//! | unaligned index, no document table, 16-bit tokens | `crates/shards/tests/round_trip.rs` |
//! | rate 0 at the first update; a skipped update does not move the schedule | `schedule.rs`; `state.rs`: `a_skipped_step_...` |
//! | RoPE's halves and theta | `llama.rs`: `logits_...`; `trajectories.rs`; `export.rs`: `transformers_has_our_logits_...` |
//! | gate and up | `llama.rs`: `logits_...`, with weights as transformers stores them |
//! | a norm is cast before its weight multiplies | `llama.rs`: `in_bfloat16_...` |
//! | truncation to one more than the sequence; lengths rounded up to 16 and capped | `batch.rs`: `the_length_is_...`; `train.rs`: `documents_that_are_too_long_...` |
//! | a micro-batch with nothing to learn is not NaN, and counted | `llama.rs`: `a_micro_batch_with_nothing_to_learn_...` |
//! | a resume restores the fp32 masters | `resume.rs`: `eight_steps_are_three_and_five_...` |
//! | new rows: copies of the last, the mean, or random | `new_rows.rs` |
//! | decay of embedding and head, none of norms | here: the final weights; `trajectories.rs` with a decay of 0.3 |
//! | a step whose gradient is not finite is skipped and told | `resume.rs`: `a_diverged_run_stops_...` |
//! | tokens, learned tokens and padding are told apart | `batch.rs`: `padding_is_where_no_token_is_...` |

#![expect(clippy::print_stdout, reason = "a test says how far off it was, or why it skips")]

use std::path::{Path, PathBuf};

use serde::Deserialize;
use tch::{Device, Kind, Tensor};
use trainer::backward::{Pass, forward, micro_batch};
use trainer::batch::{Batching, Counts, MicroBatch};
use trainer::config::{Config, HeadPlaces, Normalize, Recompute, RowLayout};
use trainer::gradients::Gradients;
use trainer::learning::Learning;
use trainer::llama_config::LlamaConfig;
use trainer::loss::{self, Objective};
use trainer::params::Model;
use trainer::rows::{Rows, Sample};
use trainer::run::Run;
use trainer::step::Step;
use trainer::weights;

#[derive(Deserialize)]
struct Trajectory {
    steps: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    step: u64,
    lr: f64,
    loss: f64,
    grad_norm: f64,
    loss_tokens: u64,
    first_docs: Vec<usize>,
}

/// The workspace, in which a run is started: the paths in its configuration are relative to it.
fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .expect("the crate lies in its workspace")
}

/// The folder with the trajectory; none, with a word about it, where it is not at hand.
fn oracle() -> Option<PathBuf> {
    let oracle = workspace().join("../shared/oracle/trajectory");
    if oracle.exists() {
        std::env::set_current_dir(workspace()).expect("the workspace exists");
        return Some(oracle);
    }
    assert!(
        std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "{} is missing",
        oracle.display()
    );
    println!("skipped: {} is missing", oracle.display());
    None
}

fn open(settings: &[&str]) -> Run {
    let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
    let config = Config::read(Path::new("configs/train/oracle-trajectory.yaml"), &settings)
        .expect("a sound config");
    Run::open(config).expect("the oracle's run can be opened")
}

#[test]
fn forty_steps_follow_the_reference() {
    let Some(oracle) = oracle() else { return };
    // JSON is YAML, and the YAML reader keeps every bit of a number: learning rates are compared exactly.
    let expected: Trajectory =
        cli::Yaml::open(&oracle.join("trajectory.json")).unwrap().parse().unwrap();
    let mut run = open(&[]);
    assert_eq!((run.steps, expected.steps.len()), (40, 40));
    let (mut loss_off, mut norm_off) = (0.0_f64, 0.0_f64);
    for wanted in &expected.steps {
        let Step { loss, lr, grad_norm, skipped, counts, first_documents, .. } =
            run.step().unwrap();
        let step = wanted.step;
        assert_eq!(first_documents, wanted.first_docs, "step {step}");
        assert_eq!(
            (lr, counts.supervised, skipped),
            (wanted.lr, wanted.loss_tokens, false),
            "step {step}"
        );
        loss_off = loss_off.max((loss - wanted.loss).abs());
        norm_off = norm_off.max((grad_norm / wanted.grad_norm - 1.0).abs());
        assert!(loss_off <= 1e-4, "step {step}: loss {loss}, expected {}", wanted.loss);
        assert!(
            norm_off <= 1e-3,
            "step {step}: gradient norm {grad_norm}, expected {}",
            wanted.grad_norm
        );
    }
    println!("largest deviations: loss {loss_off:.1e}, gradient norm {norm_off:.1e} relative");

    let last =
        Model::zeros(LlamaConfig::read(&oracle.join("final")).unwrap(), Kind::Float, Device::Cpu);
    let mut last = last;
    weights::load(&oracle.join("final"), &mut last).unwrap();
    let (mut largest, mut off) = (0.0_f64, 0.0_f64);
    for (found, wanted) in run.model.units.iter().zip(&last.units) {
        largest = largest.max(wanted.master.abs().max().double_value(&[]));
        off = off.max((&found.master - &wanted.master).abs().max().double_value(&[]));
    }
    println!("final weights: off by {off:.1e}, the largest is {largest:.3}");
    assert!(off <= 1e-3 * largest, "final weights are off by {off}, the largest is {largest}");

    let wanted = Tensor::read_npy(oracle.join("final_logits_doc0_first64.npy")).unwrap();
    let shard = shards::reader::PairReader::open(&run.config.data.train).unwrap();
    let tokens: Vec<i64> = shard.document(0).tokens().take(64).map(i64::from).collect();
    let logits = run.model.logits(&Tensor::from_slice(&tokens).unsqueeze(0));
    let logits = logits.squeeze_dim(0).narrow(1, 0, 256);
    let off = (logits - wanted.view([64, 256])).abs().max().double_value(&[]);
    println!("final logits: off by {off:.1e}");
    assert!(off <= 1e-3, "final logits are off by {off}");
}

#[test]
fn two_runs_are_equal_to_the_last_bit_and_recompute_changes_none() {
    if oracle().is_none() {
        return;
    }
    for precision in ["precision=fp32", "precision=bf16"] {
        let settings = [precision, "steps=6", "batch.global=4", "schedule.warmup_steps=1"];
        let again = [&settings[..], &["recompute=all"]].concat();
        let mut runs = [open(&settings), open(&settings), open(&again)];
        for _ in 0..3 {
            let [first, second, third] = runs.each_mut().map(|run| run.step().unwrap());
            for other in [second, third] {
                assert_eq!(first.loss.to_bits(), other.loss.to_bits());
                assert_eq!(first.grad_norm.to_bits(), other.grad_norm.to_bits());
            }
        }
        let [first, others @ ..] = &runs;
        for other in others {
            for (one, two) in first.model.units.iter().zip(&other.model.units) {
                assert_eq!(one.master, two.master, "{precision}: `{}`", one.spec.name);
            }
        }
    }
}

/// Each document's summed loss, and the gradient of the whole update.
fn of_update(model: &Model, batches: &[MicroBatch], objective: Objective) -> (Vec<f64>, Tensor) {
    let mut losses = vec![0.0; 24];
    let mut gradients = Gradients::zeros(model);
    for batch in batches {
        let found = loss::token_losses(
            model,
            &forward(model, batch, None).expect("a pass"),
            batch,
            objective,
        )
        .expect("losses");
        let parts: Vec<i64> = batch
            .documents
            .iter()
            .map(|part| i64::try_from(part.predicted).expect("a small number"))
            .collect();
        for (part, loss) in batch.documents.iter().zip(found.loss_n.split_with_sizes(&parts, 0)) {
            losses[part.document] = loss.sum(Kind::Double).double_value(&[]);
        }
        let pass = Pass { recompute: Recompute::None, objective, noise: None };
        let _ = micro_batch(model, batch, pass, &mut gradients).expect("a backward pass");
    }
    let flat: Vec<Tensor> =
        gradients.views().into_iter().flatten().map(|view| view.reshape(-1)).collect();
    (losses, Tensor::cat(&flat, 0))
}

#[test]
fn packed_real_documents_have_the_losses_and_the_gradient_of_padded_ones() {
    if oracle().is_none() {
        return;
    }
    let run = open(&["steps=1", "schedule.warmup_steps=0"]);
    let learning = Learning { weights: [0.0, 0.0, 1.0, 0.0], left_out: None };
    let rows = Rows::open(&run.config.data.train, 32032, 512, learning).expect("the shard");
    let samples: Vec<Sample> = (0..24).map(|document| rows.sample(document * 7)).collect();
    let objective =
        Objective { chunk_tokens: 512, vocab_size: 32032, z_loss: 0.0, label_smoothing: 0.0 };
    for normalize in [Normalize::Tokens, Normalize::MicroBatch] {
        let padded = Batching {
            layout: RowLayout::Padded,
            sequence_length: 512,
            micro: 2,
            normalize,
            head: HeadPlaces::Learned,
            pad_id: 32020,
            device: Device::Cpu,
        };
        let packed = Batching { layout: RowLayout::Packed, ..padded.clone() };
        let [padded, packed] = [padded, packed].map(|it| it.update(&samples));
        let counts = |batches: &[MicroBatch]| {
            let mut all = Counts::default();
            batches.iter().for_each(|batch| all += batch.counts);
            all
        };
        let [all_padded, all_packed] = [&padded, &packed].map(|it| counts(it));
        let same = |it: Counts| (it.documents, it.tokens, it.supervised, it.cut_tokens);
        assert_eq!(same(all_padded), same(all_packed));
        assert!(all_padded.padding() > 0.1 && all_packed.padding() == 0.0);
        assert!(packed.len() < padded.len());

        let (losses, gradient) = of_update(&run.model, &padded, objective);
        let (packed_losses, packed_gradient) = of_update(&run.model, &packed, objective);
        for (document, (padded, packed)) in losses.iter().zip(&packed_losses).enumerate() {
            assert!((padded - packed).abs() <= 1e-5 * padded, "{document}: {padded}, {packed}");
        }
        let norm = |it: &Tensor| it.norm().double_value(&[]);
        let off = norm(&(&gradient - &packed_gradient)) / norm(&gradient);
        println!("{normalize:?}: the gradient is off by {off:.1e}");
        assert!(off <= 1e-5, "{normalize:?}: the gradient is off by {off}");
    }
}

#[test]
fn bfloat16_stays_near_f32() {
    if oracle().is_none() {
        return;
    }
    let settings = ["steps=10", "batch.global=4", "schedule.warmup_steps=2"];
    let mut runs = [open(&settings), open(&[&settings[..], &["precision=bf16"]].concat())];
    for _ in 0..10 {
        let [full, half] = runs.each_mut().map(|run| run.step().unwrap());
        // bfloat16 keeps three digits; a loss of about 10 is a mean over hundreds of tokens.
        assert!((full.loss - half.loss).abs() < 0.02, "{} and {}", full.loss, half.loss);
    }
}
