//! The folders of all parts -> the folder that one machine would have written, byte for byte.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cli::{BadInput, Progress, Unit, bail_input, interrupt};
use shards::atomic::{AtomicFile, StagedFolder};
use shards::hash::{self, FileHash};
use shards::layout::{self, IndexKind};
use shards::manifest::CHAT_TEMPLATE;
use shards::writer::PairWriter;

use crate::config::{SpecialTokensInText, datamix};
use crate::ledger;
use crate::part::{FILE_NAME, PartManifest, Whole};
use crate::split_files::Finished;
use crate::target::{self, TEMPLATE_TOKENS};

/// Joins parts. Each path is the folder of a part, or a folder of such folders. `output_dir` stands for the key of the
/// same name, as the flag of `build` does.
pub fn merge(paths: &[PathBuf], output_dir: Option<&str>) -> anyhow::Result<()> {
    let parts = in_order(find(paths)?)?;
    check(&parts)?;
    let whole = &parts[0].1.whole;
    let mut config = whole.config.clone();
    if let Some(output_dir) = output_dir {
        config["output_dir"] = output_dir.into();
    }
    let text = |key: &str| config[key].as_str().unwrap_or_default().to_string();
    let output_dir = datamix::output_dir(&text("output_dir"), &text("output_dir_suffix"));
    let prefix = text("filename_prefix");
    let in_text = match &config["special_tokens_in_text"] {
        serde_json::Value::String(name) => {
            SpecialTokensInText::named(name).map_err(anyhow::Error::msg)?
        }
        _ => SpecialTokensInText::default(),
    };
    let target = target::checked(&output_dir, &prefix)?;

    let folder = StagedFolder::create(&target)
        .with_context(|| format!("cannot write below `{output_dir}`"))?;
    let special_tokens = fs_err::read(parts[0].0.join("special_tokens.json"))?;
    shards::atomic::write(&folder.path().join("special_tokens.json"), &special_tokens)?;
    for name in [CHAT_TEMPLATE, TEMPLATE_TOKENS] {
        let file = parts[0].0.join(name);
        if file.exists() {
            shards::atomic::write(&folder.path().join(name), &fs_err::read(file)?)?;
        }
    }
    let kind = datamix::index_kind(config["dataset_impl"].as_str());
    let (mut splits, mut hashes) = (Vec::new(), Vec::new());
    for split in 0..parts[0].1.splits.len() {
        let mut finished = join(&parts, split, kind, folder.path())?;
        hashes.append(&mut finished.files);
        splits.push(finished.report(&output_dir, folder.path(), in_text)?);
    }
    let ledger = whole.ledger.as_ref().map(|path| join_ledgers(&parts, Path::new(path)));
    let ledger = ledger.transpose()?;
    let whole = Whole { config, ..whole.clone() };
    let manifest = whole.manifest(splits, hash::folder_knowing(folder.path(), &hashes)?);
    manifest.write(folder.path())?;
    interrupt::check()?;
    target::put_in_place(&target, &prefix, folder, &manifest)?;
    if manifest.config["compress"] == true {
        target::compress(&output_dir, &target, &manifest)?;
    }
    Ok(ledger.map(AtomicFile::commit).transpose().map(drop)?)
}

type Parts = Vec<(PathBuf, PartManifest)>;

/// Reads what each part says about itself.
fn find(paths: &[PathBuf]) -> anyhow::Result<Parts> {
    let mut folders = Vec::new();
    for path in paths {
        if path.join(FILE_NAME).is_file() {
            folders.push(path.clone());
            continue;
        }
        let mut below = Vec::new();
        for entry in fs_err::read_dir(path).bad_input()? {
            let entry = entry.bad_input()?.path();
            let is_hidden = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with('.');
            if entry.is_dir() && !entry.file_name().is_some_and(is_hidden) {
                below.push(entry);
            }
        }
        if below.is_empty() {
            below.push(path.clone());
        }
        below.sort();
        folders.extend(below);
    }
    let mut parts = Vec::new();
    for folder in folders {
        parts.push((folder.clone(), PartManifest::read(&folder)?));
    }
    Ok(parts)
}

