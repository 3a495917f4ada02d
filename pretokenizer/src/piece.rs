//! A sample, packed: a few turns back to back, in the form in which they wait for the encoder.
//!
//! Every turn is encoded on its own, so a document may be put together from several pieces, in any order and even of
//! different rows: what a piece becomes does not depend on its neighbours.
//!
//! A piece is a row of turns, each of which is a byte that says who speaks and how, four bytes with the length, and the
//! text. Texts stand as the loader made them: the template is laid around them when they are encoded.

use sha2::{Digest, Sha256};
use shards::Role;
use text::chatml;

use crate::sample::Sample;

/// A packed sample.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Piece(Vec<u8>);

/// One of its turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn<'p> {
    /// Whose tokens it makes.
    pub role: Role,
    /// How it becomes text.
    pub form: Form,
    /// What is said.
    pub text: &'p str,
}

/// How a turn becomes text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// By the template.
    Turn,
    /// By the template, with the wording around it that was drawn for the document.
    Worded,
    /// As it is.
    Verbatim,
}

impl Piece {
    /// Packs a sample.
    #[must_use]
    pub fn of(sample: &Sample) -> Self {
        let mut piece = Self::default();
        match sample {
            Sample::Conversation(conversation) => {
                for (role, text) in chatml::turns(conversation) {
                    piece.push(Turn { role, form: Form::Turn, text });
                }
            }
            Sample::Worded { text, answer } => {
                piece.push(Turn { role: Role::User, form: Form::Worded, text });
                piece.push(Turn { role: Role::Assistant, form: Form::Turn, text: answer });
            }
            Sample::Text(role, text) => {
                piece.push(Turn { role: *role, form: Form::Verbatim, text });
            }
            Sample::PlainText(text) => {
                piece.push(Turn { role: Role::Context, form: Form::Verbatim, text });
            }
        }
        piece
    }

    /// Appends a turn.
    ///
    /// # Panics
    ///
    /// If the text has 4 GiB or more, which no row that was parsed has.
    pub fn push(&mut self, turn: Turn<'_>) {
        let length = u32::try_from(turn.text.len()).expect("a text of less than 4 GiB");
        self.0.reserve(5 + turn.text.len());
        self.0.push(packed_kind(turn.role, turn.form));
        self.0.extend(length.to_le_bytes());
        self.0.extend(turn.text.as_bytes());
    }

    /// The packed bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Tells pieces, or documents made of them, apart without keeping their texts: 16 bytes of a SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// The fingerprint of these bytes, one behind the other.
    pub fn of(parts: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Self {
        let mut sha = Sha256::new();
        parts.into_iter().for_each(|part| sha.update(part));
        Self(*sha.finalize().first_chunk().expect("32 bytes are more than 16"))
    }
}

impl AsRef<[u8]> for Fingerprint {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Sample> for Piece {
    fn from(sample: Sample) -> Self {
        Self::of(&sample)
    }
}

/// Who speaks and how, as a byte whose highest bit is free.
pub(crate) fn packed_kind(role: Role, form: Form) -> u8 {
    role.id() | (form as u8) << 4
}

pub(crate) fn unpacked_kind(kind: u8) -> (Role, Form) {
    let role = Role::try_from(kind & 0xf).expect("a role was packed");
    (role, [Form::Turn, Form::Worded, Form::Verbatim][usize::from(kind >> 4)])
}

/// The turns of a packed piece.
pub fn turns(mut packed: &[u8]) -> impl Iterator<Item = Turn<'_>> {
    std::iter::from_fn(move || {
        let (&[kind, a, b, c, d], rest) = packed.split_first_chunk()?;
        let (text, rest) = rest.split_at(u32::from_le_bytes([a, b, c, d]) as usize);
        packed = rest;
        let (role, form) = unpacked_kind(kind);
        Some(Turn { role, form, text: std::str::from_utf8(text).expect("a text was packed") })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        let conversation = Sample::dialogue([("q", ""), ("é", "a\n")])
            .with_system(Some("s".into()))
            .with_context("c");
        let worded = Sample::Worded { text: "t".into(), answer: "a".into() };
        let text = Sample::PlainText("x".into());
        let shown: Vec<_> = [conversation, worded, text]
            .map(|sample| {
                let piece = Piece::of(&sample);
                let turns = turns(piece.bytes());
                turns
                    .map(|it| format!("{} {:?} {:?}", it.role, it.form, it.text))
                    .collect::<Vec<_>>()
            })
            .concat();
        expect_test::expect![[r#"
            system Turn "s"
            user Turn "q"
            context Turn "c"
            assistant Turn ""
            user Turn "é"
            context Turn "c"
            assistant Turn "a\n"
            user Worded "t"
            assistant Turn "a"
            context Verbatim "x""#]]
        .assert_eq(&shown.join("\n"));
    }
}
