//! Ranks that share matrices give what one rank gives: gradients and weights by name, over real processes, for every mesh
//! of four ranks, whatever else is on.
//!
//! The comparison is in fp64, in which rounding stays below 1e-12 and every mistake is far above: a copy counted twice,
//! a sum that is left out or made twice, a place that is lost between two ranks.

#[path = "../../crates/torch-ext/tests/ranks/mod.rs"]
mod ranks;

#[path = "golden_run/compared.rs"]
mod compared;
mod golden_run;
#[path = "golden_run/refused.rs"]
mod refused;
#[cfg(debug_assertions)]
#[path = "golden_run/silent.rs"]
mod silent;
#[cfg(debug_assertions)]
#[path = "mesh/faults.rs"]
mod faults;
#[cfg(debug_assertions)]
#[path = "golden_run/planted.rs"]
mod planted;
#[cfg(debug_assertions)]
#[path = "golden_run/resumed.rs"]
mod resumed;
#[path = "golden_run/shaped.rs"]
mod shaped;
#[path = "mesh/vocabulary.rs"]
mod vocabulary;

use std::rc::Rc;

use compared::{check, config, make, off, square_of_ones};
use golden_run::join;
use refused::refused;
use trainer::config::{ParallelConfig, Zero};
use trainer::ranks::{Mesh, Ranks};
use trainer::run::Run;

/// A base that four ranks can share: the golden one's shape, with keys and values for each of its four heads. The setting
/// that takes it.
fn base_for_four(tied: bool) -> String {
    shaped::base(|shape| {
        shape.num_key_value_heads = 4;
        shape.tie_word_embeddings = tied;
    })
}

/// Every layout of a mesh with this tensor size: `zero` only where a data group has several ranks.
fn layouts(size: usize, tensor: usize) -> Vec<Vec<String>> {
    let stages = if size > tensor { 0..4 } else { 0..1 };
    let mut all = Vec::new();
    for zero in stages {
        for sequence in [true, false] {
            for recompute in ["none", "all"] {
                all.push(vec![
                    format!("parallel.tensor={tensor}"),
                    format!("parallel.zero={zero}"),
                    format!("parallel.sequence={sequence}"),
                    format!("recompute={recompute}"),
                ]);
            }
        }
    }
    all
}

#[test]
fn two_ranks_that_share_every_matrix_give_what_one_gives() {
    ranks::run(2, |place| {
        let ranks = join(place);
        check(&ranks, &[], &layouts(2, 2), 1e-12);
        check(&ranks, &["batch.micro=4"], &layouts(2, 2), 1e-12);
        check(&ranks, &["data.rows=packed", "batch.micro=2"], &layouts(2, 2), 1e-12);
    });
}

#[test]
fn two_pairs_of_ranks_do_so_too() {
    ranks::run(4, |place| check(&join(place), &[], &layouts(4, 2), 1e-12));
}

#[test]
fn two_pairs_with_one_micro_batch_each_do_so_too() {
    ranks::run(4, |place| check(&join(place), &["batch.micro=4"], &layouts(4, 2), 1e-12));
}

#[test]
fn four_ranks_that_share_every_matrix_do_so_too() {
    ranks::run(4, |place| {
        let ranks = join(place);
        let base = base_for_four(false);
        check(&ranks, &[&base], &layouts(4, 4), 1e-12);
        // Rows of 61 places: the last of four stretches is a place shorter.
        let settings = [&base, "batch.sequence_length=61", "data.too_long=truncate"];
        check(&ranks, &settings, &layouts(4, 4)[..2], 1e-12);
    });
}

#[test]
fn eight_ranks_in_two_groups_of_four_do_so_too() {
    ranks::run(8, |place| {
        let ranks = join(place);
        let base = base_for_four(false);
        check(&ranks, &[&base], &layouts(8, 4)[4..5], 1e-12);
    });
}

#[test]
fn whatever_is_minimised_and_whatever_noise_is_added_it_is_what_one_rank_has() {
    ranks::run(4, |place| {
        let ranks = join(place);
        let some = [layouts(4, 2)[4].clone(), layouts(4, 2)[7].clone()];
        for settings in [
            &["noise.dropout=0.3", "noise.neftune_alpha=5"][..],
            &["noise.dropout=0.3", "noise.lima_dropout=true", "data.rows=packed"],
            &["noise.neftune_alpha=5", "data.rows=packed", "batch.micro=2"],
            &["loss.z_loss=0.01", "loss.label_smoothing=0.2", "loss.chunk_tokens=5"],
            &["loss.weights={assistant: 1, user: 0.25}", "loss.head=all"],
            &["loss.normalize=micro_batch", "batch.micro=2"],
        ] {
            check(&ranks, settings, &some, 1e-12);
        }
    });
}

