//! Ids -> where in their text each of them ends, and whose it is.
//!
//! An id's part of the text reaches from the end of the one before it to its own end, so that the parts leave nothing out;
//! the bytes of one character share it. An id of which any part is the assistant's is the assistant's, as transformers'
//! `return_assistant_tokens_mask` has it; any other id that stands in two spans has the first one's role.

use shards::Role;

use crate::model::{BLANK, Kind, Model};

/// Gives ids roles, from left to right.
#[derive(Debug)]
pub(crate) struct RoleReader<'s> {
    spans: &'s [(usize, Role)],
    /// Where the last id ended.
    last_end: usize,
}

impl<'s> RoleReader<'s> {
    pub(crate) fn new(spans: &'s [(usize, Role)]) -> Self {
        Self { spans, last_end: 0 }
    }

    /// The role of the next id, which ends here.
    pub(crate) fn role_to(&mut self, start: usize, end: usize) -> Role {
        // Some tokenizers count a blank in front as no part of an id; and the bytes of a character all have its place.
        let start = if end > self.last_end { self.last_end } else { start };
        self.last_end = self.last_end.max(end);
        while let [(first_end, _), _, ..] = self.spans
            && *first_end <= start
        {
            self.spans = &self.spans[1..];
        }
        let first = self.spans.first().map_or(Role::Context, |(_, role)| *role);
        let others = self.spans.windows(2).take_while(|pair| pair[0].0 < end);
        let any =
            others.fold(first == Role::Assistant, |any, pair| any || pair[1].1 == Role::Assistant);
        if any { Role::Assistant } else { first }
    }
}

/// Where each id of a text ends, for ids that a SentencePiece model made of it.
pub(crate) fn ends<'i>(
    model: &'i Model,
    text: &'i str,
    ids: &'i [u32],
) -> impl Iterator<Item = usize> + 'i {
    let mut place = 0;
    let mut dummy = model.dummy_prefix;
    ids.iter().map(move |&id| {
        let piece = &model.pieces[id as usize];
        let mut characters = 0;
        match piece.kind {
            Kind::Byte => place += 1,
            Kind::Unknown => characters = 1,
            _ => {
                // The blank in front of the text is none of its own.
                let own = if dummy { piece.text.strip_prefix(BLANK) } else { None };
                characters = own.unwrap_or(&piece.text).chars().count();
            }
        }
        dummy = false;
        // Within a character that is written as bytes there are none to count.
        let rest = if characters > 0 { text.get(place..) } else { None };
        place +=
            rest.map_or(0, |rest| rest.chars().take(characters).map(char::len_utf8).sum::<usize>());
        place
    })
}
