//! The store -> documents in the order of the output.
//!
//! Two passes, both on all threads. The first reads the store from its beginning to its end and encodes the pieces that
//! are used, each into the bucket where its document stands; the second takes bucket after bucket, puts it in order and
//! hands it over. Neither needs more than a few blocks or buckets in memory, whatever the order of the output.
//!
//! # What was measured
//! The datamix of `../shared/oracle/real`, enlarged, two threads: 47 MB of inputs take 160 MB of memory at most and never touch
//! the temporary file; 2.8 GB of inputs take 193 MB, 10 GB 363 MB. `scripts/bench build` and `scripts/bench memory` measure it
//! again.
//!
//! # What was tried
//! The same datamix with 180 MB of inputs; the least time of 7 runs on a machine with two cores that was not always idle.
//!
//! | change | one thread | two threads |
//! |---|---|---|
//! | before | 1.41 s | 1.00 s |
//! | mimalloc in place of glibc's allocator, in which a thread that frees a row waits for the one that makes the next | 1.37 s | 0.88 s |
//! | tokens and roles hashed and written at the same time; lines found by `memchr`; a row asked once whether it is UTF-8; labels of messages read without a tree of values | 1.21 s | 0.74 s |
//!
//! Not tried: a SIMD parser of JSON. Parsing is a ninth of the time that the program computes, so one that is twice as fast would save
//! a twentieth.
//! Two runs on one thread each, side by side, take as long as one alone: what two threads lack to twice the speed is what they wait for.

use std::ops::ControlFlow;

use cli::{Progress, Unit};
use shards::Format;
use text::{Template, Tokenizer};

use crate::assemble::{self, Asked, Assembled};
use crate::buckets::Buckets;
use crate::encode::{self, PieceEncoder};
use crate::filter::Filter;
use crate::in_order;
use crate::mix::Divided;
use crate::route::{Bucket, Route, Stretch};
use crate::scratch::Scratch;
use crate::store::{self, Store};
use crate::whole::DocumentEncoder;

/// How much stays in memory. The output is the same for any limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of rows that wait to be encoded.
    pub store: usize,
    /// Bytes of encoded pieces that wait for their turn.
    pub buckets: usize,
    /// About how many bytes of encoded pieces are put in order at a time, by each thread.
    pub bucket: u64,
}

/// A bucket's share of [`Limits::buckets`] is no smaller than this part of it: many small buckets would be written in
/// many small pieces.
const MOST_BUCKETS: u64 = 1024;

impl Default for Limits {
    fn default() -> Self {
        Self { store: 48 << 20, buckets: 48 << 20, bucket: 4 << 20 }
    }
}

/// How pieces are encoded and documents made.
#[derive(Debug, Clone, Copy)]
pub struct Pipeline<'a> {
    /// Text -> ids.
    pub tokenizer: &'a Tokenizer,
    /// The template of documents that are encoded as a whole; `None` for turn by turn.
    pub whole: Option<&'a Template>,
    /// Which documents are kept.
    pub filter: Filter,
    /// How tokens are stored.
    pub format: Format,
    /// Whether documents carry their text.
    pub with_text: bool,
    /// Whether special strings in a text are text; not for documents that are encoded as a whole.
    pub escapes: bool,
    /// Threads to use.
    pub threads: usize,
    /// How much stays in memory.
    pub limits: Limits,
    /// Where the rest goes.
    pub scratch: &'a Scratch,
}

impl Pipeline<'_> {
    /// Encodes the documents of these stretches and hands them over in order, a bucket at a time, until there is no more
    /// or `take` breaks. With `last`, the store is not read again.
    pub fn run(
        &self,
        store: &Store,
        datasets: &[Divided],
        stretches: &[Stretch<'_>],
        last: bool,
        mut take: impl FnMut(&Bucket, Assembled) -> anyhow::Result<ControlFlow<()>> + Send,
    ) -> anyhow::Result<()> {
        // Encoded, a text takes about two thirds of its bytes, and all of them again if it is kept.
        let factor = if self.with_text || self.whole.is_some() { 3 } else { 1 };
        let most = store.n_bytes() * factor / MOST_BUCKETS;
        let route = Route::new(stretches, datasets, most.max(self.limits.bucket) / factor)?;
        let buckets = Buckets::new(route.buckets.len(), self.limits.buckets, self.scratch);
        self.encode(store, &route, &buckets, last)?;

        let mut numbers = 0..route.buckets.len();
        in_order::run(
            self.threads,
            || numbers.next().map(|i| anyhow::Ok((i, buckets.take(i)?))).transpose(),
            || {
                let (route, template) = (&route, self.whole);
                let asked =
                    Asked { format: self.format, filter: self.filter, with_text: self.with_text };
                let mut whole =
                    template.map(|it| DocumentEncoder::new(self.tokenizer, it, self.format));
                move |(i, chunks): (usize, Vec<Vec<u8>>)| {
                    let bucket = &route.buckets[i];
                    let assembled = assemble::documents(
                        bucket,
                        &chunks,
                        stretches,
                        datasets,
                        asked,
                        whole.as_mut(),
                    )?;
                    Ok((bucket, assembled))
                }
            },
            |(bucket, assembled)| take(bucket, assembled),
        )
    }

    fn encode(
        &self,
        store: &Store,
        route: &Route,
        buckets: &Buckets<'_>,
        last: bool,
    ) -> anyhow::Result<()> {
        let progress = Progress::new("encoding", route.uses.len() as u64, Unit::Count("samples"));
        let mut blocks = 0..store.n_blocks();
        in_order::run(
            self.threads,
            || {
                let used = |block: &usize| !route.uses_of(store.pieces_of(*block)).is_empty();
                let block = blocks.by_ref().find(used);
                block.map(|block| anyhow::Ok((block, store.read(block, last)?))).transpose()
            },
            || {
                let (tokenizer, format) = (self.tokenizer, self.format);
                let mut encoder = PieceEncoder::new(
                    tokenizer,
                    format,
                    self.with_text,
                    self.escapes,
                    self.filter.cut(),
                );
                let mut records = Vec::new();
                move |(block, bytes): (usize, Vec<u8>)| {
                    records.clear();
                    let pieces = store.pieces_of(block);
                    let mut uses = route.uses_of(pieces.clone()).iter().peekable();
                    let n = uses.len();
                    let mut ends = Vec::with_capacity(n);
                    for (piece, packed) in store::each(&bytes, pieces.start) {
                        // Where a piece goes to several slots, it is encoded once for each wording.
                        let mut encoded: Option<(usize, Option<&str>)> = None;
                        while let Some(it) = uses.next_if(|it| it.piece == piece) {
                            let wording = route.wording_of(it.slot);
                            let start = records.len();
                            match encoded {
                                Some((from, known)) if known == wording => {
                                    records.extend_from_within(from..start);
                                    encode::set_slot(&mut records[start..], it.slot);
                                }
                                _ if self.whole.is_some() => {
                                    encode::pass_on(
                                        tokenizer,
                                        packed,
                                        it.slot,
                                        wording,
                                        &mut records,
                                    );
                                }
                                _ => encoder.encode(packed, it.slot, wording, &mut records),
                            }
                            encoded = Some((start, wording));
                            ends.push((route.bucket_of(it.slot), start, records.len()));
                        }
                    }
                    buckets.push(ends.iter().map(|&(bucket, a, b)| (bucket, &records[a..b])))?;
                    Ok(n)
                }
            },
            |n| {
                progress.inc(n as u64);
                Ok(ControlFlow::Continue(()))
            },
        )?;
        progress.finish();
        Ok(())
    }
}
