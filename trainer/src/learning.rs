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

#[cfg(test)]
mod tests {
    use shards::reader::PairReader;
    use shards::{IndexKind, PairWriter};

    use super::*;

    /// A question, an answer with a marker's string in it, and a turn that is cut off: `<` opens a turn, `>` closes it.
    const TEXT: &str = "<u|q?>|<a|hi<!>|<a|";
    const ROLE: &str = "uuuuuuuaaaaaaaaaaaa";

    /// The weights as digits of ten.
    #[track_caller]
    fn check(weights: [f32; 4], leave_out: [bool; 2], expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let prefix = folder.path().join("one-train");
        let roles: Vec<Role> =
            ROLE.chars().map(|it| if it == 'u' { Role::User } else { Role::Assistant }).collect();
        let mut writer = PairWriter::create(&prefix, IndexKind::Mmap, 128).unwrap();
        writer.push(&TEXT.bytes().map(u32::from).collect::<Vec<_>>(), &roles).unwrap();
        writer.finish().unwrap();

        let [header, end] = leave_out;
        let left_out = LeftOut {
            turn_start: u32::from(b'<'),
            turn_end: u32::from(b'>'),
            newline: (0..128).map(|id| id == u32::from(b'|')).collect(),
            header,
            end,
        };
        let learning = Learning { weights, left_out: Some(left_out) };
        let shard = PairReader::open(&prefix).unwrap();
        let found = learning.weights(shard.document(0));
        let shown: String = found.iter().map(|it| format!("{:.0}", it * 9.0)).collect();
        assert_eq!(format!("{TEXT}\n{shown}"), format!("{TEXT}\n{expected}"));
    }

    #[test]
    fn header_and_end_are_the_assistants_own_unless_they_are_left_out() {
        let assistant = [0.0, 0.0, 1.0, 0.0];
        check(assistant, [false, false], "0000000999999999999");
        check(assistant, [true, false], "0000000000999999000");
        check(assistant, [false, true], "0000000999999900999");
        check(assistant, [true, true], "0000000000999900000");
    }

    #[test]
    fn a_role_has_its_own_weight_and_the_first_token_none() {
        check([1.0, 1.0 / 3.0, 1.0, 1.0], [false, false], "0333333999999999999");
    }
}
