//! Mistakes that trainers over several ranks were shipped with, planted here one by one: the comparisons by which the other
//! tests prove a layout find each of them.

use std::io::Write as _;
use std::rc::Rc;

use tch::Tensor;
use tempfile::TempDir;
use trainer::checkpoint::{self, About, Keep, Origin};
use trainer::config::Zero;
use trainer::fault::{Fault, plant};
use trainer::ranks::{Mesh, Ranks};
use trainer::run::Run;
use trainer::saver::Saver;

use crate::compared::{alone, compare, config, silent_beginning, square_of_ones};
use crate::golden_run::join;
use crate::{ranks, vocabulary};

const SOUND: &str = "all is well";

/// Makes a proof twice on so many ranks: it must hold, and once the mistake is planted it must fail with these words.
#[track_caller]
fn is_found(fault: Fault, size: usize, words: &str, mut proof: impl FnMut(&Rc<Ranks>)) {
    let children = ranks::start(size, |started| {
        let ranks = join(started);
        proof(&ranks);
        std::io::stderr().write_all(SOUND.as_bytes()).expect("said");
        plant(fault);
        proof(&ranks);
    });
    let Some(children) = children else { return };
    let ended: Vec<_> =
        children.into_iter().map(|child| child.wait_with_output().expect("it ends")).collect();
    let said: Vec<_> = ended.iter().map(|it| String::from_utf8_lossy(&it.stderr)).collect();
    let said = said.join("\n");
    assert_eq!(said.matches(SOUND).count(), size, "without {fault:?}:\n{said}");
    let failed = ended.iter().any(|it| !it.status.success());
    assert!(failed && said.contains(words), "{fault:?} is not found:\n{said}");
}

/// The comparison with one rank, which was made before anything was planted.
fn steps(
    settings: &'static [&str],
    layout: &'static [&str],
    tolerance: f64,
) -> impl FnMut(&Rc<Ranks>) {
    let mut made = None;
    move |ranks| {
        let alone = made.get_or_insert_with(|| alone(ranks, settings));
        compare(ranks, alone.as_ref(), settings, layout, tolerance);
    }
}

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
        let mesh = Mesh::of(ranks, 1, true).expect("a mesh");
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
        let mesh = Mesh::of(ranks, 2, true).expect("a mesh");
        vocabulary::compare(&vocabulary::make(&mesh), alone);
    });
}

/// Makes a step, saves, and makes another; a second run goes on from there, and must do the same.
fn resumes(ranks: &Rc<Ranks>) {
    let folder = ranks.leads().then(|| TempDir::new().expect("a temporary folder"));
    let out = folder.as_ref().map(|it| it.path().display().to_string()).unwrap_or_default();
    let out = std::path::PathBuf::from(ranks.tell(&out, 0).expect("all ranks come"));
    let settings = ["parallel.tensor=2", "batch.micro=4", "precision=fp32"];
    let mut run = Run::open_on(ranks, config(&settings)).expect("a run");
    run.step().expect("a step");
    let mut saver = Saver::open(ranks, &out, 1, run.model.numel(), 0).expect("room");
    let Run { model, optimizer, state, config: as_saved, .. } = &mut run;
    let about = About {
        model: model.config.clone(),
        state: *state,
        config: serde_json::to_value(as_saved).expect("JSON"),
        origin: Origin::default(),
    };
    let keep = Keep { last: 1, every: None, best: None };
    saver.save(model, optimizer, 1, || Ok(about), keep).expect("begun");
    saver.finish().expect("saved");
    let expected: Vec<Tensor> = {
        run.step().expect("a step");
        run.model.units.iter().map(|unit| unit.master.copy()).collect()
    };
    let mut again = Run::open_on(ranks, config(&settings)).expect("a run");
    let record = checkpoint::open_on(ranks, &checkpoint::path(&out, 1)).expect("whole");
    let Run { model, optimizer, .. } = &mut again;
    checkpoint::load(&checkpoint::path(&out, 1), &record, model, &mut optimizer.moments)
        .expect("read");
    again.state = record.state();
    again.step().expect("a step");
    for (unit, expected) in again.model.units.iter().zip(expected) {
        assert_eq!(unit.master, expected, "`{}` goes on as another", unit.spec.name);
    }
    ranks.barrier().expect("all ranks come");
}

#[test]
fn a_checkpoint_that_is_written_or_read_wrongly_is_found() {
    is_found(Fault::FirstBox, 2, "overlap", resumes);
    is_found(Fault::NoMoments, 2, "goes on as another", resumes);
}
