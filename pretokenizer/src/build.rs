//! A datamix -> a folder of shards.
//!
//! The folder is filled beside its place and takes it when all is well: an earlier output stays whole until then, and
//! a run that fails or is stopped leaves nothing. `manifest.json` comes last.

use std::ops::Range;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use anyhow::Context as _;
use cli::{Interrupted, bail_input, interrupt, print};
use shards::atomic::{self, AtomicFile, StagedFolder};
use shards::hash::{self, FileHash};
use shards::manifest;
use shards::writer::Format;

use crate::ascii_json;
use crate::config::{Datamix, SpecialTokensInText};
use crate::ledger::{self, Ledger};
use crate::mix::{Divided, Plan};
use crate::part::{self, PartManifest, Whole};
use crate::pipeline::Pipeline;
use crate::prepare::{Chosen, Options, Planned, Prepared};
use crate::reading;
use crate::scratch::Scratch;
use crate::split_files::Finished;
use crate::store::{Keep, Store};
use crate::streams::Streams;
use crate::target::{self, TEMPLATE_TOKENS};
use crate::writing::{self, Work};

/// Builds it all.
pub fn build(datamix: &Datamix, options: &Options) -> anyhow::Result<()> {
    build_all(datamix, options).map_err(|error| {
        if error.is::<Interrupted>() {
            error.context(format!(
                "{}: nothing was written, what was there before is as it was",
                datamix.output_dir
            ))
        } else if error.chain().any(is_full) {
            let folder = &datamix.output_dir;
            anyhow::anyhow!(
                "{error:#}\nhint: free space on the disk of `{folder}`, or give another `--output_dir`; what was there before is as it was"
            )
        } else {
            error
        }
    })
}

