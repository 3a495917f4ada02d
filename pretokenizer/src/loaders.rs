//! Rows -> samples: one file per family of datasets.
//!
//! In: an entry of the datamix. Out: its samples in the order of the dataset, and how they are divided. A loader draws
//! from the shared streams as the reference's does, or the datasets behind it would come out differently.

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
pub mod plain_text; // red_pajama, fanfics
pub mod oasst; // oasst_export

use std::path::PathBuf;

use anyhow::Context as _;
use cli::{BadInput, Interrupted};

use crate::config::{Entry, Source, ValSplit};
use crate::sample::Sample;
use crate::source::{Reader, repository};
use crate::streams::Streams;

/// What a loader works with.
#[derive(Debug)]
pub struct Context<'a> {
    /// Reads files.
    pub reader: &'a mut Reader,
    /// The shared random streams.
    pub streams: &'a mut Streams,
    /// Where local files are looked for.
    pub data_path: PathBuf,
    /// How much goes to validation, for a loader that divides by itself; `None` is null.
    pub val_split: Option<ValSplit>,
}

impl Context<'_> {
    /// The files of a dataset: the named ones, or those of a split.
    fn files(
        &self,
        dataset: &str,
        data_files: Option<&[String]>,
        split: &str,
    ) -> anyhow::Result<Vec<PathBuf>> {
        match data_files {
            Some(data_files) => repository::files(dataset, data_files),
            None => repository::split_files(dataset, split),
        }
    }
}

/// What a loader has made.
#[derive(Debug)]
pub struct Loaded {
    /// The name in the statistics: the reference's class, and the dataset's name where the class has one.
    pub label: String,
    /// All samples.
    pub samples: Vec<Sample>,
    /// Which of them train.
    pub division: Division,
    /// Rows that the loader left out, by reason.
    pub dropped: Vec<(&'static str, usize)>,
}

/// How samples are divided between training and validation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Division {
    /// By the datamix.
    ByMix,
    /// By the loader: so many train, and the others validate.
    TrainFirst(usize),
}

impl Loaded {
    /// Samples that the datamix divides.
    fn whole(label: impl Into<String>, samples: Vec<Sample>) -> Self {
        Self { label: label.into(), samples, division: Division::ByMix, dropped: Vec::new() }
    }

    /// Samples that the loader has divided.
    fn divided(label: &str, train: Vec<Sample>, val: Vec<Sample>) -> Self {
        let division = Division::TrainFirst(train.len());
        let samples = train.into_iter().chain(val).collect();
        Self { label: label.into(), samples, division, dropped: Vec::new() }
    }

    /// Notes how many rows were left out for a reason.
    fn dropping(mut self, reason: &'static str, rows: usize) -> Self {
        if rows > 0 {
            self.dropped.push((reason, rows));
        }
        self
    }
}

/// Loads a dataset.
pub fn load(entry: &Entry, context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    let key = entry.key();
    let loaded = match (&entry.source, key.as_str()) {
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
        (Source::Questions(_), name) => questions::load(name, context),
        (Source::Summary(_), name) => summary::load(name, context),
        (Source::Plain(_) | Source::NotSupported(_), name) => {
            unreachable!("`{name}` is refused when the datamix is checked")
        }
    };
    // A loader fails over what stands in the files or in the entry, or because somebody stopped it.
    loaded.or_else(|error| {
        if error.is::<Interrupted>() {
            return Err(error);
        }
        Err(error).with_context(|| format!("{}: `{}`", entry.place, entry.name)).bad_input()
    })
}
