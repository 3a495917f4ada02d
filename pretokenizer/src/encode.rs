//! A sample -> the tokens of its document, each with its role.

use shards::Role;
use text::Encoder;

use crate::sample::Sample;

/// A document, as it goes into the shards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    /// Its token ids.
    pub tokens: Vec<u32>,
    /// The role of each of them.
    pub roles: Vec<Role>,
    /// Its text, where it is asked for.
    pub text: Option<String>,
}

impl Document {
    /// How many of its tokens the assistant's turns have, markers and header included.
    #[must_use]
    pub fn assistant_tokens(&self) -> usize {
        self.roles.iter().filter(|role| **role == Role::Assistant).count()
    }
}

/// A sample whose place in the output is known.
#[derive(Debug, Clone, Copy)]
pub struct Planned<'a> {
    /// The sample.
    pub sample: &'a Sample,
    /// Which of its wordings was drawn; 0 where there is none.
    pub wording: usize,
}

/// Encodes a sample: each turn on its own, so that no token crosses the border between two roles.
#[must_use]
pub fn document(planned: Planned<'_>, encoder: &mut Encoder<'_>, with_text: bool) -> Document {
    let mut document = Document::default();
    let segments = planned.sample.segments(planned.wording);
    for segment in &segments {
        encoder.encode(&segment.text, &mut document.tokens);
        document.roles.resize(document.tokens.len(), segment.role);
    }
    document.text = with_text.then(|| segments.into_iter().map(|segment| segment.text).collect());
    document
}
