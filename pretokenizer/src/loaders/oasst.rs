//! `oasst_export`: message trees of Open-Assistant -> conversations.

pub mod row; // one line of an export: a tree, or a message
pub mod tree; // rows -> trees whose messages know their parents
pub mod threads; // a tree -> the conversations to train on

use std::collections::BTreeSet;

use anyhow::bail;
use cli::print;
use shards::rng::TorchGenerator;

use crate::config::sources::OasstExport;
use crate::documents::{Documents, Joined};
use crate::loaders::oasst::row::{READY, Row};
use crate::loaders::oasst::tree::{Reply, Tree, TreeInRows};
use crate::loaders::{Context, Loaded, Samples};
use crate::piece::Piece;
use crate::source::{RowPlace, repository, typed};
use crate::split;

/// Loads the export of a file, or the dataset.
pub(crate) fn export(keys: &OasstExport, context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    let files = match keys.input_file() {
        Some(path) => vec![context.data_path.join(path)],
        None => {
            let dataset = keys.hf_dataset_name.as_deref().unwrap_or("OpenAssistant/oasst1");
            let mut files = repository::split_files(dataset, "train")?;
            files.extend(repository::split_files(dataset, "validation")?);
            files
        }
    };
    let languages: Vec<&str> = keys.lang.as_deref().unwrap_or("en").split(',').collect();
    let judge = |tree: &Tree| Judged::of(tree, &languages, keys.top_k);
    let read = |row| {
        Ok(match row {
            Row::Tree { id, prompt: None, .. } => Part::Whole(Judged::without_prompt(id)),
            Row::Tree { id, state, prompt: Some(prompt) } => {
                Part::Whole(judge(&Tree::of_nested(id, state, prompt)?)?)
            }
            Row::Message { tree_state, parent_id: None, node } => {
                Part::Prompt(TreeInRows::of_prompt(tree_state, node))
            }
            Row::Message { parent_id: Some(parent_id), node, .. } => {
                Part::Reply(Reply { parent_id, node })
            }
        })
    };
    let mut trees = Trees::default();
    // The tree whose messages come row by row, and where its prompt stands.
    let mut open: Option<(RowPlace<'_>, TreeInRows)> = None;
    context.reader.for_each(&files, typed(), read, |place, part| {
        let (next, whole) = match part {
            Part::Reply(reply) => {
                let tree = open.as_mut().map(|it| &mut it.1);
                let id = tree.as_ref().map(|it| it.tree.id.as_str());
                context.samples.name_row(place, &reply.node.message_id.0, id);
                return match TreeInRows::add(tree, reply) {
                    Ok(()) => Ok(()),
                    Err(error) => context.samples.refuse(place, error),
                };
            }
            Part::Prompt(tree) => (Some((place, tree)), None),
            Part::Whole(judged) => (None, Some(judged)),
        };
        if let Some((place, tree)) = std::mem::replace(&mut open, next) {
            trees.take(place, judge(&tree.tree), &mut context.samples)?;
        }
        if let Some(judged) = whole {
            trees.take(place, Ok(judged), &mut context.samples)?;
        }
        Ok(())
    })?;
    if let Some((place, tree)) = open {
        trees.take(place, judge(&tree.tree), &mut context.samples)?;
    }
    let Trees { threads, n_trees, languages: there } = trees;
    if context.is_first {
        warn_of_unknown_languages(&there, &languages);
    }
    if threads.is_empty() {
        bail!(
            "none of the {n_trees} trees is ready for export, reviewed and in one of the languages {languages:?}"
        );
    }

    let mut generator = TorchGenerator::new(keys.manual_seed.unwrap_or(split::DEFAULT_SEED));
    // Trees without a thread count here, too: the split depends on their number.
    let (train, val) = split::torch(threads.len(), context.val_split, &mut generator)?;
    let samples = |trees: Vec<usize>| trees.into_iter().flat_map(|i| threads.samples(i).to_vec());
    let mut documents: Vec<u32> = samples(train).collect();
    let n_train = documents.len();
    documents.extend(samples(val));
    Ok(Loaded::divided("ListDataset", n_train).with_documents(Documents::Listed(documents)))
}

/// What a row gives.
enum Part {
    /// A tree.
    Whole(Judged),
    /// A tree of which the other messages are the rows behind this one.
    Prompt(TreeInRows),
    /// A message of the last tree.
    Reply(Reply),
}

/// A tree of which is known what becomes of it.
struct Judged {
    id: String,
    language: Option<String>,
    /// Its conversations, each with the name of its last message, or why it is not used.
    threads: Result<Vec<(Piece, String)>, &'static str>,
}

impl Judged {
    /// Of a tree that is not ready.
    fn without_prompt(id: String) -> Self {
        Self { id, language: None, threads: Err(NOT_READY) }
    }

    fn of(tree: &Tree, languages: &[&str], top_k: Option<i64>) -> anyhow::Result<Self> {
        let language = tree.messages[0].lang.clone();
        let threads = match refused(tree, languages) {
            Some(reason) => Err(reason),
            None => {
                let samples = threads::samples(tree, top_k)?;
                Ok(samples.iter().map(|(it, last)| (Piece::of(it), last.id.clone())).collect())
            }
        };
        Ok(Self { id: tree.id.clone(), language, threads })
    }
}

/// Why a tree is left out.
const NOT_READY: &str = "tree not ready for export";

/// The trees so far.
#[derive(Default)]
struct Trees {
    /// The conversations of each tree that is used.
    threads: Joined,
    n_trees: usize,
    languages: BTreeSet<String>,
}

impl Trees {
    fn take(
        &mut self,
        place: RowPlace<'_>,
        judged: anyhow::Result<Judged>,
        samples: &mut Samples<'_>,
    ) -> anyhow::Result<()> {
        let judged = match judged {
            Ok(judged) => judged,
            Err(error) => return samples.refuse(place, error),
        };
        self.n_trees += 1;
        samples.name_row(place, &judged.id, None);
        self.languages.extend(judged.language);
        match judged.threads {
            Err(reason) => samples.drop_row(place, reason),
            Ok(threads) => {
                if threads.is_empty() {
                    samples.drop_row(place, "no conversation in the tree");
                }
                for (piece, last) in threads {
                    let sample = samples.push(place, &piece)?;
                    samples.name_last_message(sample, &last);
                    self.threads.push(sample);
                }
                self.threads.end();
            }
        }
        Ok(())
    }
}

/// A language that no tree has is probably misspelt.
fn warn_of_unknown_languages(there: &BTreeSet<String>, languages: &[&str]) {
    for language in languages.iter().filter(|it| !there.contains(**it)) {
        let there: Vec<_> = there.iter().map(|it| format!("`{it}`")).collect();
        print::note(format!(
            "warning: no tree has the language `{language}` of `lang`; there are {}",
            there.join(", ")
        ));
    }
}

/// Why a tree is not used: only its state and its first message decide.
fn refused(tree: &Tree, languages: &[&str]) -> Option<&'static str> {
    let prompt = &tree.messages[0];
    if tree.state.as_deref() != Some(READY) {
        Some(NOT_READY)
    } else if prompt.review_result != Some(true) {
        Some("not accepted in review")
    } else if !prompt.lang.as_deref().is_some_and(|lang| languages.contains(&lang)) {
        Some("another language")
    } else {
        None
    }
}