#[test]
fn a_tied_head_is_shared_as_the_embedding_is() {
    ranks::run(4, |place| {
        let ranks = join(place);
        let base = base_for_four(true);
        check(&ranks, &[&base], &layouts(4, 2)[4..6], 1e-12);
        check(&ranks, &[&base], &layouts(4, 2)[12..14], 1e-12);
        check(&ranks, &[&base], &layouts(4, 4)[..1], 1e-12);
    });
}

#[test]
fn bfloat16_is_as_near_to_fp64_as_on_one_rank() {
    ranks::run(4, |place| {
        let ranks = join(place);
        for rows in ["data.rows=padded", "data.rows=packed"] {
            let exact = make(&Ranks::alone(), &[rows]);
            let (rounded, _) = off(&exact, &make(&Ranks::alone(), &[rows, "precision=bf16"]));
            for layout in [4, 6].map(|number| layouts(4, 2).swap_remove(number)) {
                let layout: Vec<&str> = layout.iter().map(String::as_str).collect();
                let made = make(&ranks, &[&[rows, "precision=bf16"], &layout[..]].concat());
                let (off, name) = off(&exact, &made);
                // What ranks add up was rounded once more: no farther from fp64 than twice what bfloat16 itself is.
                assert!(off <= 2.0 * rounded, "{rows} {layout:?}: {name} by {off}, not {rounded}");
            }
        }
    });
}

#[test]
fn two_runs_of_a_mesh_are_equal_to_the_last_bit_and_so_are_stages_of_zero() {
    ranks::run(4, |place| {
        let ranks = join(place);
        for precision in ["precision=fp32", "precision=bf16"] {
            // One micro-batch a data group: then the order in which all stages add up is the same.
            let run = |zero: &str| {
                let zero = format!("parallel.zero={zero}");
                make(&ranks, &[precision, "batch.micro=4", "parallel.tensor=2", &zero])
            };
            let first = run("1");
            for zero in ["0", "1", "2", "3"] {
                assert_eq!(off(&first, &run(zero)), (0.0, String::new()), "{precision} {zero}");
            }
        }
    });
}

#[test]
fn an_evaluation_finds_what_one_rank_finds() {
    ranks::run(4, |place| {
        let ranks = join(place);
        let settings = ["data.split=[8, 4, 0]", "evaluate.every=1", "evaluate.batches=1"];
        let evaluate = |ranks: &Rc<Ranks>, more: &[&str]| {
            let run = Run::open_on(ranks, config(&[&settings[..], more].concat())).expect("a run");
            run.evaluate(0).expect("an evaluation").expect("no signal came").total
        };
        let made = evaluate(&ranks, &["parallel.tensor=2"]);
        if ranks.leads() {
            let alone = evaluate(&Ranks::alone(), &[]);
            assert!((made.loss - alone.loss).abs() < 1e-12, "{made:?} for {alone:?}");
            assert_eq!(made.accuracy, alone.accuracy);
            assert_eq!(made.supervised_tokens, alone.supervised_tokens);
        }
    });
}

#[test]
fn tokens_beyond_the_vocabulary_have_no_probability_on_any_rank() {
    ranks::run(2, |place| {
        let alone = vocabulary::make(&Mesh::alone());
        let layout = ParallelConfig { tensor: 2, ..ParallelConfig::default() };
        let mesh = Mesh::of(&join(place), &layout).expect("a mesh");
        vocabulary::compare(&vocabulary::make(&mesh), &alone);
    });
}

#[test]
fn the_most_probable_token_may_be_any_ranks() {
    ranks::run(2, |place| {
        let layout = ParallelConfig { tensor: 2, ..ParallelConfig::default() };
        let mesh = Mesh::of(&join(place), &layout).expect("a mesh");
        let found = vocabulary::predicted(&mesh);
        assert_eq!(found, vocabulary::predicted(&Mesh::alone()));
        // Both ranks have some that are right.
        let right = found.iter().filter(|(_, right)| *right);
        let (first, second): (Vec<i64>, Vec<i64>) =
            right.map(|(token, _)| *token).partition(|token| *token < 24);
        assert!(!first.is_empty() && !second.is_empty(), "{first:?} {second:?}");
    });
}

