//! A document's tokens and roles -> how much each token counts in the loss.
//!
//! A weight belongs to the token that is predicted, and hangs on its own role: the header and the end of an assistant's
//! turn are the assistant's tokens too, and count unless the configuration says otherwise. Where the parts of a turn
//! begin and end is seen in the token ids of ChatML's markers, never searched for in text.

use shards::Role;
use shards::reader::Document;

/// How much each token counts.
#[derive(Clone, Debug, Default)]
pub struct Learning {
    /// The weight of each role's tokens, by the role's number.
    pub weights: [f32; Role::ALL.len()],
    /// Parts of turns that do not count; none where all parts do.
    pub left_out: Option<LeftOut>,
}

/// Which parts of a turn `<|im_start|>role\ntext<|im_end|>\n` do not count, and how they are recognised.
#[derive(Clone, Debug)]
pub struct LeftOut {
    /// The id of `<|im_start|>`.
    pub turn_start: u32,
    /// The id of `<|im_end|>`.
    pub turn_end: u32,
    /// For each id, whether its text has a newline: the first such token after `<|im_start|>` ends the header.
    pub newline: Vec<bool>,
    /// Leave out `<|im_start|>role\n`.
    pub header: bool,
    /// Leave out `<|im_end|>` and what follows it.
    pub end: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Header,
    Text,
    End,
}

impl Learning {
    /// Every token's weight. The first token's is 0, whatever its role: nothing predicts it.
    pub fn weights(&self, document: Document<'_>) -> Vec<f32> {
        let mut weights: Vec<f32> = document
            .roles()
            .map(|role| self.weights.get(role as usize).copied().unwrap_or(0.0))
            .collect();
        if let Some(left_out) = &self.left_out {
            left_out.clear(document, &mut weights);
        }
        if let Some(first) = weights.first_mut() {
            *first = 0.0;
        }
        weights
    }
}

impl LeftOut {
    fn clear(&self, document: Document<'_>, weights: &mut [f32]) {
        // A marker's string inside a text is that marker's token as well, so a header only begins where a turn can.
        let mut part = Part::End;
        for (token, weight) in document.tokens().zip(weights) {
            if token == self.turn_start && part == Part::End {
                part = Part::Header;
            } else if token == self.turn_end {
                part = Part::End;
            }
            if (part == Part::Header && self.header) || (part == Part::End && self.end) {
                *weight = 0.0;
            }
            let ends_header = self.newline.get(token as usize).copied().unwrap_or(false);
            if part == Part::Header && ends_header {
                part = Part::Text;
            }
        }
    }
}
