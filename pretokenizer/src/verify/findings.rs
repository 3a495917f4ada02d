//! What is wrong with documents: one entry a kind, however often it is met.

use std::collections::BTreeMap;

use indicatif::HumanCount;

/// Places that are told of one kind.
const TOLD: usize = 3;

/// A kind of mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    BeyondVocabulary,
    NoRole,
    Start,
    End,
    Border,
    Header,
    InnerTurn,
}

/// Where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) document: usize,
    pub(crate) token: usize,
    pub(crate) found: String,
}

/// All that was found, by kind.
#[derive(Debug, Default)]
pub(crate) struct Findings(BTreeMap<Kind, (u64, Vec<Place>)>);

impl Findings {
    /// Counts one; what was found is put into words only if it will be told.
    pub(crate) fn add(
        &mut self,
        kind: Kind,
        document: usize,
        token: usize,
        found: impl FnOnce() -> String,
    ) {
        let (n, places) = self.0.entry(kind).or_default();
        *n += 1;
        if places.len() < TOLD {
            places.push(Place { document, token, found: found() });
        }
    }

    /// Joins what was found in later documents.
    pub(crate) fn append(&mut self, later: Self) {
        for (kind, (n_later, later)) in later.0 {
            let (n, places) = self.0.entry(kind).or_default();
            *n += n_later;
            places.extend(later);
            places.truncate(TOLD);
        }
    }

    /// Whether a kind was met.
    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.0.contains_key(&kind)
    }

    /// Takes a kind out: how often it was met, and where first.
    pub(crate) fn take(&mut self, kind: Kind) -> Option<(u64, Vec<Place>)> {
        self.0.remove(&kind)
    }

    /// A text for each kind, several lines long.
    pub(crate) fn told(&self, split: &str, vocab_size: Option<u32>) -> Vec<String> {
        self.0
            .iter()
            .map(|(kind, (n, places))| tell(*kind, *n, places, split, vocab_size))
            .collect()
    }
}

fn tell(kind: Kind, n: u64, places: &[Place], split: &str, vocab_size: Option<u32>) -> String {
    let what = match kind {
        Kind::BeyondVocabulary => {
            let size = HumanCount(vocab_size.unwrap_or_default().into());
            &*format!("token ids that are not below the vocabulary's {size}")
        }
        Kind::NoRole => "tokens whose role is none of 0 to 3",
        Kind::Start => "documents that do not begin with `<|im_start|>`",
        Kind::End => "documents that do not end with `<|im_end|>` and a line end",
        Kind::Border => "changes of the role elsewhere than between two turns",
        Kind::Header => "turns whose text names another role than their tokens have",
        Kind::InnerTurn => {
            "turns whose text names another role than their tokens, which go on with the turn before"
        }
    };
    let mut text = format!("{split}: {what}: {}", HumanCount(n));
    for Place { document, token, found } in places {
        let (document, token) = (HumanCount(*document as u64), HumanCount(*token as u64));
        text.push_str(&format!("\n  document {document}, token {token}: {found}"));
    }
    if n > places.len() as u64 {
        text.push_str("\n  ...");
    }
    text
}
