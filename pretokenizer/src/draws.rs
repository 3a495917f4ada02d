//! What is drawn for the documents of a split when they are written.
//!
//! The reference draws when it comes to a document, and only for those that have a choice: wordings from Python's stream,
//! samples from numpy's.

use std::ops::Range;

use crate::documents::Documents;
use crate::mix::{Divided, Plan};
use crate::streams::Streams;

/// What was drawn for a stretch of a split.
#[derive(Debug, Default)]
pub struct Draws {
    wordings: Vec<DrawnWordings>,
    samples: Vec<DrawnSamples>,
}

/// The wordings of documents that stand one after the other, all of one dataset.
#[derive(Debug, Clone)]
pub struct DrawnWordings {
    /// The documents' places in the split.
    pub places: Range<usize>,
    wordings: &'static [&'static str],
    choices: Vec<u8>,
}

/// The samples of documents that stand one after the other, all of one dataset.
#[derive(Debug)]
struct DrawnSamples {
    places: Range<usize>,
    samples: Vec<[u32; 2]>,
}

impl DrawnWordings {
    /// What was drawn for one of them, counted from the first.
    #[must_use]
    pub fn of(&self, document: usize) -> &'static str {
        self.wordings[usize::from(self.choices[document])]
    }
}

impl Draws {
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
        let mut draws = Self::default();
        for (part, places) in plan.stretches(places) {
            let loaded = &datasets[part.dataset].loaded;
            let wordings = loaded.wordings;
            if !wordings.is_empty() {
                let draw = |_| streams.python.below(wordings.len()).try_into();
                let choices: Result<_, _> = places.clone().map(draw).collect();
                let choices = choices.expect("no dataset has more than 256 wordings");
                let places = places.clone();
                draws.wordings.push(DrawnWordings { places, wordings, choices });
            }
            if let Documents::Drawn(ranges) = &loaded.documents {
                let mut draw = |range: &Range<u32>| {
                    range.clone().nth(streams.numpy.below(range.len())).expect("a number below")
                };
                let documents = plan.documents(places.clone());
                let draw = |(_, document)| ranges[document as usize].each_ref().map(&mut draw);
                draws.samples.push(DrawnSamples { samples: documents.map(draw).collect(), places });
            }
        }
        draws
    }

    /// The wordings for these places, which are all of one dataset; `None` if it has no wordings.
    #[must_use]
    pub fn wordings(&self, places: &Range<usize>) -> Option<DrawnWordings> {
        let drawn = self.wordings.iter().find(|drawn| drawn.places.contains(&places.start))?;
        let first = places.start - drawn.places.start;
        let choices = drawn.choices[first..first + places.len()].to_vec();
        Some(DrawnWordings { places: places.clone(), wordings: drawn.wordings, choices })
    }

    /// The samples for each of these places, which are all of one dataset; empty where none are drawn.
    #[must_use]
    pub fn samples(&self, places: &Range<usize>) -> &[[u32; 2]] {
        let drawn = self.samples.iter().find(|drawn| drawn.places.contains(&places.start));
        drawn.map_or(&[], |drawn| {
            let first = places.start - drawn.places.start;
            &drawn.samples[first..first + places.len()]
        })
    }
}
