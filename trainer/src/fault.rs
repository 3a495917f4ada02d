//! Mistakes that tests plant, to see that tests find them.
//!
//! Each is one that some trainer was shipped with, or one step away from it. A release build has none of them.

use std::sync::atomic::{AtomicU8, Ordering};

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    /// The gradient's norm counts what all ranks of a tensor group have as often as they have it.
    CopiesCounted = 1,
    /// It counts what the first rank of a tensor group has only.
    OthersNotCounted,
    /// It is that of one rank.
    OwnNorm,
    /// It counts padding.
    PaddingCounted,
    /// The gradients of norms are not added up over the places that other ranks have.
    NormsNotSummed,
    /// Ranks' gradients are averaged and not added up.
    Mean,
    /// Gradients are divided by the number of micro-batches once more.
    DividedTwice,
    /// An update without labels divides by their number.
    DividedByZero,
    /// Dropout draws for the places of a rank, as if they were the first.
    OwnMask,
    /// Weights of before the update are taken for gathered.
    StaleWeights,
    /// A buffer that another unit was gathered into is not filled again.
    OtherUnit,
    /// Gradients are rounded to bfloat16 before they are added up.
    RoundedSum,
    /// All ranks of a tensor group read the first one's part of a matrix that is cut by columns.
    FirstPart,
    /// A rank writes its part of a checkpoint as if it were the first's.
    FirstBox,
    /// A checkpoint's moments are not read.
    NoMoments,
    /// The copy that the model computes with is not made anew.
    NotRefreshed,
    /// What goes back through a sum is cut out and not added up.
    CutNotSummed,
    /// What goes back through a gather of the same on all ranks is added up and not cut out.
    SummedNotCut,
    /// Label smoothing takes a rank's part of the vocabulary for all of it.
    OwnVocabulary,
    /// A label is taken for a token of every rank.
    LabelEverywhere,
    /// Rows that belong to no token take part in the softmax.
    RowsWithoutToken,
    /// Of places that cannot be shared evenly, the last go lost.
    PlacesLost,
    /// Of several micro-batches under way in a stage, the one that went last comes back first.
    LatestComesBack,
    /// What goes back to another stage is divided by the number of stages.
    ScaledByStages,
    /// A tied matrix's gradient is not added up over the stages that have the embedding and the head.
    TiedNotSummed,
    /// The gradient's norm counts a tied matrix on both of these stages.
    TiedCounted,
    /// And both of them write it.
    TiedWrittenTwice,
    /// What stages found in an evaluation is not brought together.
    OwnEvaluation,
    /// Gradients are added up in each group of ranks that shards them, and not over the groups.
    ReplicasNotSummed,
    /// The gradient's norm counts every such group's.
    ReplicasCounted,
    /// And every such group writes all of a checkpoint.
    ReplicasWritten,
}

static PLANTED: AtomicU8 = AtomicU8::new(0);

/// From now on, this process makes this mistake.
#[cfg(debug_assertions)]
pub fn plant(fault: Fault) {
    PLANTED.store(fault as u8, Ordering::Relaxed);
}

/// Whether to make this mistake.
pub(crate) fn planted(fault: Fault) -> bool {
    cfg!(debug_assertions) && PLANTED.load(Ordering::Relaxed) == fault as u8
}
