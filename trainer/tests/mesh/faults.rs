//! Mistakes that trainers over several ranks were shipped with, planted here one by one: the comparisons by which the other
//! tests prove a layout find each of them.

use trainer::config::{ParallelConfig, Zero};
use trainer::fault::Fault;
use trainer::ranks::Mesh;
use trainer::run::Run;

use crate::compared::{config, square_of_ones};
use crate::planted::{is_found, steps};
use crate::resumed::resumes;
use crate::silent::silent_beginning;
use crate::vocabulary;

#[test]
fn a_wrong_sum_over_ranks_is_found() {
    let two = &["batch.micro=2"];
    is_found(Fault::Mean, 2, "is off by", steps(two, &["parallel.zero=1"], 1e-12));
    is_found(Fault::DividedTwice, 2, "is off by", steps(two, &["parallel.zero=0"], 1e-12));
    is_found(Fault::RoundedSum, 2, "is off by", steps(two, &["parallel.zero=2"], 1e-12));
    let seed = silent_beginning();
    is_found(Fault::DividedByZero, 2, "nothing was learned", |ranks| {
        let mut run = Run::open_on(ranks, config(&["batch.global=2", &seed])).expect("a run");
        let step = run.step().expect("a step");
        assert!(step.skipped && !step.not_finite, "nothing was learned, not {}", step.loss);
    });
}

#[test]
fn a_norm_that_counts_too_much_or_too_little_is_found() {
    let mesh = &["parallel.tensor=2"];
    is_found(Fault::CopiesCounted, 2, "norm of step", steps(&[], mesh, 1e-12));
    is_found(Fault::OthersNotCounted, 2, "norm of step", steps(&[], mesh, 1e-12));
    is_found(Fault::OwnNorm, 2, "norm of step", steps(&[], &["parallel.zero=1"], 1e-12));
    is_found(Fault::PaddingCounted, 2, "counted", |ranks| {
        let mesh = Mesh::of(ranks, &ParallelConfig::default()).expect("a mesh");
        let (square, numel) = square_of_ones(&mesh, Zero::State);
        assert!((square / numel - 1.0).abs() < 1e-14, "{square} counted for {numel}");
    });
}

#[test]
fn weights_of_another_moment_or_place_are_found() {
    let one = &["batch.micro=4"];
    is_found(Fault::StaleWeights, 2, "is off by", steps(one, &["parallel.zero=1"], 1e-12));
    is_found(Fault::OtherUnit, 2, "is off by", steps(one, &["parallel.zero=3"], 1e-12));
    is_found(Fault::FirstPart, 2, "is off by", steps(one, &["parallel.tensor=2"], 1e-12));
    let bf16 = &["precision=bf16", "batch.micro=4"];
    is_found(Fault::NotRefreshed, 2, "is off by", steps(bf16, &["parallel.tensor=2"], 0.5));
}

#[test]
fn a_wrong_turn_between_ranks_that_share_matrices_is_found() {
    let (mesh, one) = (&["parallel.tensor=2"], &["batch.micro=4"]);
    is_found(Fault::NormsNotSummed, 2, "_layernorm.weight", steps(one, mesh, 1e-12));
    is_found(Fault::CutNotSummed, 2, "is off by", steps(one, mesh, 1e-12));
    is_found(Fault::SummedNotCut, 2, "is off by", steps(one, mesh, 1e-12));
    let noisy = &["batch.micro=4", "noise.dropout=0.3"];
    is_found(Fault::OwnMask, 2, "is off by", steps(noisy, mesh, 1e-12));
    // Rows of 61 places: the second of two stretches is a place shorter.
    let odd = &["batch.sequence_length=61", "data.too_long=truncate"];
    is_found(Fault::PlacesLost, 2, "is off by", steps(odd, mesh, 1e-12));
}

#[test]
fn a_wrong_loss_over_a_shared_vocabulary_is_found() {
    let mesh = &["parallel.tensor=2", "batch.micro=4"];
    let smooth = &["loss.label_smoothing=0.2"];
    is_found(Fault::OwnVocabulary, 2, "is off by", steps(smooth, mesh, 1e-12));
    is_found(Fault::LabelEverywhere, 2, "is off by", steps(&[], mesh, 1e-12));
    let mut made = None;
    is_found(Fault::RowsWithoutToken, 2, "is off", |ranks| {
        let alone = made.get_or_insert_with(|| vocabulary::make(&Mesh::alone()));
        let layout = ParallelConfig { tensor: 2, ..ParallelConfig::default() };
        let mesh = Mesh::of(ranks, &layout).expect("a mesh");
        vocabulary::compare(&vocabulary::make(&mesh), alone);
    });
}

#[test]
fn a_checkpoint_that_is_written_or_read_wrongly_is_found() {
    let mesh = &["parallel.tensor=2", "batch.micro=4"];
    is_found(Fault::FirstBox, 2, "overlap", |ranks| resumes(ranks, mesh));
    is_found(Fault::NoMoments, 2, "goes on as another", |ranks| resumes(ranks, mesh));
}