#[test]
fn the_norm_counts_every_parameter_once_and_no_padding() {
    ranks::run(4, |place| {
        let ranks = join(place);
        for sequence in [true, false] {
            let layout = ParallelConfig { tensor: 2, sequence, ..ParallelConfig::default() };
            let mesh = Mesh::of(&ranks, &layout).expect("a mesh");
            for zero in [Zero::Nothing, Zero::State, Zero::Gradients, Zero::Weights] {
                let (square, expected) = square_of_ones(&mesh, zero);
                assert!(
                    (square / expected - 1.0).abs() < 1e-14,
                    "{zero:?}: {square} of {expected}"
                );
            }
        }
    });
}

#[test]
fn a_rank_sends_what_the_formulas_say() {
    ranks::run(4, |place| {
        let ranks = join(place);
        for (sequence, recompute) in
            [("true", "none"), ("true", "all"), ("false", "none"), ("false", "all")]
        {
            let settings = [
                "parallel.tensor=2",
                "batch.micro=4",
                &format!("parallel.sequence={sequence}"),
                &format!("recompute={recompute}"),
            ];
            let mut run = Run::open_on(&ranks, config(&settings)).expect("a run");
            let mesh = run.model.mesh().clone();
            mesh.tensor.transcript().keep();
            run.step().expect("a step");
            let entries = mesh.tensor.transcript().take();
            // A data group has one micro-batch; hidden states are the first that is sent, and the largest.
            let hidden = entries[0].numel;
            assert!(entries.iter().all(|entry| entry.numel <= hidden));
            let sent = |operation: &str| -> u64 {
                let of = entries.iter().filter(|it| it.operation == operation);
                of.filter(|it| it.numel == hidden).map(|it| it.bytes).sum()
            };
            // Of eight bytes each, two ranks send half.
            let once = hidden as u64 * 8 / 2;
            let blocks = run.model.n_layers() as u64;
            let again = u64::from(recompute == "all");
            let gathers = sent("all_gather") / once;
            let scatters = sent("all_to_all") / once;
            let sums = sent("all_reduce") / (2 * once);
            if sequence == "true" {
                // A block gathers twice on either way and scatters as often, and on the way that it makes again it leaves out
                // the last; the embedding scatters and, on the way back, gathers; the head gathers.
                assert_eq!(gathers, (4 + 2 * again) * blocks + 2, "{settings:?}");
                assert_eq!(scatters, (4 + again) * blocks + 1, "{settings:?}");
                assert_eq!(sums, 0);
            } else {
                assert_eq!(sums, (4 + again) * blocks + 1, "{settings:?}");
                assert_eq!(gathers + scatters, 0);
            }
            mesh.check_transcripts().expect("all made the same calls");
        }
    });
}

#[test]
fn adapters_are_shared_as_their_matrices_are() {
    ranks::run(4, |place| {
        let ranks = join(place);
        let all = "target_modules: [q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]";
        let lora = format!("lora={{r: 3, {all}}}");
        check(&ranks, &[&lora], &layouts(4, 2), 1e-12);
        let lora = format!(
            "lora={{r: 3, lora_dropout: 0.2, {all}, modules_to_save: [embed_tokens, lm_head]}}"
        );
        let settings = [&lora, "noise={dropout: 0.1}", "data.rows=packed", "batch.micro=2"];
        check(&ranks, &settings, &layouts(4, 2)[3..9], 1e-12);
        // As many rows and columns as the matrices themselves have: what is cut must not be told by its size.
        let lora = format!("lora={{r: 16, {all}}}");
        check(&ranks, &[&base_for_four(false), &lora], &layouts(4, 4)[..2], 1e-12);
    });
}

#[test]
fn what_ranks_cannot_share_is_refused_with_the_reason() {
    ranks::run(4, |place| {
        let ranks = join(place);
        refused(&ranks, &["parallel.tensor=3"], "which does not divide the number of ranks, 4");
        refused(
            &ranks,
            &["parallel.tensor=4"],
            "has 2 heads of keys and values (`num_key_value_heads`)",
        );
        refused(
            &ranks,
            &["parallel.tensor=2", "batch.global=2", "batch.micro=2"],
            "there are 2 groups of 2 ranks, but an update has 1 micro-batches",
        );
    });
    let error = Run::open(config(&["parallel.tensor=2"])).expect_err("refused");
    assert!(error.to_string().contains("trainer launch --nproc 2 -- train"), "{error}");
}
