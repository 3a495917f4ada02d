//! Lines of metrics -> every place that shows the run, on a thread of its own.
//!
//! | place | when |
//! |---|---|
//! | `metrics.jsonl` | always |
//! | `tensorboard/events.out.tfevents.*` | `logging.tensorboard: true` |
//! | `wandb/offline-run-*` | `logging.wandb: {project: ...}` |
//!
//! A run is neither stopped nor slowed by what shows it: the loop hands a line over and goes on, and a place that cannot
//! be written any more (a full disk, say) is told once and left out from there. At a resume every place is written again
//! from the lines up to the checkpoint, so that each tells one run without doubled steps.

use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use fs_err as fs;

use crate::config::Config;
use crate::metrics::{self, Line};
use crate::tensorboard::EventFile;
use crate::wandb::OfflineRun;

/// Where a run's lines go.
#[derive(Debug)]
pub struct Logbook {
    /// None once it is closed.
    lines: Option<Sender<Line>>,
    writer: Option<JoinHandle<()>>,
    exit_code: Sender<u8>,
    warnings: Receiver<String>,
}

impl Logbook {
    /// Opens every place that the configuration asks for, with the lines of the first `steps` steps and no others.
    pub fn open(out: &Path, config: &Config, steps: u64) -> Result<Self> {
        let kept = metrics::lines_until(out, steps)?;
        let started = kept.first().map_or_else(metrics::now, Line::time);
        let mut places = vec![Place::Metrics(metrics_file(out, &kept)?)];
        if config.logging.tensorboard {
            let file = EventFile::create(&out.join("tensorboard"), started);
            places.push(Place::TensorBoard(file.context("beginning TensorBoard's event file")?));
        }
        if let Some(settings) = &config.logging.wandb {
            let name = out.file_name().map_or_else(String::new, |it| it.to_string_lossy().into());
            let shown = serde_json::to_value(config).context("the configuration as JSON")?;
            let run = OfflineRun::create(out, settings, &name, &shown, started);
            places.push(Place::Wandb(Box::new(run.context("beginning the offline W&B run")?)));
        }
        for place in places.iter_mut().filter(|place| !matches!(place, Place::Metrics(_))) {
            kept.iter().try_for_each(|line| place.line(line))?;
        }

        let (lines, to_write) = mpsc::channel();
        let (warn, warnings) = mpsc::channel();
        let (exit_code, ended) = mpsc::channel();
        let writer = std::thread::Builder::new()
            .name("logbook".into())
            .spawn(move || write(places, &to_write, &ended, &warn))
            .context("starting the logbook's thread")?;
        Ok(Self { lines: Some(lines), writer: Some(writer), exit_code, warnings })
    }

    /// Hands a line over; it is written soon.
    pub fn line(&self, line: Line) {
        if let Some(lines) = &self.lines {
            // The writer only ends after this end of the channel does.
            let _ = lines.send(line);
        }
    }

    /// What the user should know of places that cannot be written, each once.
    pub fn warnings(&self) -> impl Iterator<Item = String> + '_ {
        self.warnings.try_iter()
    }

    /// Writes what is left. The run ended well if this is called; dropping the logbook tells the places that it failed.
    pub fn finish(mut self) -> Vec<String> {
        let _ = self.exit_code.send(0);
        self.close();
        self.warnings.try_iter().collect()
    }

    fn close(&mut self) {
        self.lines = None;
        if let Some(writer) = self.writer.take()
            && let Err(panic) = writer.join()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Drop for Logbook {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.close();
        }
    }
}

/// Writes lines until no more come, and ends every place.
fn write(
    mut places: Vec<Place>,
    lines: &Receiver<Line>,
    exit_code: &Receiver<u8>,
    warn: &Sender<String>,
) {
    let mut each = |work: &dyn Fn(&mut Place) -> io::Result<()>| {
        places.retain_mut(|place| match work(place) {
            Ok(()) => true,
            Err(error) => {
                let name = place.name();
                let _ = warn.send(format!(
                    "{name} cannot be written any more: {error}; the run goes on without it"
                ));
                false
            }
        });
    };
    while let Ok(line) = lines.recv() {
        each(&|place| place.line(&line));
        // Several at once where steps are fast, and each at once where they are slow.
        for line in lines.try_iter().take(1000) {
            each(&|place| place.line(&line));
        }
        each(&Place::flush);
    }
    // Nothing was said about the end: the run failed.
    let exit_code = exit_code.try_recv().unwrap_or(1);
    for place in places {
        let name = place.name();
        if let Err(error) = place.finish(exit_code) {
            let _ = warn.send(format!("{name} is not whole: {error}"));
        }
    }
}

/// One place.
#[derive(Debug)]
enum Place {
    Metrics(io::BufWriter<fs::File>),
    TensorBoard(EventFile),
    Wandb(Box<OfflineRun>),
}

impl Place {
    fn name(&self) -> &'static str {
        match self {
            Self::Metrics(_) => "`metrics.jsonl`",
            Self::TensorBoard(_) => "TensorBoard's event file",
            Self::Wandb(_) => "the offline W&B run",
        }
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        match self {
            Self::Metrics(file) => writeln!(file, "{}", line.to_json()),
            Self::TensorBoard(file) => file.line(line),
            Self::Wandb(run) => run.line(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Metrics(file) => file.flush(),
            Self::TensorBoard(file) => file.flush(),
            Self::Wandb(run) => run.flush(),
        }
    }

    fn finish(mut self, exit_code: u8) -> io::Result<()> {
        match self {
            Self::Wandb(run) => run.finish(exit_code, metrics::now()),
            Self::Metrics(_) | Self::TensorBoard(_) => self.flush(),
        }
    }
}

/// `metrics.jsonl` with the kept lines, open at its end.
fn metrics_file(out: &Path, kept: &[Line]) -> Result<io::BufWriter<fs::File>> {
    let path = metrics::path(out);
    let text: String = kept.iter().map(|line| line.to_json() + "\n").collect();
    shards::atomic::write(&path, text.as_bytes())?;
    Ok(io::BufWriter::new(fs::OpenOptions::new().append(true).open(&path)?))
}