fn build_all(datamix: &Datamix, options: &Options) -> anyhow::Result<()> {
    let Prepared { target, tokenizer, template, filter } = Prepared::new(datamix, options)?;
    let folder_of_target = target.parent().unwrap_or(Path::new("."));
    let scratch = Arc::new(Scratch::new(folder_of_target));
    // A part learns first what is its own, and reads again to keep that only.
    let keep = if options.part.is_some() { Keep::Nothing } else { Keep::All };
    let planned = Planned::new(datamix, options, keep, &scratch)?;
    let Planned { mut reader, store: first, mut streams, mut datasets, plans, shares } = planned;
    let store = match options.part {
        None => first,
        Some(_) => {
            let keep = Keep::only(used(&plans, &shares, &datasets), first.n_pieces());
            let mut second = Store::new(keep, options.limits.store, Arc::clone(&scratch));
            streams = Streams::new(datamix.rng_seed);
            let for_ledger = options.ledger.is_some();
            datasets =
                reading::load(datamix, &mut reader, &mut second, &mut streams, false, for_ledger)?;
            if (second.n_pieces(), second.n_bytes()) != (first.n_pieces(), first.n_bytes()) {
                bail_input!("the inputs changed while they were read\nhint: run this part again");
            }
            second
        }
    };

    let folder = StagedFolder::create(&target)
        .with_context(|| format!("cannot write below `{}`", datamix.output_dir))?;
    let special_tokens = tokenizer.special_tokens();
    atomic::write(
        &folder.path().join("special_tokens.json"),
        ascii_json::object(special_tokens).as_bytes(),
    )?;
    if let Some(chosen) = &template
        && let Some(source) = &chosen.source
    {
        atomic::write(&folder.path().join(manifest::CHAT_TEMPLATE), source.as_bytes())?;
        atomic::write_json(&folder.path().join(TEMPLATE_TOKENS), &chosen.special_tokens)?;
    }
    let pipeline = Pipeline {
        tokenizer: &tokenizer,
        whole: template.as_ref().map(|chosen| &chosen.template),
        filter,
        format: Format::new(datamix.index_kind, tokenizer.vocab_size()),
        with_text: datamix.write_json,
        escapes: datamix.special_tokens_in_text == SpecialTokensInText::Escape,
        threads: options.threads,
        limits: options.limits,
        scratch: &scratch,
    };
    let (inputs, splits) = thread::scope(|scope| {
        let hash_inputs = || reading::hash_inputs(&reader);
        let inputs = (options.threads > 1).then(|| scope.spawn(hash_inputs));
        let work = Work {
            plans: &plans,
            shares: &shares,
            datasets: &datasets,
            store: &store,
            streams,
            max_count: options.max_count,
            for_ledger: options.ledger.is_some(),
        };
        let splits = writing::write_splits(datamix, &pipeline, work, folder.path())?;
        let joined = inputs.map(|it| it.join().unwrap_or_else(|panic| resume_unwind(panic)));
        let inputs = joined.unwrap_or_else(hash_inputs)?;
        anyhow::Ok((inputs, splits))
    })?;

    let ledger = options.ledger.as_ref().map(|path| {
        let outcomes: Vec<_> = splits.iter().map(|split| &split.outcomes[..]).collect();
        let ledger = Ledger {
            datamix,
            datasets: &datasets,
            plans: &plans,
            shares: &shares,
            outcomes: &outcomes,
            max_count: options.max_count,
            part: options.part,
        };
        // That of a part goes into its folder, and `merge` joins them under the name that was given.
        let of_part = options.part.map(|_| folder.path().join(ledger::OF_PART));
        ledger.write(of_part.as_ref().unwrap_or(path))
    });
    let ledger = ledger.transpose()?;
    let file = datamix.tokenizer.file();
    let whole = Whole {
        program: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).into(),
        tokenizer: manifest::Tokenizer {
            kind: datamix.tokenizer.kind().into(),
            file: FileHash::of(file, file.display().to_string())?,
            vocab_size: tokenizer.vocab_size(),
            special_tokens: special_tokens.to_vec(),
        },
        template_sha256: hash::sha256(
            template.as_ref().map_or("chatml", Chosen::hashed).as_bytes(),
        ),
        template: template.map_or_else(|| "chatml".into(), |chosen| chosen.name),
        config: serde_json::to_value(&datamix.resolved).context("the configuration as JSON")?,
        max_count: options.max_count,
        inputs,
        sources_read: reading::sources_read(datamix, &datasets),
        ledger: options.ledger.as_ref().map(|path| path.display().to_string()),
    };
    match options.part {
        Some(part) => {
            ledger.map(AtomicFile::commit).transpose()?;
            let outputs = hash::folder_knowing(folder.path(), &hashes_of(&splits))?;
            PartManifest::new(part, whole, splits, outputs).write(folder.path())?;
            interrupt::check()?;
            folder.commit_into(part::FILE_NAME)?;
            print::note(format!("part {part} is in `{}`", target.display()));
            Ok(())
        }
        None => {
            finish(datamix, whole, splits, folder, &target)?;
            Ok(ledger.map(AtomicFile::commit).transpose().map(drop)?)
        }
    }
}

/// Says what came out, and gives the folder its place.
fn finish(
    datamix: &Datamix,
    whole: Whole,
    splits: Vec<Finished>,
    folder: StagedFolder,
    target: &Path,
) -> anyhow::Result<()> {
    let report = |split: Finished| {
        split.report(&datamix.output_dir, folder.path(), datamix.special_tokens_in_text)
    };
    let hashes = hashes_of(&splits);
    let splits = splits.into_iter().map(report).collect::<anyhow::Result<_>>()?;
    let manifest = whole.manifest(splits, hash::folder_knowing(folder.path(), &hashes)?);
    manifest.write(folder.path())?;
    interrupt::check()?;
    target::put_in_place(target, &datamix.filename_prefix, folder, &manifest)?;
    if datamix.compress {
        target::compress(&datamix.output_dir, target, &manifest)?;
    }
    Ok(())
}

/// The hashes that are known from writing the shards.
fn hashes_of(splits: &[Finished]) -> Vec<FileHash> {
    splits.iter().flat_map(|split| split.files.iter().cloned()).collect()
}

/// The pieces that the documents at these places are made of.
fn used(
    plans: &[Plan],
    shares: &[Range<usize>],
    datasets: &[Divided],
) -> impl Iterator<Item = u32> {
    let documents =
        plans.iter().zip(shares).flat_map(|(plan, share)| plan.documents(share.clone()));
    documents.flat_map(|(dataset, document)| datasets[dataset].loaded.pieces_for(document))
}

/// Whether a disk, or what a user may write to it, is used up.
fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    matches!(kind, Some(FileTooLarge | QuotaExceeded | StorageFull))
}
