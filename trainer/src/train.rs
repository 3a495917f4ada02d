//! The loop: steps, evaluations, checkpoints, lines on the console, and a safe end whenever it is asked for.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cli::{Interrupted, Progress, bail_input, print};

use crate::checkpoint::{self, About, Keep};
use crate::config::{CheckpointConfig, Config};
use crate::console;
use crate::evaluate::Evaluation;
use crate::logbook::Logbook;
use crate::metrics::{self, Line};
use crate::origin;
use crate::preflight;
use crate::ranks::Ranks;
use crate::run::Run;
use crate::run_folder::RunFolder;
use crate::same_run;
use crate::saver::{self, Saved, Saver};
use crate::state::TrainState;
use crate::step::Step;

/// Trains, from the newest checkpoint in `out` if there is one, until the run is complete, a signal comes, or
/// `stop_after` steps are made in all. In each case the run is saved; one that diverges as it was before that, and without
/// taking an older checkpoint away.
///
/// `force` resumes also where the configuration, the base or the shards are others than before.
///
/// Of several ranks, rank 0 writes what is written; what it finds there, and what goes wrong anywhere, is every rank's.
pub fn train(
    ranks: &Rc<Ranks>,
    config: Config,
    out: &Path,
    stop_after: Option<u64>,
    force: bool,
) -> Result<()> {
    ranks.compare(|| preflight::facts(&config, stop_after))?;
    // What is there is taken before anything is loaded; a new folder comes into being once everything fits.
    let taken = ranks.lead(|| RunFolder::take(out))?.flatten();
    let mut run = ranks.agree(Run::open_on(ranks, config))?;
    for remark in &run.remarks {
        print::note(format!("warning: {remark}"));
    }
    if ranks.any(cli::interrupt::requested())? {
        print::note("nothing was done yet");
        return Err(Interrupted.into());
    }
    let _held = ranks.lead(|| taken.map_or_else(|| RunFolder::create(out), Ok))?;
    let mut origin = ranks.lead(|| origin::Hashing::start(&run.config, run.shards.clone()))?;
    let newest = ranks.lead(|| {
        if let Some(remark) = checkpoint::cut_short(out)? {
            print::note(format!("warning: {remark}"));
        }
        let newest = checkpoint::latest(out)?;
        same_run::settle(&run.config, out, newest.is_some(), force)?;
        Ok(newest.map(|it| it.display().to_string()))
    })?;
    let newest = ranks.tell(&newest.flatten().unwrap_or_default(), 0)?;
    let newest = (!newest.is_empty()).then(|| PathBuf::from(newest));
    if let Some(newest) = &newest {
        resume(&mut run, newest, origin.as_mut(), force)?;
    }
    let saver = Saver::open(
        ranks,
        out,
        most_checkpoints(&run),
        run.model.numel(),
        run.config.checkpoint.buffer_mib << 20,
    )?;
    print::note(console::run(&run));
    let logbook = ranks.lead(|| Logbook::open(out, &run.config, run.state.step))?;
    let first = run.state.step;
    let sent = run.model.mesh().bytes_sent();
    let mut training = Training {
        run,
        out,
        logbook,
        origin,
        saver,
        newest,
        validation: None,
        seconds: Default::default(),
        sent,
        not_finite: None,
        interrupted: false,
    };
    let stopped = training.run(stop_after)?;
    training.report(first, stopped)?;
    for warning in training.logbook.into_iter().flat_map(Logbook::finish) {
        print::note(format!("warning: {warning}"));
    }
    // Nobody leaves while another may still wait for an answer.
    ranks.barrier()?;
    if stopped && stop_after != Some(training.run.state.step) {
        return Err(Interrupted.into());
    }
    Ok(())
}

struct Training<'a> {
    run: Run,
    out: &'a Path,
    /// Where the run is written down: on rank 0, as what it began with.
    logbook: Option<Logbook>,
    origin: Option<origin::Hashing>,
    saver: Saver,
    /// The newest checkpoint on disk.
    newest: Option<PathBuf>,
    /// The last evaluation.
    validation: Option<Evaluation>,
    /// How long the steps took, and how much of that they waited for their documents.
    seconds: (Duration, Duration),
    /// The bytes that this rank had sent to others before the first of them.
    sent: u64,
    /// The last steps, if their loss or gradient was not finite.
    not_finite: Option<Row>,
    /// Whether a signal has asked any of the ranks to stop.
    interrupted: bool,
}

