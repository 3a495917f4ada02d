//! A datamix -> a folder of shards.
//!
//! The folder is filled beside its place and takes it when all is well: an earlier output stays whole until then, and
//! a run that fails or is stopped leaves nothing. `manifest.json` comes last.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use anyhow::Context as _;
use cli::{BadInput, Interrupted, Progress, Unit, bail_input, interrupt, print};
use shards::atomic::{self, AtomicFile, StagedFolder};
use shards::hash::{self, FileHash};
use shards::manifest::{self, Manifest};
use shards::writer::Format;

use text::{Header, Template, TemplateFile};

use crate::ascii_json;
use crate::config::{self, Datamix, Entry, Source};
use crate::filter::Filter;
use crate::loaders::{self, Context, Samples};
use crate::mix::{self, Divided, Plan};
use crate::pipeline::{Limits, Pipeline};
use crate::route::Stretch;
use crate::scratch::Scratch;
use crate::source::Reader;
use crate::split_files::SplitFiles;
use crate::store::Store;
use crate::streams::Streams;
use crate::target;
use crate::wording::Wordings;

/// What is not part of the datamix.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Threads that parse and encode; the output is the same for any number.
    pub threads: usize,
    /// At most so many documents in each split.
    pub max_count: Option<usize>,
    /// How much stays in memory; the output is the same for any limits.
    pub limits: Limits,
}

/// What the splits are made of.
struct Work<'a> {
    plans: &'a [Plan],
    datasets: &'a [Divided],
    store: &'a Store,
    streams: Streams,
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
    let target = target::checked(datamix)?;
    check_files(datamix)?;
    let tokenizer = load_tokenizer(datamix)?;
    let template = load_template(datamix, &tokenizer)?;
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
    let scratch = Arc::new(Scratch::new(target.parent().unwrap_or(Path::new("."))));
    let mut reader = Reader::new(options.threads, Arc::clone(&scratch));
    let mut store = Store::new(options.limits.store, Arc::clone(&scratch));
    let mut streams = Streams::new(datamix.rng_seed);
    let datasets = load(datamix, &mut reader, &mut store, &mut streams)?;
    let train = mix::train(datamix, &datasets).bad_input()?;
    let (val, repeated) = mix::val(datamix, &datasets);
    for name in repeated {
        print::note(format!(
            "warning: `{name}` stands in the datamix twice; only the last one's validation set is used"
        ));
    }
    let mut plans = vec![train];
    // The reference crashes without a validation set; here the split is left away.
    if val.parts.is_empty() {
        print::note("note: no dataset has a validation set, so there is no split `val`");
    } else {
        plans.push(val);
    }

    let folder = StagedFolder::create(&target)
        .with_context(|| format!("cannot write below `{}`", datamix.output_dir))?;
    let special_tokens = tokenizer.special_tokens();
    atomic::write(
        &folder.path().join("special_tokens.json"),
        ascii_json::object(special_tokens).as_bytes(),
    )?;
    let pipeline = Pipeline {
        tokenizer: &tokenizer,
        whole: template.as_ref().map(|(template, _)| template),
        filter: Filter {
            min_assistant_tokens: datamix.min_assistant_tokens,
            template_may_refuse: template.is_some() && datamix.chat_template.skips,
        },
        format: Format::new(datamix.index_kind, tokenizer.vocab_size()),
        with_text: datamix.write_json,
        threads: options.threads,
        limits: options.limits,
        scratch: &scratch,
    };
    let (inputs, splits) = thread::scope(|scope| {
        let inputs = scope.spawn(|| hash_inputs(&reader));
        let work = Work { plans: &plans, datasets: &datasets, store: &store, streams };
        let splits = write_splits(datamix, options, &pipeline, work, folder.path())?;
        let inputs = inputs.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        anyhow::Ok((inputs, splits))
    })?;

    let file = datamix.tokenizer.file();
    let manifest = Manifest {
        version: manifest::VERSION,
        program: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).into(),
        tokenizer: manifest::Tokenizer {
            kind: datamix.tokenizer.kind().into(),
            file: FileHash::of(file, file.display().to_string())?,
            vocab_size: tokenizer.vocab_size(),
            special_tokens: special_tokens.to_vec(),
        },
        template: template.map_or_else(|| "chatml".into(), |(_, name)| name),
        config: serde_json::to_value(&datamix.resolved).context("the configuration as JSON")?,
        inputs,
        sources_read: sources_read(datamix, &datasets),
        splits,
        outputs: hash::folder(folder.path())?,
    };
    manifest.write(folder.path())?;
    interrupt::check()?;
    put_in_place(datamix, &target, folder, &manifest)?;
    if datamix.compress {
        compress(datamix, &target, &manifest)?;
    }
    Ok(())
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

