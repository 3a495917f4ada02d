//! Plans -> plans without the documents that stand in them more than once.
//!
//! Two documents are the same if their turns are: who speaks, and every byte of the text. The system wordings that are drawn
//! later do not count. Of each piece a fingerprint is kept, no text; documents are told by those of their pieces.
//!
//! Within a split the first one in the order of the output stays, whatever source it is from. Nothing is taken from
//! validation for what stands in training: it is the training rows that go. A part of a datamix that is built apart has all
//! fingerprints, too, and so the same plans.

use std::collections::HashSet;

use cli::print;

use crate::filter::Reason;
use crate::mix::{Divided, Plan};
use crate::piece::Fingerprint;

/// Which documents go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removal {
    /// Those that stand earlier in the same split.
    pub repeated: bool,
    /// Those of `train` that stand in `val`.
    pub train_in_val: bool,
}

impl Removal {
    /// Takes documents out of the plans, and counts them by reason.
    pub fn apply(self, plans: &mut [Plan], datasets: &[Divided], pieces: &[Fingerprint]) {
        if self == Self::default() {
            return;
        }
        let fingerprint = |dataset: usize, document: u32| {
            let of_document = datasets[dataset].loaded.pieces_for(document);
            Fingerprint::of(of_document.map(|piece| pieces[piece as usize]))
        };
        let in_val: HashSet<Fingerprint> = plans
            .iter()
            .filter(|plan| self.train_in_val && plan.split == "val")
            .flat_map(|plan| plan.documents(0..plan.len()))
            .map(|(dataset, document)| fingerprint(dataset, document))
            .collect();
        for plan in plans {
            let mut seen = HashSet::new();
            for part in &mut plan.parts {
                let (dataset, removed) = (part.dataset, &mut part.removed);
                part.indices.retain(|document| {
                    let fingerprint = fingerprint(dataset, *document);
                    let reason = if plan.split == "train" && in_val.contains(&fingerprint) {
                        Reason::InVal
                    } else if self.repeated && !seen.insert(fingerprint) {
                        Reason::Duplicate
                    } else {
                        return true;
                    };
                    *removed.entry(reason).or_default() += 1;
                    false
                });
                for (reason, n) in removed {
                    let reason = reason.name();
                    print::note(format!(
                        "{}: {n} left out of `{}` ({reason})",
                        part.name, plan.split
                    ));
                }
            }
        }
    }
}
