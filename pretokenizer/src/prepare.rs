//! A datamix -> all that must be right before anything is encoded: the folder to write, the tokenizer and the template;
//! then the datasets, read and divided, and which of their documents go where.
//!
//! Nothing is written here. `build` goes on from this, and `check` says what there is.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use cli::{BadInput, bail_input, print};
use shards::hash;
use text::chatml::{TURN_END, TURN_START};
use text::{Header, Template, TemplateFile};

use crate::config::{self, Datamix, Entry, Source, SpecialTokensInText, TooLong};
use crate::duplicates::Removal;
use crate::filter::Filter;
use crate::minhash::MinHash;
use crate::mix::{self, Divided, Plan};
use crate::part::Part;
use crate::pipeline::Limits;
use crate::reading;
use crate::scratch::Scratch;
use crate::signatures::Signatures;
use crate::source::Reader;
use crate::store::{Keep, Store};
use crate::streams::Streams;
use crate::target;

/// What is not part of the datamix.
#[derive(Debug, Clone)]
pub struct Options {
    /// Threads that parse and encode; the output is the same for any number.
    pub threads: usize,
    /// At most so many documents in each split.
    pub max_count: Option<usize>,
    /// Which part to build; `None` is all of it.
    pub part: Option<Part>,
    /// How much stays in memory; the output is the same for any limits.
    pub limits: Limits,
    /// Where to say of every row what became of it.
    pub ledger: Option<PathBuf>,
}

/// What the documents are encoded with, and where they go.
pub(crate) struct Prepared {
    /// The folder to write: that of a part, if it is one.
    pub(crate) target: PathBuf,
    /// The tokenizer.
    pub(crate) tokenizer: text::Tokenizer,
    /// The template of documents that are encoded as a whole.
    pub(crate) template: Option<Chosen>,
    /// Which documents will be left out.
    pub(crate) filter: Filter,
}

