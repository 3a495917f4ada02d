//! Ranks that shard in groups, which are replicas of each other, give what one rank gives: gradients and weights by name, over
//! real processes, whatever is sharded and whatever else is on.
//!
//! The comparison is in fp64, in which rounding stays below 1e-12 and every mistake is far above: a group that is left out of
//! a sum or counted twice in it, replicas that drift apart.

#[path = "../../crates/torch-ext/tests/ranks/mod.rs"]
mod ranks;

#[path = "golden_run/compared.rs"]
mod compared;
mod golden_run;
#[path = "golden_run/refused.rs"]
mod refused;
#[cfg(debug_assertions)]
#[path = "golden_run/planted.rs"]
mod planted;
#[path = "golden_run/resumed.rs"]
mod resumed;
#[path = "golden_run/shaped.rs"]
mod shaped;

use std::rc::Rc;

use compared::{check, config, make, off, square_of_ones};
use golden_run::join;
use refused::refused;
use resumed::resumes;
use tch::Kind;
use trainer::config::{ParallelConfig, Zero};
use trainer::ranks::{Mesh, Ranks};
use trainer::run::Run;

/// Every stage of ZeRO that shards something, in so many replicas, with these settings.
fn layouts(replicate: usize, more: &[&str]) -> Vec<Vec<String>> {
    let layout = |zero: u8| {
        let own = [format!("parallel.zero={zero}"), format!("parallel.replicate={replicate}")];
        own.into_iter().chain(more.iter().map(ToString::to_string)).collect()
    };
    (1..=3).map(layout).collect()
}

/// A base that has four blocks, and whose head is the embedding if that is what is asked for. The setting that takes it.
fn base_of_four_blocks(tied: bool) -> String {
    shaped::base(|shape| {
        shape.num_hidden_layers = 4;
        shape.tie_word_embeddings = tied;
    })
}

#[test]
fn two_replicas_of_two_ranks_give_the_gradients_and_weights_of_one_rank() {
    ranks::run(4, |place| {
        let ranks = join(place);
        check(&ranks, &[], &layouts(2, &[]), 1e-12);
        check(&ranks, &["batch.micro=2", "recompute=all"], &layouts(2, &[]), 1e-12);
        check(&ranks, &["data.rows=packed"], &layouts(2, &[]), 1e-12);
        check(&ranks, &["loss.normalize=micro_batch", "batch.micro=2"], &layouts(2, &[]), 1e-12);
        check(&ranks, &["noise.dropout=0.3", "noise.neftune_alpha=5"], &layouts(2, &[]), 1e-12);
        let lora = "lora={r: 2, lora_dropout: 0.2, modules_to_save: [lm_head]}";
        check(&ranks, &[lora], &layouts(2, &[]), 1e-12);
        check(&ranks, &[&base_of_four_blocks(true)], &layouts(2, &[]), 1e-12);
    });
}

#[test]
fn three_replicas_do_so_too_and_so_do_two_of_three_ranks() {
    ranks::run(6, |place| {
        let ranks = join(place);
        // Eight micro-batches over six ranks: in the second round four of them have nothing to do.
        check(&ranks, &[], &layouts(3, &[]), 1e-12);
        check(&ranks, &[], &layouts(2, &[]), 1e-12);
    });
}

#[test]
fn replicas_whose_ranks_share_every_matrix_do_so_too() {
    ranks::run(8, |place| {
        let ranks = join(place);
        check(&ranks, &[], &layouts(2, &["parallel.tensor=2"]), 1e-12);
        let more = ["parallel.tensor=2", "parallel.sequence=false"];
        check(&ranks, &["batch.micro=2"], &layouts(2, &more)[..1], 1e-12);
    });
}

#[test]
fn replicas_in_stages_do_so_too() {
    ranks::run(8, |place| {
        let ranks = join(place);
        let stages = &layouts(2, &["parallel.pipeline=2"])[..1];
        check(&ranks, &[], stages, 1e-12);
        check(&ranks, &[&base_of_four_blocks(true), "batch.micro=2"], stages, 1e-12);
    });
}

