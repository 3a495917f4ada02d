//! Rows -> samples: one file per family of datasets.
//!
//! In: an entry of the datamix. Out: its samples, appended to the store as the rows come, which documents are made of
//! them, and how these are divided. A loader draws from the shared streams as the reference's does, or the datasets
//! behind it would come out differently.
//!
//! # How a loader is written
//! - One sample a row: [`Context::each`] with a function from a typed row to [`Made`]; document i is then sample i.
//! - What draws from a stream, or gives several samples a row: [`Reader::for_each`]; what its second function makes of a
//!   row is made in parallel, the third one takes it in order and hands it to [`Samples::push`], or the row to
//!   [`Samples::drop_row`]. A row that gives nothing is dropped for a reason, too: the ledger has one for each row.
//! - Documents in another order, or of several samples each: keep numbers of samples and what decides about them (a
//!   length, an instruction), never the texts, and give [`Documents`].
//! - Only what cannot be decided row by row (the best of several answers, say) holds its rows: [`Reader::rows`].

pub mod made; // which samples were made of which row
pub mod coerced; // JSON values as the reference's models take them
pub mod word_filter; // texts in which a model speaks of itself
pub mod question_answer; // one question and one answer per row
pub mod orca; // orca-chat, orca-best, megacode-best
pub mod instruction; // the instruction datasets
pub mod dolly; // dolly15k and its translations
pub mod alpaca; // alpaca, code_alpaca, alpaca_gpt4
pub mod dolphin; // dolphin-mix
pub mod sharegpt; // vicuna, wizard_evol_instruct_v2
pub mod gpt4all; // gpt4all
pub mod soda; // soda, soda_dialogue
pub mod translated; // oa_translated
pub mod oig; // oig_file
pub mod webgpt; // webgpt
pub mod prosocial; // prosocial_dialogue, explain_prosocial
pub mod questions; // squad_v2, gsm8k, wikihow and their like
pub mod summary; // xsum, billsum and their like
pub mod trivia; // trivia_qa_context, trivia_qa_nocontext
pub mod feedback; // hf_summary, hf_summary_pairs
pub mod plain_text; // red_pajama, fanfics
pub mod oasst; // oasst_export
pub mod generic; // messages, sharegpt, instructions, text

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use cli::{BadInput, Interrupted};
use serde::de::DeserializeOwned;

use crate::config::generic::{Chat, Instructions, PlainTexts};
use crate::config::{Entry, FileNames, OnError, Source, ValSplit};
use crate::documents::Documents;
use crate::loaders::made::MadeOf;
use crate::piece::Piece;
use crate::sample::Sample;
use crate::scratch::ScratchFailed;
use crate::source::{BadRow, Dataset, Reader, RowPlace, RowsRead, repository, typed};
use crate::store::Store;
use crate::streams::Streams;

/// What a loader works with.
#[derive(Debug)]
pub struct Context<'a> {
    /// Reads files.
    pub reader: &'a mut Reader,
    /// The shared random streams.
    pub streams: &'a mut Streams,
    /// Takes what the loader makes.
    pub samples: Samples<'a>,
    /// Where local files are looked for.
    pub data_path: PathBuf,
    /// How much goes to validation, for a loader that divides by itself; `None` is null.
    pub val_split: Option<ValSplit>,
    /// Whether the files are read for the first time: remarks are made once.
    pub is_first: bool,
}

/// What a row becomes.
#[derive(Debug)]
pub enum Made {
    /// A sample.
    Sample(Sample),
    /// Nothing, for this reason.
    Dropped(&'static str),
}

impl Context<'_> {
    /// Makes a sample of each row, or gives a reason why there is none; rows are looked at in parallel.
    pub fn each<T: DeserializeOwned + Send>(
        &mut self,
        files: &[PathBuf],
        make: impl Fn(T) -> anyhow::Result<Made> + Sync,
    ) -> anyhow::Result<()> {
        let make = |row| {
            Ok(match make(row)? {
                Made::Sample(sample) => Ok(Piece::of(&sample)),
                Made::Dropped(reason) => Err(reason),
            })
        };
        let samples = &mut self.samples;
        self.reader.for_each(files, typed::<T>(), make, |place, made| {
            match made {
                Ok(piece) => drop(samples.push(place, &piece)?),
                Err(reason) => samples.drop_row(place, reason),
            }
            Ok(())
        })
    }