/// The template of documents that are encoded as a whole, and its name; `None` for ChatML and the reference's tokenizers,
/// where every turn is encoded on its own.
fn load_template(
    datamix: &Datamix,
    tokenizer: &text::Tokenizer,
) -> anyhow::Result<Option<(Template, String)>> {
    let keys = &datamix.chat_template;
    let Some(path) = &keys.path else {
        let is_whole = matches!(datamix.tokenizer, config::Tokenizer::HuggingFace(_))
            || keys.header == Header::Untrained;
        return Ok(is_whole.then(|| (Template::ChatMl(keys.header), "chatml".into())));
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
        Ok::<_, text::TemplateError>((Template::Jinja(Box::new(template)), name))
    };
    compile().context("`chat_template`").bad_input().map(Some)
}

/// Loads all datasets, in order: they share random streams.
fn load(
    datamix: &Datamix,
    reader: &mut Reader,
    store: &mut Store,
    streams: &mut Streams,
) -> anyhow::Result<Vec<Divided>> {
    let entries: Vec<_> = datamix.entries().collect();
    let progress = Progress::new("loading", entries.len() as u64, Unit::Count("datasets"));
    let mut datasets = Vec::with_capacity(entries.len());
    for entry in entries {
        let mixing = entry.source.mixing();
        let data_path = mixing.data_path.as_ref().unwrap_or(&datamix.cache_dir).into();
        let val_split = mix::val_split(&mixing);
        let samples = Samples::new(store);
        let context = Context { reader, streams, samples, data_path, val_split };
        let loaded = loaders::load(entry, context)?;
        let dropped: String =
            loaded.dropped.iter().map(|(reason, n)| format!(", {n} left out ({reason})")).collect();
        progress.note(format!("{}: {} samples{dropped}", entry.name, loaded.len()));
        if loaded.is_empty() {
            progress.note(format!(
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
fn sources_read(datamix: &Datamix, datasets: &[Divided]) -> Vec<manifest::SourceRead> {
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

/// Writes the files of all splits and says what came out.
fn write_splits(
    datamix: &Datamix,
    options: Options,
    pipeline: &Pipeline<'_>,
    work: Work<'_>,
    folder: &Path,
) -> anyhow::Result<Vec<manifest::Split>> {
    let Work { plans, datasets, store, mut streams } = work;
    let create = |plan| {
        let vocab_size = pipeline.tokenizer.vocab_size();
        SplitFiles::create(datamix, vocab_size, plan, options.max_count, folder)
    };
    let splits = plans.iter().map(create).collect::<anyhow::Result<Vec<_>>>()?;
    if let (Some(max), false) = (options.max_count, pipeline.filter.keeps_all()) {
        let mut done = Vec::new();
        for (plan, mut files) in plans.iter().zip(splits) {
            fill(&mut files, plan, max, pipeline, datasets, store, &mut streams)?;
            done.push(files.finish()?);
        }
        return Ok(done);
    }
    // What is kept is known before it is encoded: one pass for all splits.
    let mut stretches = Vec::new();
    for plan in plans {
        let places = 0..plan.len().min(options.max_count.unwrap_or(usize::MAX));
        let wordings = Wordings::draw(plan, places.clone(), datasets, &mut streams);
        stretches.push(Stretch { plan, places, wordings });
    }
    let (mut splits, mut done) = (splits.into_iter(), Vec::new());
    let mut current = splits.next();
    pipeline.run(store, datasets, &stretches, true, |bucket, assembled| {
        while done.len() < bucket.stretch {
            done.extend(current.take().map(SplitFiles::finish).transpose()?);
            current = splits.next();
        }
        if let Some(files) = &mut current {
            // A split that is full is at its end, and the next one may follow.
            let _ = files.take(&assembled)?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    for files in current.into_iter().chain(splits) {
        done.push(files.finish()?);
    }
    Ok(done)
}

/// Fills a split with at most so many documents, of which a filter leaves out some: only the first documents of the plan
/// are encoded, more and more of them, until there are enough.
fn fill(
    files: &mut SplitFiles<'_>,
    plan: &Plan,
    max: usize,
    pipeline: &Pipeline<'_>,
    datasets: &[Divided],
    store: &Store,
    streams: &mut Streams,
) -> anyhow::Result<()> {
    let mut more = max.saturating_add(max / 4 + 64);
    while files.n_seen() < plan.len() && !files.is_full() {
        let start = files.n_seen();
        let places = start..plan.len().min(start.saturating_add(more));
        more = more.saturating_mul(2);
        let before = streams.python.clone();
        let wordings = Wordings::draw(plan, places.clone(), datasets, streams);
        let stretch = [Stretch { plan, places: places.clone(), wordings }];
        pipeline.run(store, datasets, &stretch, false, |_, assembled| files.take(&assembled))?;
        if files.n_seen() < places.end {
            // The reference draws for a sample when it comes to it: what lies behind the limit was never drawn.
            streams.python = before;
            Wordings::draw(plan, start..files.n_seen(), datasets, streams);
        }
    }
    Ok(())
}

fn hash_inputs(reader: &Reader) -> anyhow::Result<Vec<FileHash>> {
    let mut hashes = Vec::new();
    for path in reader.opened() {
        interrupt::check()?;
        hashes.push(FileHash::of(path, path.display().to_string())?);
    }
    Ok(hashes)
}

/// Gives the folder its place, and clears away what an earlier run with the same prefix wrote and this one did not:
/// a `.jsonl`, say, beside shards that it does not belong to.
fn put_in_place(
    datamix: &Datamix,
    target: &Path,
    folder: StagedFolder,
    now: &Manifest,
) -> anyhow::Result<()> {
    let before = Manifest::read(target).map(|manifest| manifest.outputs).unwrap_or_default();
    folder.commit_into(manifest::FILE_NAME)?;
    for output in before {
        let is_ours = output.path.starts_with(&format!("{}-", datamix.filename_prefix));
        let is_stale = now.outputs.iter().all(|it| it.path != output.path);
        if is_ours && is_stale && Path::new(&output.path).components().count() == 1 {
            fs_err::remove_file(target.join(&output.path)).or_else(|error| {
                if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
            })?;
        }
    }
    Ok(())
}

/// Packs the folder's files into `FOLDER.tar.gz`, under the folder's own name.
fn compress(datamix: &Datamix, folder: &Path, manifest: &Manifest) -> anyhow::Result<()> {
    let named = Path::new(&datamix.output_dir);
    // `..` has no name of its own, a link has one that the folder behind it has not.
    let named = if named.file_name().is_some() { named } else { folder };
    let name = named.file_name().unwrap_or_default();
    let target = named.with_file_name(format!("{}.tar.gz", name.to_string_lossy()));
    let file = AtomicFile::create(&target)?;
    let level = flate2::Compression::default();
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(file, level));
    let files = manifest.outputs.iter().map(|output| output.path.as_str());
    for file in files.chain([manifest::FILE_NAME]) {
        interrupt::check()?;
        archive.append_path_with_name(folder.join(file), Path::new(name).join(file))?;
    }
    archive.into_inner()?.finish()?.commit()?;
    Ok(())
}
