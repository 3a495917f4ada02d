//! The files of a folder against the hashes in its manifest.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use cli::interrupt;
use indicatif::HumanCount;
use shards::hash::FileHash;
use shards::manifest::{self, Manifest};

use crate::verify::Report;

/// Reads every file once, on all cores.
pub(crate) fn check(folder: &Path, manifest: &Manifest, report: &mut Report) -> anyhow::Result<()> {
    let found = hash_all(folder, &manifest.outputs)?;
    let before = report.problems.len();
    for (expected, found) in manifest.outputs.iter().zip(&found) {
        let name = &expected.path;
        match found {
            None => report.problems.push(format!("`{name}` is missing")),
            Some(found) if found.sha256 == expected.sha256 => {}
            Some(found) => {
                let same = |it: &&FileHash| it.sha256 == found.sha256;
                let why = if let Some(other) = manifest.outputs.iter().find(same) {
                    format!("it has the bytes of `{}`", other.path)
                } else if found.bytes != expected.bytes {
                    let (found, expected) = (HumanCount(found.bytes), HumanCount(expected.bytes));
                    format!("it has {found} bytes, the manifest says {expected}")
                } else {
                    format!(
                        "its SHA-256 is {}, the manifest says {}",
                        found.sha256, expected.sha256
                    )
                };
                report.problems.push(format!("`{name}`: {why}"));
            }
        }
    }
    if report.problems.len() == before {
        report
            .checked
            .push(format!("{} files with the bytes that the manifest names", found.len()));
    }
    if manifest::config_sha256(&manifest.config) != manifest.config_sha256 {
        let what = "the configuration in the manifest is not the one of its SHA-256";
        report.problems.push(what.into());
    }
    let mut others = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name != manifest::FILE_NAME && manifest.outputs.iter().all(|it| it.path != name) {
            others.push(format!("`{name}`"));
        }
    }
    if !others.is_empty() {
        others.sort();
        report
            .unchecked
            .push(format!("files that the manifest does not name: {}", others.join(", ")));
    }
    Ok(())
}

/// In the order of the manifest; `None` where there is no file.
fn hash_all(folder: &Path, outputs: &[FileHash]) -> anyhow::Result<Vec<Option<FileHash>>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(output) = outputs.get(i) else { return anyhow::Ok(done) };
            interrupt::check()?;
            let path = folder.join(&output.path);
            let hash = if path.exists() { Some(FileHash::of(&path, "")?) } else { None };
            done.push((i, hash));
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(outputs.len()).max(1);
    let mut all = vec![None; outputs.len()];
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            let done = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            for (i, hash) in done {
                all[i] = hash;
            }
        }
        anyhow::Ok(())
    })?;
    Ok(all)
}