    /// The files of a dataset: the named ones, or those of a split.
    fn files<'n>(
        &self,
        dataset: impl Into<Dataset<'n>>,
        data_files: Option<&FileNames>,
        split: &str,
    ) -> anyhow::Result<Vec<PathBuf>> {
        let dataset = dataset.into();
        match data_files {
            Some(FileNames(names)) => repository::files(dataset.name, names),
            None => repository::split_files(dataset, split),
        }
    }
}

/// Takes the samples of a dataset, and counts the rows that became none.
#[derive(Debug)]
pub struct Samples<'a> {
    store: &'a mut Store,
    first: u32,
    bytes_before: u64,
    dropped: BTreeMap<&'static str, usize>,
    on_error: OnError,
    refused: RowsRead,
    made_of: Option<MadeOf>,
}

impl<'a> Samples<'a> {
    /// Appends to this store. `refused` takes what a loader cannot make anything of; with `made_of`, it is noted what was
    /// made of which row.
    #[must_use]
    pub fn new(
        store: &'a mut Store,
        on_error: OnError,
        refused: RowsRead,
        made_of: Option<MadeOf>,
    ) -> Self {
        let (first, bytes_before) = (store.n_pieces(), store.n_bytes());
        Self { store, first, bytes_before, dropped: BTreeMap::new(), on_error, refused, made_of }
    }

    /// How many samples there are.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.store.n_pieces() - self.first
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes a sample that was made of a row, and tells its number in the dataset, from 0.
    pub fn push(&mut self, row: RowPlace<'_>, sample: &Piece) -> anyhow::Result<u32> {
        let number = self.push_shared(sample)?;
        self.also_of(row, number);
        Ok(number)
    }

    /// Takes a sample that belongs to no row more than to others.
    pub fn push_shared(&mut self, sample: &Piece) -> anyhow::Result<u32> {
        let number = self.len();
        self.store.push(sample)?;
        Ok(number)
    }

    /// Notes that a sample was made of this row, too.
    pub fn also_of(&mut self, row: RowPlace<'_>, sample: u32) {
        if let Some(made_of) = &mut self.made_of {
            made_of.samples.push((row.number, sample));
        }
    }

    /// Leaves out a row, or what begins with it, for a reason: this is where every such decision comes by.
    pub fn drop_row(&mut self, row: RowPlace<'_>, reason: &'static str) {
        *self.dropped.entry(reason).or_default() += 1;
        if let Some(made_of) = &mut self.made_of {
            made_of.dropped.push((row.number, reason));
        }
    }

    /// Leaves out a row that cannot be used, or stops over it, as `on_error` says.
    pub fn refuse(&mut self, row: RowPlace<'_>, error: anyhow::Error) -> anyhow::Result<()> {
        match self.on_error {
            OnError::Stop => Err(error.context(row.to_string())),
            OnError::Skip => {
                self.refused.refuse(row, BadRow::from(error));
                Ok(())
            }
        }
    }

    /// Notes the name that a row has in its source, and that of the row that it belongs to.
    pub fn name_row(&mut self, row: RowPlace<'_>, id: &str, tree: Option<&str>) {
        if let Some(made_of) = &mut self.made_of {
            made_of.names.push((row.number, id.into(), tree.map(Into::into)));
        }
    }

    /// Notes the message with which a sample ends.
    pub fn name_last_message(&mut self, sample: u32, id: &str) {
        if let Some(made_of) = &mut self.made_of {
            made_of.last_messages.push((sample, id.into()));
        }
    }
}

