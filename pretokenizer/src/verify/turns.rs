//! What ChatML looks like in ids: how a turn begins and ends.
//!
//! From the tokenizer where it is at hand; otherwise learned from the documents themselves, whose turns then must at
//! least all look alike.

use shards::{PairReader, Role};
use text::Tokenizer;
use text::chatml::{TURN_END, TURN_START};

/// Documents that are looked at to learn how turns begin and end.
const LEARNED_FROM: usize = 1000;

/// The ids around a turn's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Turns {
    /// Opens a turn.
    pub(crate) start: u32,
    /// Closes a turn: `<|im_end|>` and the line end.
    pub(crate) end: Vec<u32>,
    /// What follows the start, for each role; empty where that is not known.
    headers: [Vec<u32>; Role::ALL.len()],
}

impl Turns {
    /// As the tokenizer encodes them.
    pub(crate) fn of_tokenizer(tokenizer: &Tokenizer) -> Option<Self> {
        let start = tokenizer.special_id(TURN_START)?;
        tokenizer.special_id(TURN_END)?;
        let mut encoder = tokenizer.encoder();
        let mut encode = |text: &str| {
            let mut ids = Vec::new();
            encoder.encode(text, &mut ids);
            ids
        };
        // What follows may merge with the header's line end: the header is what all have in common.
        let headers = Role::ALL.map(|role| {
            ["", "\n", " ", "x", TURN_END]
                .map(|text| encode(&format!("{role}\n{text}")))
                .into_iter()
                .reduce(|a, b| {
                    a.into_iter().zip(b).take_while(|(a, b)| a == b).map(|(a, _)| a).collect()
                })
                .unwrap_or_default()
        });
        Some(Self { start, end: encode(&format!("{TURN_END}\n")), headers })
    }

    /// As the documents have them: the end of the first one, and the id that most often follows the start where a
    /// role begins. `None` if no document has a turn.
    pub(crate) fn learned(start: u32, end: u32, splits: &[&PairReader]) -> Option<Self> {
        let documents = splits.iter().flat_map(|split| (0..split.len()).map(|i| split.document(i)));
        let mut tail = None;
        let mut counts: [Vec<(u32, u64)>; Role::ALL.len()] = Default::default();
        for document in documents.take(LEARNED_FROM) {
            let tokens: Vec<u32> = document.tokens().collect();
            let roles: Vec<u32> = document.roles().collect();
            if tail.is_none() && tokens.first() == Some(&start) {
                tail = tokens.iter().rposition(|id| *id == end).map(|at| tokens[at..].to_vec());
            }
            for i in 1..tokens.len() {
                let begins = i == 1 || roles[i - 1] != roles[i - 2];
                if begins
                    && tokens[i - 1] == start
                    && let Some(counts) = counts.get_mut(roles[i - 1] as usize)
                {
                    match counts.iter_mut().find(|(id, _)| *id == tokens[i]) {
                        Some((_, n)) => *n += 1,
                        None => counts.push((tokens[i], 1)),
                    }
                }
            }
        }
        let headers = counts.map(|counts| {
            counts.into_iter().max_by_key(|(_, n)| *n).map(|(id, _)| id).into_iter().collect()
        });
        Some(Self { start, end: tail?, headers })
    }

    /// The role whose header stands here.
    pub(crate) fn role_of(&self, tokens: &[u32]) -> Option<Role> {
        Role::ALL.into_iter().find(|role| {
            let header = &self.headers[usize::from(role.id())];
            !header.is_empty() && tokens.starts_with(header)
        })
    }

    /// Whether the header of this role stands here, or is not known.
    pub(crate) fn is_of(&self, role: Role, tokens: &[u32]) -> bool {
        tokens.starts_with(&self.headers[usize::from(role.id())])
    }
}
