//! A datamix -> a folder of shards.
//!
//! The folder is filled beside its place and takes it when all is well: an earlier output stays whole until then, and
//! a run that fails or is stopped leaves nothing. `manifest.json` comes last.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use anyhow::Context as _;
use cli::{BadInput, Interrupted, bail_input, interrupt, print};
use shards::atomic::{self, StagedFolder};
use shards::hash::{self, FileHash};
use shards::manifest;
use shards::writer::Format;
use text::{Header, Template, TemplateFile};

use crate::ascii_json;
use crate::config::{self, Datamix, Source};
use crate::duplicates::Removal;
use crate::filter::Filter;
use crate::mix::{self, Divided, Plan};
use crate::part::{self, Part, PartManifest, Whole};
use crate::pipeline::{Limits, Pipeline};
use crate::reading;
use crate::scratch::Scratch;
use crate::source::Reader;
use crate::split_files::Finished;
use crate::store::{Keep, Store};
use crate::streams::Streams;
use crate::target;
use crate::writing::{self, Work};

/// What is not part of the datamix.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Threads that parse and encode; the output is the same for any number.
    pub threads: usize,
    /// At most so many documents in each split.
    pub max_count: Option<usize>,
    /// Which part to build; `None` is all of it.
    pub part: Option<Part>,
    /// How much stays in memory; the output is the same for any limits.
    pub limits: Limits,
}

