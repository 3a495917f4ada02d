//! The order of the output -> where each piece goes.
//!
//! The output is a row of *slots*: one for each piece of each document, in order, split after split. Pieces are encoded
//! in the order of the store, which has nothing to do with that of the output, and each knows its slots. Neighbouring
//! slots make a *bucket*, small enough to be put in order in memory.

use std::ops::Range;

use crate::draws::{DrawnWordings, Draws};
use crate::mix::{Divided, Plan};

/// A stretch of a split that is encoded now.
#[derive(Debug)]
pub struct Stretch<'p> {
    /// The split.
    pub plan: &'p Plan,
    /// Which of its documents, by their places in it.
    pub places: Range<usize>,
    /// What was drawn for them.
    pub draws: Draws,
}

/// Neighbouring documents of one stretch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Which stretch.
    pub stretch: usize,
    /// The documents' places in their split.
    pub places: Range<usize>,
    /// Their slots.
    pub slots: Range<u32>,
}

/// Where a piece goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    /// The piece, by its number in the store.
    pub piece: u32,
    /// Where it goes; a piece may go to several slots.
    pub slot: u32,
}

/// Where all pieces go.
#[derive(Debug)]
pub struct Route {
    /// In the order of the store. A piece that no document uses is not there.
    pub uses: Vec<Use>,
    /// In the order of the output.
    pub buckets: Vec<Bucket>,
    /// The first slot of documents with wordings, and what was drawn for them; each is of one piece.
    worded: Vec<(u32, DrawnWordings)>,
}

impl Route {
    /// Finds the way for all pieces of some stretches. A bucket is expected to have about as many bytes as given.
    pub fn new(
        stretches: &[Stretch<'_>],
        datasets: &[Divided],
        bytes_per_bucket: u64,
    ) -> anyhow::Result<Self> {
        let bytes: Vec<u64> = datasets.iter().map(bytes_per_piece).collect();
        let (mut uses, mut buckets, mut worded) = (Vec::new(), Vec::new(), Vec::new());
        let mut slot = 0_u32;
        for (stretch, Stretch { plan, places, draws }) in stretches.iter().enumerate() {
            let mut bucket =
                Bucket { stretch, places: places.start..places.start, slots: slot..slot };
            let mut expected = 0;
            for (part, here) in plan.stretches(places.clone()) {
                worded.extend(draws.wordings(&here).map(|drawn| (slot, drawn)));
                let mut drawn = draws.samples(&here).iter();
                let loaded = &datasets[part.dataset].loaded;
                for (place, document) in here.clone().zip(plan.documents(here)) {
                    if expected >= bytes_per_bucket {
                        let next = Bucket { stretch, places: place..place, slots: slot..slot };
                        buckets.push(std::mem::replace(&mut bucket, next));
                        expected = 0;
                    }
                    let drawn = drawn.next().map_or(&[][..], |samples| &samples[..]);
                    for piece in loaded.pieces_of(document.1, drawn) {
                        uses.push(Use { piece, slot });
                        let Some(next) = slot.checked_add(1) else {
                            anyhow::bail!("more than {} rows in the output", u32::MAX);
                        };
                        slot = next;
                        expected += bytes[part.dataset];
                    }
                    bucket.slots.end = slot;
                    bucket.places.end = place + 1;
                }
            }
            buckets.push(bucket);
        }
        uses.sort_unstable();
        Ok(Self { uses, buckets, worded })
    }

    /// Which bucket a slot is in.
    #[must_use]
    pub fn bucket_of(&self, slot: u32) -> usize {
        self.buckets.partition_point(|bucket| bucket.slots.end <= slot)
    }

    /// The wording that was drawn for the document of a slot.
    #[must_use]
    pub fn wording_of(&self, slot: u32) -> Option<&'static str> {
        let (first, drawn) =
            self.worded[..self.worded.partition_point(|(first, _)| *first <= slot)].last()?;
        let document = (slot - first) as usize;
        (document < drawn.places.len()).then(|| drawn.of(document))
    }

    /// Where these pieces go.
    #[must_use]
    pub fn uses_of(&self, pieces: Range<u32>) -> &[Use] {
        let start = self.uses.partition_point(|it| it.piece < pieces.start);
        let n = self.uses[start..].partition_point(|it| it.piece < pieces.end);
        &self.uses[start..start + n]
    }
}

fn bytes_per_piece(dataset: &Divided) -> u64 {
    let loaded = &dataset.loaded;
    loaded.n_bytes / u64::from(loaded.pieces.end - loaded.pieces.start).max(1) + 16
}
