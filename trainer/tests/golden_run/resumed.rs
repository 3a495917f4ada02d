//! A run that goes on from a checkpoint, and one that was never stopped.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;

use tch::Tensor;
use tempfile::TempDir;
use trainer::checkpoint::{self, About, Keep, Origin};
use trainer::ranks::Ranks;
use trainer::run::Run;
use trainer::saver::Saver;

use crate::compared::config;

/// Makes a step, saves, and makes another; a second run goes on from there, and must do the same.
pub(crate) fn resumes(ranks: &Rc<Ranks>, layout: &[&str]) {
    let folder = ranks.leads().then(|| TempDir::new().expect("a temporary folder"));
    let out = folder.as_ref().map(|it| it.path().display().to_string()).unwrap_or_default();
    let out = PathBuf::from(ranks.tell(&out, 0).expect("all ranks come"));
    let settings = [&["precision=fp32"], layout].concat();
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
    saver.save(model, optimizer, 1, || Ok(about), keep, Instant::now()).expect("begun");
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