#[test]
fn bfloat16_follows_one_rank_within_its_rounding() {
    ranks::run(4, |place| {
        let ranks = join(place);
        // As without replicas: a gradient that is added up in another order differs in the eighth bit, and the update is 0.01
        // at most.
        check(&ranks, &["precision=bf16"], &layouts(2, &[]), 0.03);
        // Rounded once on the way into each of two sums, which are in fp32: the last of eight bits of a gradient below 1.
        let settings = ["parallel.reduce=bf16", "optimizer.lr=1e-4"];
        check(&ranks, &settings, &layouts(2, &[]), 8e-3);
    });
}

#[test]
fn two_runs_of_a_layout_are_equal_to_the_last_bit_and_so_are_stages_of_zero() {
    ranks::run(4, |place| {
        let ranks = join(place);
        for precision in ["precision=fp32", "precision=bf16"] {
            // One micro-batch a rank: then the order in which all stages add up is the same.
            let run = |zero: u8| {
                let zero = format!("parallel={{zero: {zero}, replicate: 2}}");
                make(&ranks, &[precision, "batch.micro=2", &zero])
            };
            let first = run(1);
            for zero in 1..=3 {
                assert_eq!(off(&first, &run(zero)), (0.0, String::new()), "{precision} {zero}");
            }
        }
    });
}

#[test]
fn the_norm_counts_every_parameter_once_and_no_padding() {
    ranks::run(4, |place| {
        let ranks = join(place);
        let layout = ParallelConfig { replicate: 2, ..ParallelConfig::default() };
        let mesh = Mesh::of(&ranks, &layout).expect("a mesh");
        for zero in [Zero::State, Zero::Gradients, Zero::Weights] {
            let (square, expected) = square_of_ones(&mesh, zero);
            assert!((square / expected - 1.0).abs() < 1e-14, "{zero:?}: {square} of {expected}");
        }
    });
}

#[test]
fn a_step_sends_what_the_formulas_say_and_every_rank_calls_the_same() {
    ranks::run(4, |place| {
        let ranks = join(place);
        ranks.transcript().keep();
        for stage in layouts(2, &[]) {
            let stage: Vec<&str> = stage.iter().map(String::as_str).collect();
            let settings = [&["precision=bf16", "batch.micro=1"], &stage[..]].concat();
            let mut run = Run::open_on(&ranks, config(&settings)).expect("a run");
            run.step().expect("the first step, which gathers everything for the first time");
            ranks.transcript().take();
            run.step().expect("a step");
            let entries = ranks.transcript().take();
            let sent = |group: &str, operation: &str, kind: Kind| -> u64 {
                let of = entries.iter().filter(|it| it.group == group && it.kind == kind);
                of.filter(|it| it.operation == operation).map(|it| it.bytes).sum()
            };
            let sizes: Vec<u64> =
                run.model.units.iter().map(|unit| unit.padded().cast_unsigned()).collect();
            let all: u64 = sizes.iter().sum();
            let (embed, head) = (sizes[0], sizes[sizes.len() - 1]);
            // Two ranks of a group send half of everything, as often as one does without replicas: four bytes a gradient and
            // two a weight, in two micro-batches a rank.
            let (gradients, weights) = match run.model.zero() {
                Zero::Nothing => unreachable!("something is sharded"),
                Zero::State => (4 * all / 2, 2 * all / 2),
                Zero::Gradients => (2 * 4 * all / 2, 2 * all / 2),
                // Both blocks stay where they are between the passes: only embedding and head take turns.
                Zero::Weights => (2 * 4 * all / 2, 2 * (all + embed + (head + embed)) / 2),
            };
            assert_eq!(sent("shard", "all_to_all", Kind::Float), gradients, "{stage:?}");
            assert_eq!(sent("shard", "all_gather", Kind::BFloat16), weights, "{stage:?}");
            // Between replicas goes a rank's half of the gradients, once an update: half of it there, and half back.
            for operation in ["all_to_all", "all_gather"] {
                assert_eq!(sent("replicas", operation, Kind::Float), 4 * all / 2 / 2, "{stage:?}");
            }
            run.model.mesh().check_transcripts().expect("they are the same");
        }
    });
}