/// All parts, each once, by number.
fn in_order(mut parts: Parts) -> anyhow::Result<Parts> {
    parts.sort_by_key(|(_, part)| part.part.number);
    let (first_folder, first) = &parts[0];
    for (folder, part) in &parts {
        let what = if part.part.of == first.part.of {
            part.whole.differs_in(&first.whole)
        } else {
            Some("number of parts")
        };
        if let Some(what) = what {
            bail_input!(
                "`{}` is part {} of another run than `{}`, part {}: the {what} differs\nhint: run the parts that are out of date again",
                folder.display(),
                part.part,
                first_folder.display(),
                first.part
            );
        }
    }
    for pair in parts.windows(2) {
        if pair[0].1.part.number == pair[1].1.part.number {
            bail_input!(
                "part {} is there twice: `{}` and `{}`",
                pair[0].1.part,
                pair[0].0.display(),
                pair[1].0.display()
            );
        }
    }
    let is_missing = |number: &u32| parts.iter().all(|(_, part)| part.part.number != *number);
    let missing: Vec<_> = (1..=first.part.of).filter(is_missing).collect();
    if let [number, ..] = missing[..] {
        let all: Vec<_> = missing.iter().map(|it| format!("{it}/{}", first.part.of)).collect();
        bail_input!(
            "missing: part {}\nhint: run `pretokenizer build --part {number}/{} ...`",
            all.join(", "),
            first.part.of
        );
    }
    Ok(parts)
}

/// Every file of every part is what its part wrote.
fn check(parts: &Parts) -> anyhow::Result<()> {
    let files = parts.iter().map(|(_, part)| part.outputs.len()).sum::<usize>();
    let progress = Progress::new("checking", files as u64, Unit::Count("files"));
    for (folder, part) in parts {
        for expected in &part.outputs {
            interrupt::check()?;
            let path = folder.join(&expected.path);
            let found = FileHash::of(&path, expected.path.as_str())
                .with_context(|| format!("part {} is damaged", part.part))
                .bad_input()?;
            if found != *expected {
                bail_input!(
                    "part {} is damaged: `{}` is not as it was written\nhint: run `pretokenizer build --part {} ...` again",
                    part.part,
                    path.display(),
                    part.part
                );
            }
            progress.inc(1);
        }
    }
    progress.finish();
    Ok(())
}

/// The ledger of the whole; of each part it must be known how many documents stand before its own.
fn join_ledgers(parts: &Parts, path: &Path) -> anyhow::Result<AtomicFile> {
    let mut before: Vec<(&str, u64)> =
        parts[0].1.splits.iter().map(|split| (split.split.as_str(), 0)).collect();
    let mut of_parts = Vec::new();
    for (folder, part) in parts {
        of_parts.push((folder.as_path(), before.clone()));
        for ((_, n), split) in before.iter_mut().zip(&part.splits) {
            *n += split.statistics.datasets.iter().map(|it| it.counts.documents).sum::<u64>();
        }
    }
    ledger::join(&of_parts, path)
}

/// Writes a split from what all parts have of it.
fn join(parts: &Parts, split: usize, kind: IndexKind, folder: &Path) -> anyhow::Result<Finished> {
    let mut joined = parts[0].1.splits[split].clone();
    let name = joined.prefix.clone();
    let mut shards =
        PairWriter::create(&folder.join(&name), kind, parts[0].1.whole.tokenizer.vocab_size)?;
    let with_text = parts[0].0.join(format!("{name}.jsonl")).is_file();
    let mut json = match with_text {
        true => Some(AtomicFile::create(&folder.join(format!("{name}.jsonl")))?),
        false => None,
    };
    for (i, (part_folder, part)) in parts.iter().enumerate() {
        interrupt::check()?;
        let path = |end: &str| part_folder.join(format!("{name}{end}"));
        let index = fs_err::read(path("-text.idx"))?;
        let sizes = layout::sizes(kind, &index)
            .with_context(|| format!("part {}: `{}`", part.part, path("-text.idx").display()))?;
        let (mut text, mut role) = (open(&path("-text.bin"))?, open(&path("-role.bin"))?);
        shards.append_stored(&mut text, &mut role, &sizes)?;
        if let Some(json) = &mut json {
            std::io::copy(&mut open(&path(".jsonl"))?, json)?;
        }
        if i > 0 {
            joined.statistics.add(&part.splits[split].statistics);
        }
    }
    joined.files = shards.finish()?;
    if let Some(json) = json {
        json.commit()?;
    }
    Ok(joined)
}

fn open(path: &Path) -> std::io::Result<BufReader<File>> {
    Ok(BufReader::with_capacity(1 << 18, fs_err::File::open(path)?.into_file()))
}
