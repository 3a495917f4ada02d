//! Mistakes that pipelines were shipped with, planted here one by one: the comparisons by which the other tests prove a
//! pipeline find each of them.

use trainer::config::{ParallelConfig, Zero};
use trainer::fault::Fault;
use trainer::ranks::Mesh;

use crate::compared::square_of_ones;
use crate::planted::{is_found, steps};
use crate::resumed::resumes;
use crate::{base_of_four_blocks, evaluates};

const TWO: &[&str] = &["parallel.pipeline=2"];

/// The setting of a base with a tied head, for as long as the process lives.
fn tied() -> &'static [&'static str] {
    let base: &'static str = base_of_four_blocks(true).leak();
    vec![base].leak()
}

#[test]
fn a_micro_batch_that_comes_back_as_another_is_found() {
    // Rows of the same length, so that nothing else tells them apart.
    let settings = &["batch.sequence_length=16", "data.too_long=truncate"];
    is_found(Fault::LatestComesBack, 2, "is off by", steps(settings, TWO, 1e-12));
}

#[test]
fn a_gradient_that_is_scaled_between_stages_is_found() {
    is_found(Fault::ScaledByStages, 2, "is off by", steps(&[], TWO, 1e-12));
}

#[test]
fn a_norm_of_one_stage_is_found() {
    is_found(Fault::OwnNorm, 2, "norm of step", steps(&[], TWO, 1e-12));
}

#[test]
fn a_tied_matrix_that_is_two_or_counts_twice_is_found() {
    // Here one stage has another gradient than the other.
    is_found(Fault::TiedNotSummed, 2, "model.embed_tokens.weight", steps(tied(), TWO, 1e-12));
    is_found(Fault::TiedCounted, 2, "norm of step", steps(tied(), TWO, 1e-12));
}

#[test]
fn a_tied_matrix_that_two_stages_write_is_found() {
    let layout = [tied(), TWO].concat();
    is_found(Fault::TiedWrittenTwice, 2, "overlap", |ranks| resumes(ranks, &layout));
}

#[test]
fn an_evaluation_that_only_one_stage_knows_is_found() {
    is_found(Fault::OwnEvaluation, 2, "is not Prediction", |ranks| evaluates(ranks, TWO));
}

#[test]
fn padding_that_is_counted_is_found_in_stages_too() {
    is_found(Fault::PaddingCounted, 2, "counted", |ranks| {
        let layout = ParallelConfig { pipeline: 2, ..ParallelConfig::default() };
        let mesh = Mesh::of(ranks, &layout).expect("a mesh");
        let (square, numel) = square_of_ones(&mesh, Zero::State);
        assert!((square / numel - 1.0).abs() < 1e-14, "{square} counted for {numel}");
    });
}
