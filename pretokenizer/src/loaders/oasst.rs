//! `oasst_export`: message trees of Open-Assistant -> conversations.

pub mod coerced; // JSON values as the reference's models take them
pub mod row; // one line of an export: a tree, or a message
pub mod tree; // rows -> trees whose messages know their parents
pub mod threads; // a tree -> the conversations to train on

use anyhow::bail;
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
    let trees = trees.into_trees();
    let n = trees.len();
    let trees: Vec<Tree> = trees.into_iter().filter(|tree| is_used(tree, &languages)).collect();
    let dropped = n - trees.len();
    if trees.is_empty() {
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
    Ok(loaded.dropping("tree not ready, not reviewed, or of another language", dropped))
}

/// Only the state of the tree and its first message decide.
fn is_used(tree: &Tree, languages: &[&str]) -> bool {
    let prompt = &tree.messages[0];
    tree.state.as_deref() == Some("ready_for_export")
        && prompt.review_result == Some(true)
        && prompt.lang.as_deref().is_some_and(|lang| languages.contains(&lang))
}