/// Builds it all.
pub fn build(datamix: &Datamix, options: Options) -> anyhow::Result<()> {
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

fn build_all(datamix: &Datamix, options: Options) -> anyhow::Result<()> {
    let target = target::checked(&datamix.output_dir, &datamix.filename_prefix)?;
    let target = options.part.map_or(target.clone(), |part| part.folder(&target));
    check_files(datamix)?;
    let tokenizer = load_tokenizer(datamix)?;
    let template = load_template(datamix, &tokenizer)?;
    let filter = Filter {
        min_assistant_tokens: datamix.min_assistant_tokens,
        template_may_refuse: template.is_some() && datamix.chat_template.skips,
    };
    if options.part.is_some() && options.max_count.is_some() && !filter.keeps_all() {
        bail_input!(
            "`--part` and `--max_count`, where documents may be left out: which documents are the first ones that are kept, only a run that encodes all before them knows\n\
             hint: leave `--max_count` away, or build on one machine"
        );
    }
    for entry in &datamix.datasets_extra {
        let mixing = entry.source.mixing();
        let keys = [mixing.fraction.map(|_| "fraction"), mixing.size.map(|_| "size")];
        for key in keys.into_iter().flatten() {
            print::note(format!(
                "warning: {}: `{key}` of `{}` has no effect in `datasets_extra`, it is used in full",
                entry.place, entry.name
            ));
        }
    }
    let folder_of_target = target.parent().unwrap_or(Path::new("."));
    let scratch = Arc::new(Scratch::new(folder_of_target));
    let mut reader = Reader::new(options.threads, Arc::clone(&scratch));
    let store = |keep| Store::new(keep, options.limits.store, Arc::clone(&scratch));
    // A part learns first what is its own, and reads again to keep that only.
    let mut first = store(if options.part.is_some() { Keep::Nothing } else { Keep::All });
    let removal =
        Removal { repeated: datamix.remove_duplicates, train_in_val: datamix.remove_train_in_val };
    if removal != Removal::default() {
        first = first.with_fingerprints();
    }
    let mut streams = Streams::new(datamix.rng_seed);
    let mut datasets = reading::load(datamix, &mut reader, &mut first, &mut streams, true)?;
    let mut plans = plans(datamix, &datasets)?;
    removal.apply(&mut plans, &datasets, first.fingerprints());
    let shares: Vec<_> = plans.iter().map(|plan| share(plan, &options, &datasets)).collect();
    let store = match options.part {
        None => first,
        Some(_) => {
            let mut second = store(Keep::only(used(&plans, &shares, &datasets), first.n_pieces()));
            streams = Streams::new(datamix.rng_seed);
            datasets = reading::load(datamix, &mut reader, &mut second, &mut streams, false)?;
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
    if let Some(source) = template.as_ref().and_then(|chosen| chosen.source.as_ref()) {
        atomic::write(&folder.path().join(manifest::CHAT_TEMPLATE), source.as_bytes())?;
    }
    let pipeline = Pipeline {
        tokenizer: &tokenizer,
        whole: template.as_ref().map(|chosen| &chosen.template),
        filter,
        format: Format::new(datamix.index_kind, tokenizer.vocab_size()),
        with_text: datamix.write_json,
        threads: options.threads,
        limits: options.limits,
        scratch: &scratch,
    };
    let (inputs, splits) = thread::scope(|scope| {
        let inputs = scope.spawn(|| reading::hash_inputs(&reader));
        let work = Work {
            plans: &plans,
            shares: &shares,
            datasets: &datasets,
            store: &store,
            streams,
            max_count: options.max_count,
        };
        let splits = writing::write_splits(datamix, &pipeline, work, folder.path())?;
        let inputs = inputs.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        anyhow::Ok((inputs, splits))
    })?;

    let file = datamix.tokenizer.file();
    let whole = Whole {
        program: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).into(),
        tokenizer: manifest::Tokenizer {
            kind: datamix.tokenizer.kind().into(),
            file: FileHash::of(file, file.display().to_string())?,
            vocab_size: tokenizer.vocab_size(),
            special_tokens: special_tokens.to_vec(),
        },
        template: template.map_or_else(|| "chatml".into(), |chosen| chosen.name),
        config: serde_json::to_value(&datamix.resolved).context("the configuration as JSON")?,
        max_count: options.max_count,
        inputs,
        sources_read: reading::sources_read(datamix, &datasets),
    };
    match options.part {
        Some(part) => {
            let outputs = hash::folder(folder.path())?;
            PartManifest::new(part, whole, splits, outputs).write(folder.path())?;
            interrupt::check()?;
            folder.commit_into(part::FILE_NAME)?;
            print::note(format!("part {part} is in `{}`", target.display()));
            Ok(())
        }
        None => finish(datamix, whole, splits, folder, &target),
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
    let report = |split: Finished| split.report(&datamix.output_dir, folder.path());
    let splits = splits.into_iter().map(report).collect::<anyhow::Result<_>>()?;
    let manifest = whole.manifest(splits, hash::folder(folder.path())?);
    manifest.write(folder.path())?;
    interrupt::check()?;
    target::put_in_place(target, &datamix.filename_prefix, folder, &manifest)?;
    if datamix.compress {
        target::compress(&datamix.output_dir, target, &manifest)?;
    }
    Ok(())
}

/// The splits, and remarks about them.
fn plans(datamix: &Datamix, datasets: &[Divided]) -> anyhow::Result<Vec<Plan>> {
    let train = mix::train(datamix, datasets).bad_input()?;
    let (val, repeated) = mix::val(datamix, datasets);
    for name in repeated {
        print::note(format!(
            "warning: `{name}` stands in the datamix twice; only the last one's validation set is used"
        ));
    }
    // The reference crashes without a validation set; here the split is left away.
    if val.parts.is_empty() {
        print::note("note: no dataset has a validation set, so there is no split `val`");
        return Ok(vec![train]);
    }
    Ok(vec![train, val])
}

/// The places of a split that are written.
fn share(plan: &Plan, options: &Options, datasets: &[Divided]) -> Range<usize> {
    let n = plan.len().min(options.max_count.unwrap_or(usize::MAX));
    match options.part {
        None => 0..n,
        Some(part) => part.share(plan, n, datasets),
    }
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

/// Looks for the files that the datamix names, before any of them costs time.
fn check_files(datamix: &Datamix) -> anyhow::Result<()> {
    if let config::Tokenizer::SentencePiece(file) | config::Tokenizer::HuggingFace(file) =
        &datamix.tokenizer
        && !file.is_file()
    {
        bail_input!(
            "`vocab_file: {}`: there is no such file\nhint: give the `tokenizer.model` of the base model, or for `HuggingFaceTokenizer` its `tokenizer.json`; the path starts at the working folder",
            file.display()
        );
    }
    for entry in datamix.entries() {
        let mixing = entry.source.mixing();
        let folder = Path::new(mixing.data_path.as_ref().unwrap_or(&datamix.cache_dir));
        if let Source::OasstExport(keys) = &entry.source
            && let Some(name) = &keys.input_file_path
            && !folder.join(name).is_file()
        {
            bail_input!(
                "{}: `input_file_path: {name}` of `{}`: there is no file `{}`\nhint: it is looked for in `data_path`, else in `cache_dir`",
                entry.place,
                entry.name,
                folder.join(name).display()
            );
        }
    }
    Ok(())
}

fn load_tokenizer(datamix: &Datamix) -> anyhow::Result<text::Tokenizer> {
    let extra = &datamix.extra_tokens;
    match &datamix.tokenizer {
        config::Tokenizer::SentencePiece(file) => text::Tokenizer::sentencepiece(file, extra),
        config::Tokenizer::Falcon(file) => text::Tokenizer::hugging_face(file, extra),
        config::Tokenizer::HuggingFace(file) => text::Tokenizer::tokenizer_json(file, extra),
    }
    .context("cannot load the tokenizer")
    .bad_input()
}

/// The template of documents that are encoded as a whole.
struct Chosen {
    template: Template,
    /// What the manifest says.
    name: String,
    /// A Jinja template's source, which goes with the shards.
    source: Option<String>,
}

/// `None` for ChatML and the reference's tokenizers, where every turn is encoded on its own.
fn load_template(datamix: &Datamix, tokenizer: &text::Tokenizer) -> anyhow::Result<Option<Chosen>> {
    let keys = &datamix.chat_template;
    let Some(path) = &keys.path else {
        let is_whole = matches!(datamix.tokenizer, config::Tokenizer::HuggingFace(_))
            || keys.header == Header::Untrained;
        let name = match keys.header {
            Header::Trained => "chatml",
            Header::Untrained => "chatml, headers untrained",
        };
        let template = Template::ChatMl(keys.header);
        return Ok(is_whole.then(|| Chosen { template, name: name.into(), source: None }));
    };
    let compile = || {
        let mut file = TemplateFile::read(path, keys.name.as_deref())?;
        let piece = |id: Option<u32>| id.and_then(|id| tokenizer.id_to_piece(id));
        for (name, id) in [("bos_token", tokenizer.bos_id()), ("eos_token", tokenizer.eos_id())] {
            if let (Some(token), false) = (piece(id), file.special_tokens.contains_key(name)) {
                file.special_tokens.insert(name.into(), token.into());
            }
        }
        let name = format!("jinja sha256:{}", hash::sha256(file.source.as_bytes()));
        let template = text::ChatTemplate::compile(&file, &keys.variables, keys.date, keys.header)?;
        let template = Template::Jinja(Box::new(template));
        Ok::<_, text::TemplateError>(Chosen { template, name, source: Some(file.source) })
    };
    compile().context("`chat_template`").bad_input().map(Some)
}
