//! Several ranks give what one rank gives: gradients and weights by name, whatever is sharded, over real processes.
//!
//! The comparison is in fp64, in which rounding stays below 1e-12 and every mistake is far above: a rank counted twice, a
//! mean of means, an update with the weights of before.

#[path = "../../crates/torch-ext/tests/ranks/mod.rs"]
mod ranks;

#[path = "golden_run/compared.rs"]
mod compared;
mod golden_run;
#[path = "golden_run/silent.rs"]
mod silent;

use std::path::Path;
use std::rc::Rc;

use compared::{config, make, off, square_of_ones};
use golden_run::join;
use silent::silent_beginning;
use tch::Kind;
use trainer::config::{ParallelConfig, Zero};
use trainer::ranks::{Mesh, Ranks};
use trainer::run::Run;

const STAGES: [&str; 4] =
    ["parallel.zero=0", "parallel.zero=1", "parallel.zero=2", "parallel.zero=3"];

/// Compares all stages of ZeRO under these settings with one rank.
#[track_caller]
fn check(ranks: &Rc<Ranks>, settings: &[&str], tolerance: f64) {
    compared::check(ranks, settings, &STAGES.map(|stage| vec![stage.to_string()]), tolerance);
}

#[test]
fn every_stage_of_zero_gives_the_gradients_and_weights_of_one_rank() {
    ranks::run(2, |place| {
        let ranks = join(place);
        check(&ranks, &[], 1e-12);
        check(&ranks, &["batch.micro=4", "recompute=all"], 1e-12);
        check(&ranks, &["loss.normalize=micro_batch", "batch.micro=2"], 1e-12);
    });
}

#[test]
fn ranks_that_do_not_share_the_micro_batches_evenly_do_so_too() {
    // Eight micro-batches over three ranks: in the last round one has nothing to do.
    ranks::run(3, |place| check(&join(place), &[], 1e-12));
}

#[test]
fn four_ranks_of_which_some_get_nothing_to_learn_do_so_too() {
    ranks::run(4, |place| {
        let ranks = join(place);
        check(&ranks, &["batch.micro=2"], 1e-12);
        check(&ranks, &["data.rows=packed"], 1e-12);
    });
}

#[test]
fn a_tied_head_does_so_too() {
    let tied = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/trajectories/tied/base");
    let base = format!("model.base={}", tied.display());
    for ranks in [2, 3] {
        ranks::run(ranks, |place| {
            let ranks = join(place);
            check(&ranks, &[&base, "data.pad_id=0"], 1e-12);
            check(&ranks, &[&base, "data.pad_id=0", "batch.micro=2", "recompute=all"], 1e-12);
            check(&ranks, &[&base, "data.pad_id=0", "lora={r: 2}"], 1e-12);
        });
    }
}

#[test]
fn bfloat16_follows_one_rank_within_its_rounding() {
    ranks::run(2, |place| {
        let ranks = join(place);
        // A gradient of bfloat16 numbers, added up in another order, differs in the eighth bit; the update is 0.01 at most.
        check(&ranks, &["precision=bf16"], 0.03);
        check(&ranks, &["precision=bf16", "data.rows=packed"], 0.03);
        // Rounded once on the way, and added up in fp32: half of the last of eight bits of a gradient below 1.
        check(&ranks, &["parallel.reduce=bf16", "optimizer.lr=1e-4"], 4e-3);
    });
}

#[test]
fn stages_of_zero_are_equal_to_the_last_bit_and_so_are_two_runs() {
    ranks::run(2, |place| {
        let ranks = join(place);
        for precision in ["precision=fp32", "precision=bf16"] {
            // One micro-batch a rank: then the order in which all stages add up is the same.
            let settings = [precision, "batch.micro=4"];
            let made = STAGES.map(|stage| make(&ranks, &[&settings[..], &[stage]].concat()));
            let again = make(&ranks, &[&settings[..], &["parallel.zero=1"]].concat());
            for other in made[1..].iter().chain([&again]) {
                assert_eq!(off(&made[0], other), (0.0, String::new()), "{precision}");
            }
        }
    });
}

#[test]
fn the_norm_counts_every_parameter_once_and_no_padding() {
    ranks::run(3, |place| {
        let ranks = join(place);
        for zero in [Zero::Nothing, Zero::State, Zero::Gradients, Zero::Weights] {
            let mesh = Mesh::of(&ranks, &ParallelConfig::default()).expect("a mesh");
            let (square, expected) = square_of_ones(&mesh, zero);
            assert!((square / expected - 1.0).abs() < 1e-14, "{zero:?}: {square} for {expected}");
        }
    });
}

#[test]
fn a_step_sends_what_the_formulas_say_and_every_rank_calls_the_same() {
    ranks::run(2, |place| {
        let ranks = join(place);
        ranks.transcript().keep();
        let settings = ["precision=bf16", "batch.micro=2"];
        for stage in STAGES {
            let mut run =
                Run::open_on(&ranks, config(&[&settings[..], &[stage]].concat())).expect("a run");
            run.step().expect("the first step, which gathers everything for the first time");
            ranks.transcript().take();
            run.step().expect("a step");
            let entries = ranks.transcript().take();
            let sent = |operation: &str, kind: Kind| -> u64 {
                let of = entries.iter().filter(|it| it.operation == operation && it.kind == kind);
                of.map(|it| it.bytes).sum()
            };
            let sizes: Vec<u64> =
                run.model.units.iter().map(|unit| unit.padded().cast_unsigned()).collect();
            let all: u64 = sizes.iter().sum();
            let (embed, head) = (sizes[0], sizes[sizes.len() - 1]);
            // Two ranks send half of everything; four bytes a gradient and two a weight. There are two micro-batches a rank.
            let (gradients, weights, again) = match run.model.zero() {
                Zero::Nothing => (4 * all / 2, 0, 4 * all / 2),
                Zero::State => (4 * all / 2, 2 * all / 2, 0),
                Zero::Gradients => (2 * 4 * all / 2, 2 * all / 2, 0),
                // Both blocks stay where they are between the passes: only embedding and head take turns.
                Zero::Weights => (2 * 4 * all / 2, 2 * (all + embed + (head + embed)) / 2, 0),
            };
            assert_eq!(sent("all_to_all", Kind::Float), gradients, "{stage}");
            assert_eq!(sent("all_gather", Kind::BFloat16), weights, "{stage}");
            assert_eq!(sent("all_gather", Kind::Float), again, "{stage}");
        }
        ranks.check_transcript().expect("they are the same");
    });
}

#[test]
fn an_update_without_anything_to_learn_is_skipped_by_all() {
    let seed = silent_beginning();
    ranks::run(2, |place| {
        let ranks = join(place);
        for stage in STAGES {
            let settings = [stage, "batch.global=2", &seed];
            let mut run = Run::open_on(&ranks, config(&settings)).expect("a run");
            let step = run.step().expect("a step");
            assert!(step.skipped && !step.not_finite && step.loss == 0.0);
        }
    });
}