/// Steps without an update, since their loss or gradient was not finite.
#[derive(Clone, Copy)]
struct Row {
    /// Where the run stood before the first. Its weights are still those.
    before: TrainState,
    /// How many they are, without those between them that had nothing to learn.
    length: u64,
}

/// What becomes of older checkpoints when one is saved.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Older {
    /// Those go that the configuration does not keep.
    Pruned,
    Kept,
}

impl Training<'_> {
    /// Makes steps; says whether it was stopped before the last.
    fn run(&mut self, stop_after: Option<u64>) -> Result<bool> {
        let steps = self.run.steps;
        let before = self.run.state.step;
        let progress = Progress::resumed("training", before, steps, cli::Unit::Count("steps"));
        let mut saved = self.run.state.step;
        if before == 0 && self.run.evaluates().is_some_and(|it| it.at_start) {
            self.evaluation(0, &progress)?;
        }
        while self.run.state.step < steps && !self.run.ends_early() {
            self.interrupted = self.run.ranks.any(cli::interrupt::requested())?;
            if self.interrupted || stop_after.is_some_and(|last| self.run.state.step >= last) {
                break;
            }
            let saved_by_now = self.saver.look()?;
            self.tell_saved(saved_by_now, &progress);
            let before = self.run.state;
            let step = self.run.step()?;
            let number = self.run.state.step;
            self.seconds.0 += step.seconds.total();
            self.seconds.1 += step.seconds.data;
            if let Some(logbook) = &self.logbook {
                logbook.line(Line::train(number, &step, self.run.config.logging.peak_tflops));
                for warning in logbook.warnings() {
                    progress.note(format!("warning: {warning}"));
                }
            }
            if number.is_multiple_of(self.run.config.logging.every)
                || number == steps
                || step.skipped
            {
                progress.note(console::step(number, steps, &step));
            }
            self.count_not_finite(before, &step);
            if self.not_finite.is_some_and(|row| row.length >= self.run.config.stop_after_skipped) {
                progress.finish();
                self.save_before_divergence()?;
                bail!(self.diverged()?);
            }
            let best = self.evaluate(number, &progress)?;
            let CheckpointConfig { every, keep_best, .. } = self.run.config.checkpoint;
            if self.not_finite.is_none()
                && (every.is_some_and(|every| number.is_multiple_of(every)) || (best && keep_best))
            {
                // One at a time: a disk that is too slow for `every` holds the run up.
                let saved_before = self.saver.finish()?;
                self.tell_saved(saved_before, &progress);
                self.save(Older::Pruned)?;
                saved = number;
            }
            progress.inc(1);
        }
        progress.finish();
        self.settle()?;
        if let Some(Row { before, length }) = self.not_finite {
            print::note(format!(
                "warning: loss or gradient were not finite in the last {length} of the steps: the weights are those of step {}",
                before.step
            ));
        }
        if self.run.state.step == 0 && self.interrupted {
            print::note("no step was made, so nothing was saved");
            return Err(Interrupted.into());
        }
        // A run that stands where its newest checkpoint does is saved already.
        if saved != self.run.state.step || self.run.state.step == 0 {
            self.save(Older::Pruned)?;
        }
        self.settle()?;
        Ok(self.run.state.step < steps && !self.run.ends_early())
    }

    fn count_not_finite(&mut self, before: TrainState, step: &Step) {
        if step.not_finite {
            let row = self.not_finite.get_or_insert(Row { before, length: 0 });
            row.length += 1;
        } else if !step.skipped {
            self.not_finite = None;
        }
    }

    /// Saves where the run stood before the steps that were not finite. If that is all that is wrong: the update before
    /// them can have broken the weights already, and then an older checkpoint is what is left.
    fn save_before_divergence(&mut self) -> Result<()> {
        self.settle()?;
        let before = self.not_finite.map_or(self.run.state, |row| row.before);
        let path = checkpoint::path(self.out, before.step);
        if before.step == 0
            || self.newest.as_ref() == Some(&path)
            || self.run.broken_parameter()?.is_some()
        {
            return Ok(());
        }
        self.run.state = before;
        self.save(Older::Kept)?;
        self.settle()
    }

    /// What to say of a run that diverges.
    fn diverged(&self) -> Result<String> {
        let mut text = match self.not_finite {
            None => format!("the run diverged at step {}", self.run.state.step),
            Some(Row { before, length }) => format!(
                "the run diverged: from step {} on, loss or gradient were not finite in {length} steps in a row",
                before.step + 1
            ),
        };
        if let Some(name) = self.run.broken_parameter()? {
            text += &format!("; the parameter `{name}` has numbers that are not finite");
        }
        text += &match &self.newest {
            Some(newest) => format!("; what it was before that is `{}`", newest.display()),
            None => "; nothing was saved before that".to_string(),
        };
        text += "\nhint: lower `optimizer.lr` or lengthen `schedule.warmup_steps`, and train into another folder with `--out`";
        Ok(text)
    }

    /// Evaluates if this step is one to do so after; says whether the loss is the lowest so far.
    fn evaluate(&mut self, step: u64, progress: &Progress) -> Result<bool> {
        let Some(settings) = self.run.evaluates() else { return Ok(false) };
        let number = if step.is_multiple_of(settings.every) {
            step / settings.every - 1
        } else if step == self.run.steps {
            step / settings.every
        } else {
            return Ok(false);
        };
        let min_delta = settings.early_stopping.map_or(0.0, |it| it.min_delta);
        let loss = self.evaluation(number, progress)?;
        Ok(loss.is_some_and(|loss| self.run.state.evaluated(loss, min_delta)))
    }

    /// Makes the `number`-th evaluation and tells what it found; gives its loss, unless a signal came meanwhile or there was
    /// nothing in it that counts.
    fn evaluation(&mut self, number: u64, progress: &Progress) -> Result<Option<f64>> {
        let step = self.run.state.step;
        let Some(evaluation) = self.run.evaluate(number)? else { return Ok(None) };
        let loss = evaluation.total.loss;
        progress
            .note(format!("step {step}: validation {}", console::prediction(&evaluation.total)));
        if evaluation.sources.len() > 1 {
            for (name, prediction) in &evaluation.sources {
                progress.note(format!("  {name}: {}", console::prediction(prediction)));
            }
        }
        if let Some(logbook) = &self.logbook {
            logbook.line(Line::validation(step, &evaluation));
        }
        let counts = evaluation.total.supervised_tokens > 0;
        self.validation = Some(evaluation);
        Ok(counts.then_some(loss))
    }

    /// Tells of a checkpoint that is on the disk now, if there is one.
    fn tell_saved(&mut self, saved: Option<Saved>, progress: &Progress) {
        if let Some(saved) = saved {
            progress.note(console::saved_on_the_way(&saved));
            self.newest = Some(saved.path);
        }
    }

    /// Waits until what was saved is on the disk.
    fn settle(&mut self) -> Result<()> {
        if let Some(saved) = self.saver.finish()? {
            print::note(console::saved(&saved));
            self.newest = Some(saved.path);
        }
        Ok(())
    }

    /// Begins to save where the run stands; what was saved before must be on the disk.
    fn save(&mut self, older: Older) -> Result<()> {
        let begun = Instant::now();
        // The update of the last step can have broken what its loss did not show yet.
        if self.run.broken_parameter()?.is_some() {
            bail!(self.diverged()?);
        }
        let Run { config, model, optimizer, state, .. } = &mut self.run;
        let CheckpointConfig { keep, keep_every, keep_best, .. } = config.checkpoint;
        let best = state.best.filter(|_| keep_best).map(|best| best.step);
        let last = if older == Older::Pruned { keep } else { usize::MAX };
        let keep = Keep { last, every: keep_every, best };
        let about = || {
            let origin = self.origin.as_mut().context("rank 0 hashes what the run begins with")?;
            Ok(About {
                model: model.config.clone(),
                state: *state,
                config: serde_json::to_value(config)?,
                origin: origin.get()?.clone(),
            })
        };
        self.saver.save(model, optimizer, state.step, about, keep, begun)
    }

    /// Says how it ended and what to do next.
    fn report(&self, first: u64, stopped: bool) -> Result<()> {
        let Run { state, steps, .. } = &self.run;
        let newest = self.newest.as_deref().context("a run that ends is saved")?.display();
        if stopped {
            print::note(format!("stopped after step {} of {steps}, saved in {newest}", state.step));
            print::note("hint: run the same command again to go on from there");
            return Ok(());
        }
        if first == *steps {
            print::note(format!("this run has made all its {steps} steps already"));
        }
        if self.run.ends_early() {
            print::note(format!(
                "ended early, after step {} of {steps}: {} evaluations were no better",
                state.step, state.no_better
            ));
        }
        let mut line = format!(
            "{} steps, {} tokens, {} of them learned",
            state.step, state.tokens, state.supervised
        );
        if state.skipped > 0 {
            line += &format!(", {} steps skipped", state.skipped);
        }
        if let Some(evaluation) = &self.validation {
            line += &format!(", validation loss {:.4}", evaluation.total.loss);
        }
        print::note(line);
        if let Some(best) = &state.best {
            print::note(format!(
                "lowest validation loss: {:.4} after step {}",
                best.loss, best.step
            ));
        }
        let (all, waited) = (self.seconds.0.as_secs_f64(), self.seconds.1.as_secs_f64());
        if all > 0.0 {
            print::note(format!("waiting for data: {:.2} % of the time", 100.0 * waited / all));
        }
        let sent = self.run.model.mesh().bytes_sent() - self.sent;
        if sent > 0 && state.step > first {
            let a_step = saver::shown(sent / (state.step - first));
            print::note(format!("sent to other ranks: {a_step} a step from each"));
        }
        print::note(format!("metrics: {}", metrics::path(self.out).display()));
        print::note(format!("checkpoint: {newest}"));
        Ok(())
    }
}