/// What a loader has made.
#[derive(Debug)]
pub struct Loaded {
    /// The name in the statistics: the reference's class, and the dataset's name where the class has one.
    pub label: String,
    /// The documents.
    pub documents: Documents,
    /// Which of them train.
    pub division: Division,
    /// The wordings to draw from for each document that has [`Sample::Worded`]; `{}` stands for the text.
    pub wordings: &'static [&'static str],
    /// Rows that the loader left out, by reason.
    pub dropped: BTreeMap<&'static str, usize>,
    /// The dataset's samples in the store.
    pub pieces: Range<u32>,
    /// How many bytes they have.
    pub n_bytes: u64,
    /// What became of which row, where a ledger is asked for.
    pub made_of: Option<MadeOf>,
}

/// How documents are divided between training and validation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Division {
    /// By the datamix.
    ByMix,
    /// By the loader: so many train, and the others validate.
    TrainFirst(usize),
}

impl Loaded {
    /// Documents that the datamix divides: one of each sample, until [`Self::with_documents`] says otherwise.
    fn whole(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            documents: Documents::Each,
            division: Division::ByMix,
            wordings: &[],
            dropped: BTreeMap::new(),
            pieces: 0..0,
            n_bytes: 0,
            made_of: None,
        }
    }

    /// Documents of which the first ones train, as the loader has divided them.
    fn divided(label: impl Into<String>, n_train: usize) -> Self {
        Self { division: Division::TrainFirst(n_train), ..Self::whole(label) }
    }

    fn with_documents(self, documents: Documents) -> Self {
        Self { documents, ..self }
    }

    fn with_wordings(self, wordings: &'static [&'static str]) -> Self {
        Self { wordings, ..self }
    }

    /// How many documents there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.documents {
            Documents::Each => self.pieces.len(),
            Documents::Listed(samples) => samples.len(),
            Documents::Drawn(ranges) => ranges.len(),
            Documents::Joined(joined) => joined.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many pieces a document has.
    #[must_use]
    pub fn n_pieces_of(&self, document: u32) -> usize {
        match &self.documents {
            Documents::Each | Documents::Listed(_) => 1,
            Documents::Drawn(ranges) => ranges[document as usize].len(),
            Documents::Joined(joined) => joined.samples(document as usize).len(),
        }
    }

    /// Every piece that a document may come to have, by their numbers in the store.
    pub fn pieces_for(&self, document: u32) -> impl Iterator<Item = u32> {
        let (may_draw, drawn) = match &self.documents {
            Documents::Drawn(ranges) => (&ranges[document as usize][..], true),
            _ => (&[][..], false),
        };
        let first = self.pieces.start;
        let all = may_draw.iter().cloned().flatten().map(move |sample| first + sample);
        all.chain((!drawn).then(|| self.pieces_of(document, &[])).into_iter().flatten())
    }

    /// The pieces of a document, by their numbers in the store; `drawn` are the samples that were drawn for it, if they are.
    pub fn pieces_of<'s>(
        &'s self,
        document: u32,
        drawn: &'s [u32],
    ) -> impl Iterator<Item = u32> + use<'s> {
        let (one, several) = match &self.documents {
            Documents::Each => (Some(document), &[][..]),
            Documents::Listed(samples) => (Some(samples[document as usize]), &[][..]),
            Documents::Drawn(_) => (None, drawn),
            Documents::Joined(joined) => (None, joined.samples(document as usize)),
        };
        let first = self.pieces.start;
        one.into_iter().chain(several.iter().copied()).map(move |sample| first + sample)
    }
}

