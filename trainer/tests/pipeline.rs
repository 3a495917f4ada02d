//! Ranks that have the stages of a pipeline give what one rank gives: gradients and weights by name, over real processes,
//! for every mesh of up to four ranks with stages, whatever else is on.
//!
//! The comparison is in fp64, in which rounding stays below 1e-12 and every mistake is far above: a micro-batch that comes
//! back as another, a gradient that is scaled once a stage, a tied matrix that is counted twice.

#[path = "../../crates/torch-ext/tests/ranks/mod.rs"]
mod ranks;

#[path = "golden_run/compared.rs"]
mod compared;
mod golden_run;
#[path = "golden_run/refused.rs"]
mod refused;
#[path = "golden_run/silent.rs"]
mod silent;
#[cfg(debug_assertions)]
#[path = "pipeline/faults.rs"]
mod faults;
#[cfg(debug_assertions)]
#[path = "golden_run/planted.rs"]
mod planted;
#[path = "golden_run/resumed.rs"]
mod resumed;
#[path = "golden_run/shaped.rs"]
mod shaped;

use std::rc::Rc;

use compared::{alone, check, config, make, off, square_of_ones};
use golden_run::join;
use refused::refused;
use resumed::resumes;
use silent::silent_beginning;
use tch::{Device, Kind, Tensor};
use trainer::config::{ParallelConfig, Zero};
use trainer::order::Order;
use trainer::ranks::{Mesh, Place, Ranks};
use trainer::run::Run;

/// A base of the golden one's shape but for its blocks, four, and with keys and values for each of its four heads. The
/// setting that takes it.
fn base_of_four_blocks(tied: bool) -> String {
    shaped::base(|shape| {
        shape.num_hidden_layers = 4;
        shape.num_key_value_heads = 4;
        shape.tie_word_embeddings = tied;
    })
}