#[test]
fn a_run_that_is_resumed_ends_with_the_bits_of_one_that_was_not() {
    ranks::run(4, |place| {
        let ranks = join(place);
        for layout in layouts(2, &[]) {
            resumes(&ranks, &layout.iter().map(String::as_str).collect::<Vec<_>>());
        }
    });
}

#[test]
fn an_evaluation_finds_what_one_rank_finds() {
    ranks::run(4, |place| {
        let ranks = join(place);
        let evaluate = |ranks: &Rc<Ranks>, more: &str| {
            let settings = ["data.split=[8, 4, 0]", "evaluate.every=1", "evaluate.batches=1"];
            let run = Run::open_on(ranks, config(&[&settings[..], &[more]].concat()));
            let found = run.expect("a run").evaluate(0).expect("an evaluation");
            found.expect("no signal came").total
        };
        let made = evaluate(&ranks, "parallel={zero: 3, replicate: 2}");
        let alone = evaluate(&Ranks::alone(), "seed=1234");
        assert!((made.loss - alone.loss).abs() < 1e-12, "{made:?} is not {alone:?}");
        assert_eq!(made.supervised_tokens, alone.supervised_tokens);
    });
}

#[test]
fn numbers_that_are_none_on_one_replica_skip_the_step_on_all() {
    ranks::run(4, |place| {
        let ranks = join(place);
        for zero in 1..=3 {
            let layout = format!("parallel={{zero: {zero}, replicate: 2}}");
            let mut run = Run::open_on(&ranks, config(&[&layout])).expect("a run");
            assert!(!run.step().expect("a step").skipped);
            if ranks.rank() == 3 {
                let _ = run.model.units[1].master.fill_(f64::NAN);
            }
            let step = run.step().expect("a step");
            assert!(step.skipped && step.not_finite, "{layout}");
            let broken = run.broken_parameter().expect("all ranks come");
            // Its half of the block begins inside of this.
            assert_eq!(broken.as_deref(), Some("model.layers.0.mlp.gate_proj.weight"), "{layout}");
        }
    });
}

#[test]
fn what_cannot_be_replicated_is_refused_with_the_reason() {
    ranks::run(4, |place| {
        let ranks = join(place);
        refused(
            &ranks,
            &["parallel.replicate=3"],
            "`parallel.replicate` is 3, which does not divide the number of ranks, 4\n\
             hint: take a multiple of 6 ranks, or lower `parallel.replicate`",
        );
        refused(
            &ranks,
            &["parallel.replicate=2", "parallel.tensor=2"],
            "`parallel.tensor` times `parallel.replicate` is 2 times 2, which leaves one rank of the number of ranks, 4, for \
             each replica: nothing would be sharded\nhint: take 8 ranks or more, or leave `parallel.replicate` out",
        );
    });
}

#[cfg(debug_assertions)]
mod faults {
    use trainer::fault::Fault;

    use crate::planted::{is_found, steps};
    use crate::resumed::resumes;

    const TWO: &[&str] = &["parallel={zero: 2, replicate: 2}"];

    #[test]
    fn replicas_that_are_not_one_model_are_found() {
        is_found(Fault::ReplicasNotSummed, 4, "gradient of", steps(&[], TWO, 1e-12));
        is_found(Fault::ReplicasCounted, 4, "norm of step", steps(&[], TWO, 1e-12));
        is_found(Fault::ReplicasWritten, 4, "overlap", |ranks| resumes(ranks, TWO));
    }
}
