//! `oasst_export`: message trees of Open-Assistant -> conversations.

pub mod row; // one line of an export: a tree, or a message
pub mod tree; // rows -> trees whose messages know their parents
pub mod threads; // a tree -> the conversations to train on

use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;
use cli::print;
use shards::rng::TorchGenerator;

use crate::config::sources::OasstExport;
use crate::loaders::oasst::row::Row;
use crate::loaders::oasst::tree::{Tree, Trees};
use crate::loaders::{Context, Loaded};
use crate::sample::Sample;
use crate::source::repository;
use crate::split;

/// Loads the export of a file, or the dataset.
pub(crate) fn export(keys: &OasstExport, context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    let rows: Vec<Row> = match &keys.input_file_path {
        Some(path) => context.reader.rows(&[context.data_path.join(path)])?,
        None => {
            let dataset = keys.hf_dataset_name.as_deref().unwrap_or("OpenAssistant/oasst1");
            let mut files = repository::split_files(dataset, "train")?;
            files.extend(repository::split_files(dataset, "validation")?);
            context.reader.rows(&files)?
        }
    };
    let mut trees = Trees::default();
    for row in rows {
        trees.add(row)?;
    }
    let languages: Vec<&str> = keys.lang.as_deref().unwrap_or("en").split(',').collect();
    let (mut used, mut dropped) = (Vec::new(), BTreeMap::<_, usize>::new());
    let trees = trees.into_trees();
    warn_of_unknown_languages(&trees, &languages);
    for tree in trees {
        match refused(&tree, &languages) {
            Some(reason) => *dropped.entry(reason).or_default() += 1,
            None => used.push(tree),
        }
    }
    let trees = used;
    if trees.is_empty() {
        let n: usize = dropped.values().sum();
        bail!(
            "none of the {n} trees is ready for export, reviewed and in one of the languages {languages:?}"
        );
    }

    let mut generator = TorchGenerator::new(keys.manual_seed.unwrap_or(split::DEFAULT_SEED));
    // Trees without a thread count here, too: the split depends on their number.
    let (train, val) = split::torch(trees.len(), context.val_split, &mut generator)?;
    let samples = |indices: Vec<usize>| -> anyhow::Result<Vec<Sample>> {
        let mut samples = Vec::new();
        for i in indices {
            samples.extend(threads::samples(&trees[i], keys.top_k)?);
        }
        Ok(samples)
    };
    let loaded = Loaded::divided("ListDataset", samples(train)?, samples(val)?);
    Ok(dropped.into_iter().fold(loaded, |loaded, (reason, n)| loaded.dropping(reason, n)))
}

/// A language that no tree has is probably misspelt.
fn warn_of_unknown_languages(trees: &[Tree], languages: &[&str]) {
    let there: BTreeSet<&str> =
        trees.iter().filter_map(|tree| tree.messages[0].lang.as_deref()).collect();
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
    if tree.state.as_deref() != Some("ready_for_export") {
        Some("tree not ready for export")
    } else if prompt.review_result != Some(true) {
        Some("not accepted in review")
    } else if !prompt.lang.as_deref().is_some_and(|lang| languages.contains(&lang)) {
        Some("another language")
    } else {
        None
    }
}