/// How many checkpoints of this run are on the disk at most, one that is being written included.
fn most_checkpoints(run: &Run) -> u64 {
    let CheckpointConfig { every, keep, keep_every, keep_best, .. } = run.config.checkpoint;
    let evaluations = run.config.evaluate.as_ref().filter(|_| keep_best);
    let made = every.map_or(0, |every| run.steps / every)
        + evaluations.map_or(0, |evaluate| run.steps / evaluate.every)
        + 1;
    let kept_by_step = keep_every.map_or(0, |every| run.steps / every);
    (keep as u64 + kept_by_step + u64::from(keep_best)).min(made) + 1
}

/// Brings a run to where a checkpoint has it, and says what comes next.
fn resume(
    run: &mut Run,
    newest: &Path,
    mut origin: Option<&mut origin::Hashing>,
    force: bool,
) -> Result<()> {
    let ranks = Rc::clone(&run.ranks);
    let record = checkpoint::open_on(&ranks, newest)?;
    ranks.lead(|| {
        let origin = origin.as_mut().context("rank 0 hashes what the run begins with")?;
        let changed = origin::differences(record.origin(), origin.get()?);
        if !changed.is_empty() && !force {
            bail_input!(
                "`{}` was trained from other files: {}\n\
                 hint: put back what was there, give another folder with `--out`, or go on all the same with `--force-resume`",
                newest.display(),
                changed.join(", ")
            );
        }
        for changed in changed {
            print::note(format!("warning: {changed}, and the run goes on as it was told to"));
        }
        Ok(())
    })?;
    let bytes = checkpoint::load(newest, &record, &mut run.model, &mut run.optimizer.moments)?;
    run.state = record.state();
    let step = run.state.step;
    let mut line = format!("resuming after step {step} from {}", newest.display());
    if step < run.steps {
        let first = step * run.config.batch.global as u64;
        line += &format!("; step {} begins with sample {}", step + 1, first + 1);
    }
    // Each rank reads what it keeps.
    let bytes = ranks.counts(&[bytes])?[0];
    line += &format!("; {} read", saver::shown(bytes));
    print::note(line);
    Ok(())
}
