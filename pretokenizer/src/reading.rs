//! The files that a datamix names -> its datasets, and hashes of the files.

use anyhow::Context as _;
use cli::{BadInput, Progress, Unit, interrupt};
use shards::hash::FileHash;
use shards::manifest;

use crate::config::{Datamix, Entry};
use crate::loaders::made::MadeOf;
use crate::loaders::{self, Context, Samples};
use crate::mix::{self, Divided};
use crate::source::{Reader, RowsRead};
use crate::store::Store;
use crate::streams::Streams;

/// Loads all datasets, in order: they share random streams. Remarks are made the first time only; with `for_ledger`, it is
/// noted what was made of which row.
pub(crate) fn load(
    datamix: &Datamix,
    reader: &mut Reader,
    store: &mut Store,
    streams: &mut Streams,
    is_first: bool,
    for_ledger: bool,
) -> anyhow::Result<Vec<Divided>> {
    let entries: Vec<_> = datamix.entries().collect();
    let label = if is_first { "loading" } else { "loading again" };
    let progress = Progress::new(label, entries.len() as u64, Unit::Count("datasets"));
    let mut datasets = Vec::with_capacity(entries.len());
    for entry in entries {
        let mixing = entry.source.mixing();
        let data_path = mixing.data_path.as_ref().unwrap_or(&datamix.cache_dir).into();
        let val_split = mix::val_split(&mixing);
        let rows = || RowsRead::new(for_ledger, !is_first);
        reader.begin(rows());
        let made_of = for_ledger.then(MadeOf::default);
        let samples = Samples::new(store, datamix.on_error, rows(), made_of);
        let context = Context { reader, streams, samples, data_path, val_split, is_first };
        let loaded = loaders::load(entry, context)?;
        let says = |line: String| {
            if is_first {
                progress.note(line);
            }
        };
        let dropped: String =
            loaded.dropped.iter().map(|(reason, n)| format!(", {n} left out ({reason})")).collect();
        says(format!("{}: {} samples{dropped}", entry.name, loaded.len()));
        if loaded.is_empty() {
            says(format!(
                "warning: {}: `{}` has nothing to give{dropped}",
                entry.place, entry.name
            ));
        }
        let divided = mix::divide(loaded, &mixing, datamix.eval_size, streams)
            .with_context(|| format!("{}: `{}`", entry.place, entry.name))
            .bad_input()?;
        datasets.push(divided);
        progress.inc(1);
    }
    progress.finish();
    store.close()?;
    Ok(datasets)
}

/// What the loaders made of the files, for the manifest.
pub(crate) fn sources_read(datamix: &Datamix, datasets: &[Divided]) -> Vec<manifest::SourceRead> {
    let read = |(entry, divided): (&Entry, &Divided)| {
        let loaded = &divided.loaded;
        let dropped = loaded.dropped.iter().map(|(reason, n)| ((*reason).into(), *n as u64));
        manifest::SourceRead {
            name: entry.name.clone(),
            samples: loaded.len() as u64,
            dropped: dropped.collect(),
        }
    };
    datamix.entries().zip(datasets).map(read).collect()
}

/// Hashes of all files that were read.
pub(crate) fn hash_inputs(reader: &Reader) -> anyhow::Result<Vec<FileHash>> {
    let mut hashes = Vec::new();
    for path in reader.opened() {
        interrupt::check()?;
        hashes.push(FileHash::of(path, path.display().to_string())?);
    }
    Ok(hashes)
}
