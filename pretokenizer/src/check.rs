//! A datamix -> what `build` would make of it, in words: everything but the encoding is done, and nothing is written.
//!
//! Warnings are said on the way, as `build` says them, and what stops `build` before it encodes stops this as well. A disk
//! that has too little room is a problem, too.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use indicatif::{BinaryBytes, HumanCount};
use shards::manifest::Manifest;

use crate::config::{Datamix, Entry};
use crate::mix::{Divided, Plan, PlannedPart};
use crate::prepare::{Options, Planned, Prepared};
use crate::room;
use crate::scratch::Scratch;
use crate::store::Keep;

/// So many files of one folder are named one by one.
const NAMED: usize = 12;

/// The configuration, the tokenizer, the files, the sources, the splits and the folder; and what would stop a build later.
pub fn check(datamix: &Datamix, options: &Options) -> anyhow::Result<(String, Option<String>)> {
    let prepared = Prepared::new(datamix, options)?;
    // Some tables are unpacked into a file without a name; beside the output, it might need a folder of its own.
    let scratch = Arc::new(Scratch::new(&std::env::temp_dir()));
    // Nobody reads what a ledger would be made of.
    let without_ledger = Options { ledger: None, ..options.clone() };
    let planned = Planned::new(datamix, &without_ledger, Keep::Nothing, &scratch)?;
    let config = serde_json::to_string_pretty(&datamix.resolved);
    let mut text = format!("configuration: {}\n", config.context("the configuration as JSON")?);
    tell_tokenizer(&mut text, datamix, &prepared)?;
    tell_files(&mut text, &planned)?;
    tell_sources(&mut text, datamix, &planned);
    tell_splits(&mut text, datamix, &prepared, &planned);
    tell_folder(&mut text, datamix, &prepared, options);
    let vocab_size = prepared.tokenizer.vocab_size();
    let problem = room::problem(datamix, &planned, vocab_size, options.limits, &prepared.target)?;
    Ok((text, problem))
}

fn tell_tokenizer(text: &mut String, datamix: &Datamix, prepared: &Prepared) -> anyhow::Result<()> {
    let (kind, file) = (datamix.tokenizer.kind(), datamix.tokenizer.file());
    let size = BinaryBytes(fs_err::metadata(file)?.len());
    let n = HumanCount(prepared.tokenizer.vocab_size().into());
    line(text, format!("\ntokenizer: {kind}, `{}` ({size}), {n} ids", file.display()));
    let special = prepared.tokenizer.special_tokens().iter();
    let special: Vec<_> = special.map(|(token, id)| format!("{token} {id}")).collect();
    line(text, format!("special tokens: {}", special.join(", ")));
    let template = prepared.template.as_ref().map_or("chatml", |chosen| &chosen.name);
    line(text, format!("template: {template}"));
    Ok(())
}

fn tell_files(text: &mut String, planned: &Planned) -> anyhow::Result<()> {
    let size = |path| anyhow::Ok((path, fs_err::metadata(path)?.len()));
    let files: Vec<_> = planned.reader.opened().iter().map(size).collect::<anyhow::Result<_>>()?;
    let total = files.iter().map(|(_, size)| size).sum();
    line(
        text,
        format!("\ninput files: {}, {}", HumanCount(files.len() as u64), BinaryBytes(total)),
    );
    let size = |bytes: u64| BinaryBytes(bytes).to_string();
    let mut name = |(path, bytes): &(&PathBuf, u64)| {
        line(text, format!("  {:>10}  {}", size(*bytes), path.display()));
    };
    for folder in files.chunk_by(|(a, _), (b, _)| a.parent() == b.parent()) {
        // Of a dataset in a thousand pieces, a few tell enough.
        match folder {
            [first @ .., last] if folder.len() > NAMED => {
                let (first, others) = first.split_at(3);
                first.iter().for_each(&mut name);
                let bytes = others.iter().map(|(_, bytes)| bytes).sum();
                let others = format!("... ({} others)", HumanCount(others.len() as u64));
                name(&(&last.0.with_file_name(others), bytes));
                name(last);
            }
            all => all.iter().for_each(&mut name),
        }
    }
    Ok(())
}