/// Every layout of so many ranks with so many stages and ranks to a matrix.
fn layouts(size: usize, stages: usize, tensor: usize) -> Vec<Vec<String>> {
    let stages_of_zero = if size > stages * tensor { 0..2 } else { 0..1 };
    let sequence: &[bool] = if tensor > 1 { &[true, false] } else { &[true] };
    let mut all = Vec::new();
    for zero in stages_of_zero {
        for sequence in sequence {
            for recompute in ["none", "all", "every_2"] {
                all.push(vec![
                    format!("parallel.pipeline={stages}"),
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
fn two_stages_give_what_one_rank_gives() {
    ranks::run(2, |place| {
        let ranks = join(place);
        check(&ranks, &[], &layouts(2, 2, 1), 1e-12);
        check(&ranks, &["batch.micro=4"], &layouts(2, 2, 1), 1e-12);
        check(&ranks, &["batch.micro=8"], &layouts(2, 2, 1)[..1], 1e-12);
        check(&ranks, &["data.rows=packed", "batch.micro=2"], &layouts(2, 2, 1), 1e-12);
    });
}

#[test]
fn three_and_four_stages_do_so_too() {
    for stages in [3, 4] {
        ranks::run(stages, |place| {
            let ranks = join(place);
            let base = base_of_four_blocks(false);
            check(&ranks, &[&base], &layouts(stages, stages, 1), 1e-12);
            // Fewer micro-batches than stages.
            check(&ranks, &[&base, "batch.micro=4"], &layouts(stages, stages, 1), 1e-12);
            check(&ranks, &[&base, "batch.micro=8"], &layouts(stages, stages, 1)[..1], 1e-12);
        });
    }
}

#[test]
fn two_pipelines_that_take_turns_with_documents_do_so_too() {
    ranks::run(4, |place| {
        let ranks = join(place);
        check(&ranks, &[], &layouts(4, 2, 1), 1e-12);
        check(&ranks, &["batch.micro=2"], &layouts(4, 2, 1), 1e-12);
        check(&ranks, &["batch.micro=4"], &layouts(4, 2, 1)[..4], 1e-12);
        check(&ranks, &["data.rows=packed"], &layouts(4, 2, 1), 1e-12);
    });
}

#[test]
fn stages_whose_ranks_share_every_matrix_do_so_too() {
    ranks::run(4, |place| {
        let ranks = join(place);
        check(&ranks, &[], &layouts(4, 2, 2), 1e-12);
        check(&ranks, &["batch.micro=4"], &layouts(4, 2, 2), 1e-12);
        check(&ranks, &["data.rows=packed", "batch.micro=2"], &layouts(4, 2, 2), 1e-12);
        // Rows of 61 places: the second of two stretches is a place shorter.
        let settings = ["batch.sequence_length=61", "data.too_long=truncate"];
        check(&ranks, &settings, &layouts(4, 2, 2)[..2], 1e-12);
    });
}

#[test]
fn eight_ranks_as_two_stages_of_two_pairs_do_so_too() {
    ranks::run(8, |place| {
        let ranks = join(place);
        let base = base_of_four_blocks(false);
        check(&ranks, &[&base], &layouts(8, 2, 2)[7..8], 1e-12);
        check(&ranks, &[&base, "batch.micro=2"], &layouts(8, 2, 2)[3..4], 1e-12);
    });
}

#[test]
fn whatever_is_minimised_and_whatever_noise_is_added_it_is_what_one_rank_has() {
    ranks::run(4, |place| {
        let ranks = join(place);
        let some = [layouts(4, 2, 1)[3].clone(), layouts(4, 2, 2)[1].clone()];
        for settings in [
            &["noise.dropout=0.3", "noise.neftune_alpha=5"][..],
            &["noise.dropout=0.3", "noise.lima_dropout=true", "data.rows=packed"],
            &["loss.z_loss=0.01", "loss.label_smoothing=0.2", "loss.chunk_tokens=5"],
            &["loss.weights={assistant: 1, user: 0.25}", "loss.head=all"],
            &["loss.normalize=micro_batch", "batch.micro=2"],
        ] {
            check(&ranks, settings, &some, 1e-12);
        }
        for lora in ["lora={r: 2}", "lora={r: 2, modules_to_save: [embed_tokens, lm_head]}"] {
            check(&ranks, &[lora], &layouts(4, 2, 1), 1e-12);
            check(&ranks, &[lora], &layouts(4, 2, 2)[..2], 1e-12);
        }
        check(
            &ranks,
            &["parallel.reduce=bf16", "optimizer.lr=1e-4"],
            &layouts(4, 2, 1)[3..4],
            4e-3,
        );
    });
}

#[test]
fn a_tied_matrix_is_trained_by_the_first_stage_and_the_last_as_one() {
    ranks::run(4, |place| {
        let ranks = join(place);
        let base = base_of_four_blocks(true);
        check(&ranks, &[&base], &layouts(4, 2, 1), 1e-12);
        check(&ranks, &[&base], &layouts(4, 2, 2), 1e-12);
        check(&ranks, &[&base, "batch.micro=2"], &layouts(4, 4, 1), 1e-12);
        check(&ranks, &[&base, "lora={r: 2}"], &layouts(4, 2, 1)[3..4], 1e-12);
    });
}

#[test]
fn a_pipeline_with_nothing_to_learn_keeps_step_with_one_that_has_something() {
    // Of the first two documents one teaches nothing, and of no two that follow both do.
    let silent = |documents: &[usize]| documents.iter().filter(|it| *it % 4 == 0).count();
    let fits = |seed: &u32| {
        let order = Order::new(12, None, *seed, 6, 0).train;
        silent(&order[..2]) == 1 && silent(&order[2..4]) < 2 && silent(&order[4..]) < 2
    };
    let seed = (0..).find(fits).map(|seed| format!("seed={seed}")).expect("one of them does");
    ranks::run(4, |place| {
        let ranks = join(place);
        let tied = base_of_four_blocks(true);
        for base in [vec![], vec![tied.as_str()]] {
            let settings = [&["batch.global=2", &seed], &base[..]].concat();
            check(&ranks, &settings, &layouts(4, 2, 1), 1e-12);
        }
    });
}

#[test]
fn stages_alone_change_no_bit_of_gradients_and_none_of_weights_that_are_not_clipped() {
    ranks::run(2, |place| {
        let ranks = join(place);
        for precision in ["precision=fp32", "precision=bf16"] {
            for rows in ["data.rows=padded", "data.rows=packed"] {
                let settings = [precision, rows, "optimizer.clip_grad=0"];
                let alone = alone(&ranks, &settings);
                let made = make(&ranks, &[&settings[..], &["parallel.pipeline=2"]].concat());
                if let Some(alone) = alone {
                    // The norm alone is added up in another order.
                    let (off, name) = off(&alone, &made);
                    assert!(
                        off == 0.0 || (name.starts_with("norm") && off < 1e-6),
                        "{name}: {off}"
                    );
                }
            }
        }
    });
}

#[test]
fn two_runs_of_a_mesh_are_equal_to_the_last_bit_and_so_are_stages_of_zero() {
    ranks::run(4, |place| {
        let ranks = join(place);
        for precision in ["precision=fp32", "precision=bf16"] {
            for tensor in ["parallel.tensor=1", "parallel.tensor=2"] {
                let run = |zero: &str| {
                    let zero = format!("parallel.zero={zero}");
                    make(&ranks, &[precision, "parallel.pipeline=2", tensor, &zero])
                };
                let first = run("1");
                for zero in ["0", "1"] {
                    assert_eq!(off(&first, &run(zero)), (0.0, String::new()), "{precision} {zero}");
                }
            }
        }
    });
}

#[test]
fn bfloat16_is_as_near_to_fp64_as_on_one_rank() {
    ranks::run(4, |place| {
        let ranks = join(place);
        for rows in ["data.rows=padded", "data.rows=packed"] {
            let exact = make(&Ranks::alone(), &[rows]);
            let (rounded, _) = off(&exact, &make(&Ranks::alone(), &[rows, "precision=bf16"]));
            for layout in [layouts(4, 2, 1).swap_remove(3), layouts(4, 2, 2).swap_remove(0)] {
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
fn a_run_that_is_resumed_ends_with_the_bits_of_one_that_was_not() {
    ranks::run(4, |place| {
        let ranks = join(place);
        let tied = base_of_four_blocks(true);
        for layout in [
            &["parallel.pipeline=2", "parallel.zero=0"][..],
            &["parallel.pipeline=2", "parallel.zero=1", "noise.dropout=0.2"],
            &["parallel.pipeline=2", "parallel.tensor=2", "lora=null"],
            &["parallel.pipeline=4", &tied],
            &["parallel.pipeline=2", "parallel.zero=1", &tied],
            &["parallel.pipeline=2", "lora={r: 2}"],
        ] {
            resumes(&ranks, layout);
        }
    });
}

/// Evaluates on every rank, which must find what one rank does.
fn evaluates(ranks: &Rc<Ranks>, layout: &[&str]) {
    let settings = ["data.split=[8, 4, 0]", "evaluate.every=1", "evaluate.batches=1"];
    let evaluate = |ranks: &Rc<Ranks>, more: &[&str]| {
        let run = Run::open_on(ranks, config(&[&settings[..], more].concat())).expect("a run");
        run.evaluate(0).expect("an evaluation").expect("no signal came").total
    };
    let alone = evaluate(&Ranks::alone(), &[]);
    let made = evaluate(ranks, layout);
    assert!((made.loss - alone.loss).abs() < 1e-12, "{made:?} is not {alone:?}");
    assert_eq!(made.accuracy, alone.accuracy);
    assert_eq!(made.supervised_tokens, alone.supervised_tokens);
}

#[test]
fn an_evaluation_finds_what_one_rank_finds_on_every_rank() {
    ranks::run(4, |place| {
        let ranks = join(place);
        for tensor in ["parallel.tensor=1", "parallel.tensor=2"] {
            evaluates(&ranks, &["parallel.pipeline=2", tensor]);
        }
    });
}

#[test]
fn an_update_without_anything_to_learn_is_skipped_by_all_stages() {
    let seed = silent_beginning();
    ranks::run(4, |place| {
        let ranks = join(place);
        for zero in ["parallel.zero=0", "parallel.zero=1"] {
            let settings = ["parallel.pipeline=2", zero, "batch.global=2", &seed];
            let mut run = Run::open_on(&ranks, config(&settings)).expect("a run");
            let step = run.step().expect("a step");
            assert!(step.skipped && !step.not_finite && step.loss == 0.0);
        }
    });
}

#[test]
fn numbers_that_are_none_on_one_stage_skip_the_step_on_all_of_them() {
    ranks::run(3, |place| {
        let ranks = join(place);
        let settings = ["parallel.pipeline=3", &base_of_four_blocks(false)];
        let mut run = Run::open_on(&ranks, config(&settings)).expect("a run");
        let step = run.step().expect("a step");
        assert!(!step.skipped);
        if ranks.rank() == 1 {
            let _ = run.model.units[3].master.fill_(f64::NAN);
        }
        let step = run.step().expect("a step");
        assert!(step.skipped && step.not_finite);
        let broken = run.broken_parameter().expect("all ranks come");
        assert_eq!(broken.as_deref(), Some("model.layers.2.self_attn.q_proj.weight"));
    });
}

#[test]
fn the_norm_counts_every_parameter_once_and_no_padding() {
    ranks::run(4, |place| {
        let ranks = join(place);
        for tensor in [1, 2] {
            let layout = ParallelConfig { pipeline: 2, tensor, ..ParallelConfig::default() };
            let mesh = Mesh::of(&ranks, &layout).expect("a mesh");
            for zero in [Zero::Nothing, Zero::State] {
                let (square, expected) = square_of_ones(&mesh, zero);
                assert!((square / expected - 1.0).abs() < 1e-14, "{square} of {expected}");
            }
        }
    });
}

#[test]
fn a_stage_sends_what_the_formula_says() {
    ranks::run(3, |place| {
        let ranks = join(place);
        let base = base_of_four_blocks(false);
        // With everybody's tokens, every micro-batch has something to learn.
        let settings = ["parallel.pipeline=3", "recompute=all", "loss.weights={user: 1}", &base];
        let mut run = Run::open_on(&ranks, config(&settings)).expect("a run");
        let mesh = run.model.mesh().clone();
        mesh.stages.transcript().keep();
        let places = run.step().expect("a step").counts.places;
        let entries = mesh.stages.transcript().take();
        // Hidden states go on and their gradients come back: of each place, eight bytes a number.
        let once = places * run.model.config.hidden_size.cast_unsigned() * 8;
        let (sends, received): (Vec<_>, Vec<_>) =
            entries.iter().partition(|it| it.operation == "send");
        let sent: u64 = sends.iter().map(|it| it.bytes).sum();
        let neighbours = if ranks.rank() == 1 { 2 } else { 1 };
        assert_eq!(sent, neighbours * once);
        assert_eq!(received.len(), sends.len());
        mesh.check_transcripts().expect("all made the same calls");
    });
}

#[test]
fn calls_of_stages_are_compared_and_one_that_differs_is_named() {
    ranks::run(4, |started| {
        let place = Place::from_environment().expect("the test sets it");
        let ranks = Ranks::join(place, ranks::TIMEOUT, true).expect("all ranks come");
        drop(started.store);
        for layout in [layouts(4, 2, 1).swap_remove(3), layouts(4, 2, 2).swap_remove(0)] {
            check(&ranks, &[], &[layout], 1e-12);
        }
        let layout = ParallelConfig { pipeline: 2, ..ParallelConfig::default() };
        let mesh = Mesh::of(&ranks, &layout).expect("a mesh");
        // The second of the two that have the last stage brings something else.
        let differs = ranks.rank() == 3;
        let ours = Tensor::zeros([if differs { 3 } else { 4 }], (Kind::Float, Device::Cpu));
        let made = mesh.data.stacked(&ours);
        if ranks.rank() < 2 {
            made.map(drop).expect("these two do the same");
        } else {
            let error = format!("{:#}", made.expect_err("these two do not"));
            let words = if differs {
                "rank 1 calls all_gather of 6"
            } else {
                "rank 0 calls all_gather of 8"
            };
            assert!(error.contains("in group `data`") && error.contains(words), "{error}");
        }
    });
}

#[test]
fn what_has_no_stages_is_refused_with_the_reason() {
    ranks::run(4, |place| {
        let ranks = join(place);
        refused(
            &ranks,
            &["parallel.pipeline=3"],
            "`parallel.pipeline` is 3, which does not divide",
        );
        refused(&ranks, &["parallel.pipeline=4"], "has 2 blocks (`num_hidden_layers`)");
        refused(
            &ranks,
            &["parallel.pipeline=2", "parallel.tensor=3"],
            "`parallel.pipeline` times `parallel.tensor` is 2 times 3, which does not divide",
        );
        refused(
            &ranks,
            &["parallel.pipeline=2", "batch.global=2", "batch.micro=2"],
            "there are 2 groups of 2 ranks, but an update has 1 micro-batches",
        );
    });
    let error = Run::open(config(&["parallel.pipeline=2"])).expect_err("refused");
    assert!(error.to_string().contains("trainer launch --nproc 2 -- train"), "{error}");
}