/// Loads a dataset.
pub fn load(entry: &Entry, mut context: Context<'_>) -> anyhow::Result<Loaded> {
    // A loader fails over what stands in the files or in the entry, or because somebody stopped it or the disk is full.
    let mut loaded = load_kind(entry, &mut context).or_else(|error| {
        if error.is::<Interrupted>() || error.is::<ScratchFailed>() {
            return Err(error);
        }
        Err(error).with_context(|| format!("{}: `{}`", entry.place, entry.name)).bad_input()
    })?;
    let Samples { store, first, bytes_before, mut dropped, refused, made_of, .. } = context.samples;
    loaded.pieces = first..store.n_pieces();
    loaded.n_bytes = store.n_bytes() - bytes_before;
    let read = context.reader.end();
    for (reason, n) in read.refused.into_iter().chain(refused.refused) {
        *dropped.entry(reason).or_default() += n;
    }
    loaded.dropped = dropped;
    loaded.made_of = made_of.map(|made_of| made_of.of_rows(read.list, refused.list));
    Ok(loaded)
}

/// A file or folder that is not fetched. `what` says what it is, and where it comes from.
fn local(path: PathBuf, what: &str) -> anyhow::Result<PathBuf> {
    if !path.exists() {
        bail!("there is no `{}`\nhint: put {what} there", path.display());
    }
    Ok(path)
}

fn checked<T>(keys: Result<T, String>) -> anyhow::Result<T> {
    keys.map_err(anyhow::Error::msg)
}

fn load_kind(entry: &Entry, context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    match (&entry.source, entry.key().as_str()) {
        (Source::OrcaChat(keys), _) => orca::chat(keys, context),
        (Source::BestOfMegacode(keys), _) => orca::megacode(keys, context),
        (Source::OasstExport(keys), _) => oasst::export(keys, context),
        (Source::Instruction(keys), name) => instruction::load(name, keys, context),
        (Source::DolphinMix(keys), _) => dolphin::load(keys, context),
        (Source::Alpaca(keys), name) => alpaca::load(name, keys, context),
        (Source::Cut(keys), "soda") => soda::soda(keys, context),
        (Source::Cut(keys), name) => sharegpt::load(name, keys, context),
        (Source::Oig(keys), _) => oig::load(keys, context),
        (Source::Summaries(keys), _) => question_answer::summaries(keys, context),
        (Source::PlainText(keys), name) => plain_text::load(name, keys, context),
        (Source::Messages(keys), "sharegpt") => {
            generic::chat(&checked(Chat::share_gpt(keys))?, context)
        }
        (Source::Messages(keys), _) => generic::chat(&checked(Chat::messages(keys))?, context),
        (Source::PromptResponse(keys), _) => {
            generic::instructions(&checked(Instructions::of(keys))?, context)
        }
        (Source::Text(keys), _) => generic::texts(&checked(PlainTexts::of(keys))?, context),
        (Source::Plain(_), "dolly15k") => dolly::english(context),
        (Source::Plain(_), "dolly15k_multilingual") => dolly::multilingual(context),
        (Source::Plain(_), "alpaca_gpt4") => alpaca::gpt4(context),
        (Source::Plain(_), "gpteacher_roleplay") => question_answer::roleplay(context),
        (Source::Plain(_), "joke") => question_answer::jokes(context),
        (Source::Plain(_), "gpt4all") => gpt4all::load(context),
        (Source::Plain(_), "soda_dialogue") => soda::dialogue(context),
        (Source::Plain(_), "oa_translated") => translated::load(context),
        (Source::Plain(_), "webgpt") => webgpt::load(context),
        (Source::Plain(_), "prosocial_dialogue") => prosocial::dialogue(context),
        (Source::Plain(_), "explain_prosocial") => prosocial::explanations(context),
        (Source::Plain(_), "hf_summary") => feedback::best(context),
        (Source::Plain(_), "hf_summary_pairs") => feedback::pairs(context),
        (Source::Plain(_), "trivia_qa_context") => trivia::load(true, context),
        (Source::Plain(_), "trivia_qa_nocontext") => trivia::load(false, context),
        (Source::Questions(_), name) => questions::load(name, context),
        (Source::Summary(_), name) => summary::load(name, context),
        (Source::Plain(_) | Source::NotSupported(_), name) => {
            unreachable!("`{name}` is refused when the datamix is checked")
        }
    }
}
