//! The wordings that are drawn for the documents of a split.
//!
//! The reference draws when it writes a document, from Python's stream, and only for documents that have a choice.

use std::ops::Range;

use crate::mix::{Divided, Plan};
use crate::streams::Streams;

/// Wordings of a stretch of a split.
#[derive(Debug, Default)]
pub struct Wordings(Vec<Drawn>);

/// What was drawn for documents that stand one after the other, all of one dataset.
#[derive(Debug, Clone)]
pub struct Drawn {
    /// The documents' places in the split.
    pub places: Range<usize>,
    wordings: &'static [&'static str],
    choices: Vec<u8>,
}

impl Drawn {
    /// What was drawn for one of them, counted from the first.
    #[must_use]
    pub fn of(&self, document: usize) -> &'static str {
        self.wordings[usize::from(self.choices[document])]
    }
}

impl Wordings {
    /// Draws for these places of a split, in order.
    ///
    /// # Panics
    ///
    /// If a dataset has more than 256 wordings.
    pub fn draw(
        plan: &Plan,
        places: Range<usize>,
        datasets: &[Divided],
        streams: &mut Streams,
    ) -> Self {
        let mut all = Vec::new();
        for (part, places) in plan.stretches(places) {
            let wordings = datasets[part.dataset].loaded.wordings;
            if !wordings.is_empty() {
                let draw = |_| streams.python.below(wordings.len()).try_into();
                let choices: Result<_, _> = places.clone().map(draw).collect();
                let choices = choices.expect("no dataset has more than 256 wordings");
                all.push(Drawn { places, wordings, choices });
            }
        }
        Self(all)
    }

    /// Those that were drawn for these places, which are all of one dataset; `None` if it has no wordings.
    #[must_use]
    pub fn of(&self, places: &Range<usize>) -> Option<Drawn> {
        let drawn = self.0.iter().find(|drawn| drawn.places.contains(&places.start))?;
        let first = places.start - drawn.places.start;
        let choices = drawn.choices[first..first + places.len()].to_vec();
        Some(Drawn { places: places.clone(), wordings: drawn.wordings, choices })
    }
}