/// How many samples each source has, and how many of them go to which split; below it what was left out.
fn tell_sources(text: &mut String, datamix: &Datamix, planned: &Planned) {
    let rows: Vec<(&Entry, &Divided)> = datamix.entries().zip(&planned.datasets).collect();
    let width = rows.iter().map(|(entry, _)| entry.name.chars().count()).max().unwrap_or(0).max(6);
    text.push('\n');
    let mut row = |name: &str, [samples, train, taken, val]: [String; 4]| {
        line(text, format!("  {name:width$}  {samples:>11} {train:>11} {taken:>11} {val:>11}"));
    };
    row("source", ["samples", "to train on", "taken", "to validate"].map(String::from));
    for (i, (entry, divided)) in rows.iter().enumerate() {
        let taken = |split| {
            let plan = planned.plans.iter().find(|plan| plan.split == split);
            plan.and_then(|plan| part(plan, i)).map_or(0, |part| part.indices.len())
        };
        let counts = [divided.loaded.len(), divided.n_train(), taken("train"), taken("val")];
        row(&entry.name, counts.map(|n| HumanCount(n as u64).to_string()));
    }
    for (i, (entry, divided)) in rows.iter().enumerate() {
        let mut left_out = |of: String, reasons: Vec<(&str, u64)>| {
            let reasons =
                reasons.iter().map(|(reason, n)| format!("{} ({reason})", HumanCount(*n)));
            let reasons: Vec<_> = reasons.collect();
            if !reasons.is_empty() {
                line(text, format!("  left out of {of}: {}", reasons.join(", ")));
            }
        };
        let dropped = divided.loaded.dropped.iter();
        let dropped = dropped.map(|(reason, n)| (*reason, *n as u64)).collect();
        left_out(format!("`{}`, when it was read", entry.name), dropped);
        for plan in &planned.plans {
            let removed = part(plan, i).into_iter().flat_map(PlannedPart::n_removed);
            let removed = removed.map(|(reason, n)| (reason.name(), n)).collect();
            left_out(format!("`{}`, in `{}`", entry.name, plan.split), removed);
        }
    }
}

fn tell_splits(text: &mut String, datamix: &Datamix, prepared: &Prepared, planned: &Planned) {
    text.push('\n');
    for (plan, share) in planned.plans.iter().zip(&planned.shares) {
        let (n, all) = (HumanCount(share.len() as u64), HumanCount(plan.len() as u64));
        let of = if share.len() < plan.len() { format!(" of {all}") } else { String::new() };
        let files = format!("{}-{}-*", datamix.filename_prefix, plan.split);
        line(text, format!("{}: {n}{of} documents, in `{files}`", plan.split));
    }
    if !prepared.filter.keeps_all() {
        let mut why = Vec::new();
        if let Some(min) = datamix.min_assistant_tokens {
            why.push(format!("`min_assistant_tokens: {min}`"));
        }
        if let Some(max) = datamix.max_tokens {
            why.push(format!("`max_tokens: {max}`"));
        }
        if prepared.filter.template_may_refuse {
            why.push("the chat template".into());
        }
        let why = why.join(" and ");
        line(text, format!("what {why} will leave out of these is known when they are encoded"));
    }
}

fn tell_folder(text: &mut String, datamix: &Datamix, prepared: &Prepared, options: &Options) {
    let target = &prepared.target;
    let what = match Manifest::read(target) {
        Ok(_) => "its shards would be replaced",
        Err(_) if target.exists() => "there already",
        Err(_) => "new",
    };
    line(text, format!("folder: `{}`, {what}", target.display()));
    if datamix.compress && options.part.is_none() {
        line(text, "it would be packed into a `.tar.gz` beside it".to_string());
    }
    line(text, "nothing was written".to_string());
}

/// What a source gives to a split.
fn part(plan: &Plan, dataset: usize) -> Option<&PlannedPart> {
    plan.parts.iter().find(|part| part.dataset == dataset)
}

fn line(text: &mut String, line: String) {
    writeln!(text, "{line}").expect("a text can be written to");
}