impl Prepared {
    /// Checks all that costs little, before the datasets are read.
    pub(crate) fn new(datamix: &Datamix, options: &Options) -> anyhow::Result<Self> {
        let target = target::checked(&datamix.output_dir, &datamix.filename_prefix)?;
        if let Some(path) = &options.ledger {
            check_file("ledger", path)?;
        }
        let target = options.part.map_or(target.clone(), |part| part.folder(&target));
        check_files(datamix)?;
        let tokenizer = load_tokenizer(datamix)?;
        let template = load_template(datamix, &tokenizer)?;
        if datamix.special_tokens_in_text == SpecialTokensInText::Escape {
            check_escape(datamix, &tokenizer, template.as_ref())?;
        }
        warn_of_marks_that_are_text(datamix, &tokenizer);
        let filter = Filter {
            min_assistant_tokens: datamix.min_assistant_tokens,
            max_tokens: datamix.max_tokens,
            truncates: datamix.too_long == TooLong::Truncate,
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
        Ok(Self { target, tokenizer, template, filter })
    }
}

/// The datasets, read, and what goes where.
pub(crate) struct Planned {
    /// Knows which files were read.
    pub(crate) reader: Reader,
    /// What is kept of the samples.
    pub(crate) store: Store,
    /// The streams, after all datasets were loaded.
    pub(crate) streams: Streams,
    /// The datasets.
    pub(crate) datasets: Vec<Divided>,
    /// The splits.
    pub(crate) plans: Vec<Plan>,
    /// Which documents of each split are written, by their places.
    pub(crate) shares: Vec<Range<usize>>,
}

impl Planned {
    /// Reads all datasets, keeping so much of them, and plans the splits.
    pub(crate) fn new(
        datamix: &Datamix,
        options: &Options,
        keep: Keep,
        scratch: &Arc<Scratch>,
    ) -> anyhow::Result<Self> {
        let mut reader = Reader::new(options.threads, datamix.on_error, Arc::clone(scratch));
        // A part reads all files again, and notes then what became of the rows.
        let for_ledger = options.ledger.is_some() && options.part.is_none();
        let mut store = Store::new(keep, options.limits.store, Arc::clone(scratch));
        let removal = Removal {
            repeated: datamix.remove_duplicates,
            near: datamix.remove_near_duplicates,
            train_in_val: datamix.remove_train_in_val,
        };
        if removal.needs_fingerprints() {
            store = store.with_fingerprints();
        }
        if let Some(near) = removal.near {
            let minhash = MinHash::new(near.num_perm, near.ngram);
            let memory = options.limits.store;
            let signatures = Signatures::new(minhash, options.threads, memory, Arc::clone(scratch));
            store = store.with_signatures(signatures);
        }
        let mut streams = Streams::new(datamix.rng_seed);
        let datasets =
            reading::load(datamix, &mut reader, &mut store, &mut streams, true, for_ledger)?;
        let mut plans = plans(datamix, &datasets)?;
        removal.apply(&mut plans, &datasets, &store)?;
        let shares = plans.iter().map(|plan| share(plan, options, &datasets)).collect();
        Ok(Self { reader, store, streams, datasets, plans, shares })
    }
}

/// The splits, and remarks about them.
fn plans(datamix: &Datamix, datasets: &[Divided]) -> anyhow::Result<Vec<Plan>> {
    let train = mix::train(datamix, datasets).bad_input()?;
    for part in train.parts.iter().filter(|part| part.indices.is_empty()) {
        let n_train = datasets[part.dataset].n_train();
        if n_train > 0 {
            print::note(format!(
                "warning: `{}` gives nothing to the split `train`: its `fraction` or `size` takes none of {n_train} samples",
                part.name
            ));
        }
    }
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

/// Looks whether a file can be written where a flag says.
pub fn check_file(flag: &str, path: &Path) -> anyhow::Result<()> {
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let given = path.display();
    if path.is_dir() {
        bail_input!("`--{flag} {given}`: this is a folder\nhint: give the path of a file in it");
    }
    if !folder.is_dir() {
        bail_input!(
            "`--{flag} {given}`: there is no folder `{}`\nhint: make it, or give another path",
            folder.display()
        );
    }
    Ok(())
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
            && let Some(name) = keys.input_file()
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
    let tokenizer = match &datamix.tokenizer {
        config::Tokenizer::SentencePiece(file) => text::Tokenizer::sentencepiece(file, extra),
        config::Tokenizer::Falcon(file) => text::Tokenizer::hugging_face(file, extra),
        config::Tokenizer::HuggingFace(file) => text::Tokenizer::tokenizer_json(file, extra),
    };
    let tokenizer = tokenizer.context("cannot load the tokenizer").bad_input()?;
    if let config::Tokenizer::SentencePiece(file) = &datamix.tokenizer
        && let Some(why) = tokenizer.slow_because()
    {
        print::note(format!(
            "note: `vocab_file: {}`: texts are encoded at a tenth of the usual speed, since {why}",
            file.display()
        ));
    }
    Ok(tokenizer)
}

/// What opens and closes a turn of ChatML should be special tokens. The reference stops over most conversations where what opens
/// it is none, since turns that are encoded one by one are other ids then than the whole.
fn warn_of_marks_that_are_text(datamix: &Datamix, tokenizer: &text::Tokenizer) {
    let has_turns = |entry: &Entry| !matches!(entry.source, Source::Text(_) | Source::PlainText(_));
    if datamix.chat_template.path.is_some() || !datamix.entries().any(has_turns) {
        return;
    }
    let marks = [TURN_START, TURN_END].into_iter();
    let marks = marks.filter(|mark| tokenizer.special_id(mark).is_none());
    let marks: Vec<_> = marks.map(|mark| format!("`{mark}`")).collect();
    if !marks.is_empty() {
        print::note(format!(
            "warning: {} of ChatML will be encoded as text: the special tokens lack it\n\
             hint: `vocab_extra_ids_list: {TURN_START},{TURN_END}` adds both",
            marks.join(" and ")
        ));
    }
}

/// Looks whether special strings can be left text.
fn check_escape(
    datamix: &Datamix,
    tokenizer: &text::Tokenizer,
    whole: Option<&Chosen>,
) -> anyhow::Result<()> {
    let why = if let Some(why) = tokenizer.cannot_encode_around() {
        format!("`tokenizer_type: {}`: {why}", datamix.tokenizer.kind())
    } else if datamix.chat_template.path.is_some() {
        "`chat_template`: a conversation is encoded as a whole, and a template may change its texts"
            .into()
    } else if whole.is_some() {
        "`assistant_header: untrained`: such conversations are encoded as a whole".into()
    } else {
        return Ok(());
    };
    bail_input!(
        "`special_tokens_in_text: escape` does not go with {why}\n\
         hint: `refuse` finds texts with special tokens, so that they can be taken out of the sources; `keep` counts them"
    )
}

/// The template of documents that are encoded as a whole.
pub(crate) struct Chosen {
    /// How a conversation becomes text.
    pub(crate) template: Template,
    /// What the manifest says.
    pub(crate) name: String,
    /// A Jinja template's source, which goes with the shards.
    pub(crate) source: Option<String>,
    /// The special tokens that it was given, which do as well.
    pub(crate) special_tokens: BTreeMap<String, serde_json::Value>,
}

impl Chosen {
    /// What the hash of the template is of.
    pub(crate) fn hashed(&self) -> &str {
        self.source.as_deref().unwrap_or(&self.name)
    }
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
        return Ok(is_whole.then(|| Chosen {
            template,
            name: name.into(),
            source: None,
            special_tokens: BTreeMap::new(),
        }));
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
        Ok::<_, text::TemplateError>(Chosen {
            template,
            name,
            source: Some(file.source),
            special_tokens: file.special_tokens,
        })
    };
    compile().context("`chat_template`").bad_input().map(Some)
}
