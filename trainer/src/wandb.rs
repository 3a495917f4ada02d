//! Lines of metrics -> a run of Weights & Biases in its offline format, which `wandb sync` uploads.
//!
//! The trainer opens no connection. It writes `wandb/offline-run-<time>-<id>/run-<id>.wandb` in the run's folder, as
//! the wandb package does with `mode="offline"`: a log of records (`log`), each a protobuf message (`records`) that
//! holds the configuration, a line of the history, or the summary. `wandb sync --live` follows the file while the run goes on.
//!
//! A resumed run keeps its id. Its file is written again from the metrics' lines up to the checkpoint, so that it
//! always tells one whole run, whatever the number of resumes.

mod log;
mod records;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::config::WandbConfig;
use crate::metrics::{self, Line};
use log::RecordLog;
use records::{Kind, Record};

/// A run that is being written.
#[derive(Debug)]
pub struct OfflineRun {
    log: RecordLog,
    n_records: i64,
    id: String,
    started: f64,
    /// The last value of every number, and the best of each validation loss.
    summary: BTreeMap<String, f64>,
}

impl OfflineRun {
    /// Begins the file of a run that started at this Unix time. `config` is what W&B shows as the run's configuration;
    /// `name` is its name if the settings give none.
    pub fn create(
        out: &Path,
        settings: &WandbConfig,
        name: &str,
        config: &Value,
        started: f64,
    ) -> io::Result<Self> {
        let folder = out.join("wandb");
        let (folder, id) = match existing(&folder)? {
            Some(found) => found,
            None => {
                let id = new_id(config, started);
                (
                    folder.join(format!(
                        "offline-run-{}-{id}",
                        metrics::date(started, "%Y%m%d_%H%M%S")
                    )),
                    id,
                )
            }
        };
        fs::create_dir_all(folder.join("files"))?;
        let path = folder.join(format!("run-{id}.wandb"));
        let log = RecordLog::create(&path)?;
        let mut run = Self { log, n_records: 0, id, started, summary: BTreeMap::new() };
        run.push(records::header())?;
        let record = records::run(&run.id, settings, name, config, started);
        run.push(record)?;
        Ok(run)
    }

    /// Writes the numbers of a line, and the summary as it is after them.
    pub fn line(&mut self, line: &Line) -> io::Result<()> {
        let mut numbers = line.scalars();
        let mut changed = numbers.clone();
        for (key, value) in &numbers {
            if key.starts_with("validation/") && key.ends_with("loss") {
                let best = format!("best/{key}");
                let lowest = self.summary.get(&best).map_or(*value, |best| best.min(*value));
                changed.push((best, lowest));
            }
        }
        let time = line.time();
        numbers.extend([("_timestamp".into(), time), ("_runtime".into(), time - self.started)]);
        self.push(records::history(line.step(), &numbers))?;
        self.summary.extend(changed.iter().cloned());
        self.push(records::summary(line.step(), &changed))
    }

    /// Brings what was written to the file, where `wandb sync --live` finds it.
    pub fn flush(&mut self) -> io::Result<()> {
        self.log.flush()
    }

    /// Ends the run: a code of 0 shows it as finished, another as failed or stopped.
    pub fn finish(mut self, exit_code: u8, ended: f64) -> io::Result<()> {
        self.push(records::exit(exit_code, ended - self.started))?;
        self.log.flush()
    }

    fn push(&mut self, kind: Kind) -> io::Result<()> {
        self.n_records += 1;
        self.log.push(&Record::new(self.n_records, kind, &self.id))
    }
}

/// The folder and the id of the run that an earlier part wrote.
fn existing(folder: &Path) -> io::Result<Option<(PathBuf, String)>> {
    if !folder.exists() {
        return Ok(None);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some((_, id)) = name.strip_prefix("offline-run-").and_then(|it| it.rsplit_once('-'))
        {
            found.push((path, id.to_string()));
        }
    }
    found.sort();
    Ok(found.pop())
}

/// Eight characters, as wandb's ids have. Runs with other configurations or other times have others.
fn new_id(config: &Value, started: f64) -> String {
    let mut hash = Sha256::new();
    hash.update(config.to_string());
    hash.update(started.to_le_bytes());
    let digits = b"0123456789abcdefghijklmnopqrstuvwxyz";
    hash.finalize().iter().take(8).map(|&byte| char::from(digits[usize::from(byte) % 36])).collect()
}
