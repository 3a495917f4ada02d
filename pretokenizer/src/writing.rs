//! Plans + store -> the shards of all splits.

use std::ops::{ControlFlow, Range};
use std::path::Path;

use crate::config::Datamix;
use crate::draws::Draws;
use crate::mix::{Divided, Plan};
use crate::pipeline::Pipeline;
use crate::route::Stretch;
use crate::split_files::{Finished, SplitFiles};
use crate::store::Store;
use crate::streams::Streams;

/// What the splits are made of.
#[derive(Debug)]
pub(crate) struct Work<'a> {
    /// The splits.
    pub(crate) plans: &'a [Plan],
    /// Which documents of each are written, by their places.
    pub(crate) shares: &'a [Range<usize>],
    /// The datasets.
    pub(crate) datasets: &'a [Divided],
    /// Their samples.
    pub(crate) store: &'a Store,
    /// The streams, after all datasets were loaded.
    pub(crate) streams: Streams,
    /// At most so many documents in each split.
    pub(crate) max_count: Option<usize>,
    /// Whether it is noted what becomes of each document.
    pub(crate) for_ledger: bool,
}

/// Writes the shards of all splits into a folder.
pub(crate) fn write_splits(
    datamix: &Datamix,
    pipeline: &Pipeline<'_>,
    work: Work<'_>,
    folder: &Path,
) -> anyhow::Result<Vec<Finished>> {
    let Work { plans, shares, datasets, store, mut streams, max_count, for_ledger } = work;
    let create = |(plan, share): (_, &Range<usize>)| {
        let (tokenizer, first) = (pipeline.tokenizer, share.start);
        SplitFiles::create(datamix, tokenizer, plan, first, max_count, for_ledger, folder)
            .map(|files| files.in_parallel(pipeline.threads > 1))
    };
    let splits = plans.iter().zip(shares).map(create).collect::<anyhow::Result<Vec<_>>>()?;
    if let (Some(max), false) = (max_count, pipeline.filter.keeps_all()) {
        let mut done = Vec::new();
        for (plan, mut files) in plans.iter().zip(splits) {
            fill(&mut files, plan, max, pipeline, datasets, store, &mut streams)?;
            done.push(files.finish()?);
        }
        return Ok(done);
    }
    // What is kept is known before it is encoded: one pass for all splits.
    let mut stretches = Vec::new();
    for (plan, share) in plans.iter().zip(shares) {
        // Wordings are drawn for all documents that a run on one machine comes to.
        let places = 0..plan.len().min(max_count.unwrap_or(usize::MAX));
        let draws = Draws::draw(plan, places, datasets, &mut streams);
        stretches.push(Stretch { plan, places: share.clone(), draws });
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
        let before = streams.clone();
        let draws = Draws::draw(plan, places.clone(), datasets, streams);
        let stretch = [Stretch { plan, places: places.clone(), draws }];
        pipeline.run(store, datasets, &stretch, false, |_, assembled| files.take(&assembled))?;
        if files.n_seen() < places.end {
            // The reference draws for a sample when it comes to it: what lies behind the limit was never drawn.
            *streams = before;
            Draws::draw(plan, start..files.n_seen(), datasets, streams);
        }
    }
    Ok(())
}
