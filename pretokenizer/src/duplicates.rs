//! Plans -> plans without the documents that stand in them more than once.
//!
//! Two documents are the same if their turns are: who speaks, and every byte of the text. The system wordings that are drawn
//! later do not count. Of each piece a fingerprint is kept, no text; documents are told by those of their pieces. Whether two
//! documents are much alike is told by MinHash signatures ([`crate::minhash`]).
//!
//! Within a split the first one in the order of the output stays, whatever source it is from; what goes is like one that
//! stays. Nothing is taken from validation for what stands in training: it is the training rows that go. A part of a datamix
//! that is built apart has all fingerprints and signatures, too, and so the same plans.

use std::collections::HashSet;

use cli::{interrupt, print};

use crate::config::near_duplicates::NearDuplicates;
use crate::filter::Reason;
use crate::mix::{Divided, Plan};
use crate::piece::Fingerprint;
use crate::similar::Similar;
use crate::store::Store;

/// Which documents go.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Removal {
    /// Those that stand earlier in the same split.
    pub repeated: bool,
    /// Those that are much like one that stands earlier in the same split.
    pub near: Option<NearDuplicates>,
    /// Those of `train` that stand in `val`, or with [`Self::near`] are much like one there.
    pub train_in_val: bool,
}

/// Documents by which others are told to be there already.
struct Seen<'a> {
    fingerprints: HashSet<Fingerprint>,
    similar: Option<Similar<'a>>,
}

/// What is known of a document; nothing that is not asked for.
#[derive(Default)]
struct Document {
    dataset: usize,
    number: u32,
    fingerprint: Option<Fingerprint>,
    signature: Vec<u32>,
}

impl Removal {
    /// Whether fingerprints of the pieces are needed.
    #[must_use]
    pub fn needs_fingerprints(self) -> bool {
        self.repeated || self.train_in_val
    }

    /// Takes documents out of the plans, and counts them by reason.
    pub fn apply(
        self,
        plans: &mut [Plan],
        datasets: &[Divided],
        store: &Store,
    ) -> anyhow::Result<()> {
        if self == Self::default() {
            return Ok(());
        }
        let nothing_seen = || Seen {
            fingerprints: HashSet::new(),
            similar: self
                .near
                .zip(store.signatures())
                .map(|(by, signatures)| Similar::new(by, signatures, datasets)),
        };
        let mut document = Document::default();
        let mut val = nothing_seen();
        for plan in plans.iter().filter(|plan| self.train_in_val && plan.split == "val") {
            for (dataset, number) in plan.documents(0..plan.len()) {
                interrupt::check()?;
                self.look_at(&mut document, dataset, number, datasets, store)?;
                val.add(&document);
            }
        }
        for plan in plans {
            let mut earlier = nothing_seen();
            for part in &mut plan.parts {
                let mut kept = Vec::with_capacity(part.indices.len());
                for number in std::mem::take(&mut part.indices) {
                    interrupt::check()?;
                    self.look_at(&mut document, part.dataset, number, datasets, store)?;
                    let may_be_in_val = self.train_in_val && plan.split == "train";
                    let reason = if may_be_in_val && val.has(&document) {
                        Reason::InVal
                    } else if self.repeated && earlier.has(&document) {
                        Reason::Duplicate
                    } else if may_be_in_val && val.has_similar(&document)? {
                        Reason::NearInVal
                    } else if earlier.has_similar(&document)? {
                        Reason::NearDuplicate
                    } else {
                        if self.repeated || self.near.is_some() {
                            earlier.add(&document);
                        }
                        kept.push(number);
                        continue;
                    };
                    part.removed.push((number, reason));
                }
                kept.shrink_to_fit();
                part.indices = kept;
                for (reason, n) in part.n_removed() {
                    let reason = reason.name();
                    print::note(format!(
                        "{}: {n} left out of `{}` ({reason})",
                        part.name, plan.split
                    ));
                }
            }
        }
        Ok(())
    }

    /// Takes down what is asked for.
    fn look_at(
        self,
        document: &mut Document,
        dataset: usize,
        number: u32,
        datasets: &[Divided],
        store: &Store,
    ) -> anyhow::Result<()> {
        (document.dataset, document.number) = (dataset, number);
        let pieces = || datasets[dataset].loaded.pieces_for(number);
        if self.needs_fingerprints() {
            let of_piece = |piece: u32| store.fingerprints()[piece as usize];
            document.fingerprint = Some(Fingerprint::of(pieces().map(of_piece)));
        }
        if let Some(signatures) = store.signatures() {
            signatures.of(pieces(), &mut document.signature)?;
        }
        Ok(())
    }
}

impl Seen<'_> {
    fn has(&self, document: &Document) -> bool {
        document.fingerprint.is_some_and(|it| self.fingerprints.contains(&it))
    }

    fn has_similar(&mut self, document: &Document) -> anyhow::Result<bool> {
        match &mut self.similar {
            Some(similar) => similar.has(&document.signature),
            None => Ok(false),
        }
    }

    fn add(&mut self, document: &Document) {
        self.fingerprints.extend(document.fingerprint);
        if let Some(similar) = &mut self.similar {
            similar.add(document.dataset, document.number, &document.signature);
        }
    }
}
