//! Ids back to text, all at once or as they are sampled.
//!
//! A special token is its string. Between special tokens (and at the start) stands a segment: the texts of its pieces
//! joined, `▁` for a blank, byte pieces as bytes, and one leading blank - the one that encoding put there - taken off.
//! So `decode(encode(text)) == text` for every text without U+2581, which is itself a blank to SentencePiece.
//!
//! Bytes need not be whole characters: a model may sample any of them. What is no UTF-8 becomes U+FFFD, as
//! [`String::from_utf8_lossy`] does it. While streaming, the start of a character waits for its end: what
//! [`Decoder::push`] returns is final, and joined together with [`Decoder::finish`] it is what decoding at once gives.

use std::mem;

use crate::model::{BLANK, Kind, Model};
use crate::special::SpecialTokens;

/// Decodes ids one by one.
#[derive(Debug)]
pub(crate) struct SentencePieceDecoder<'t> {
    model: &'t Model,
    special: &'t SpecialTokens,
    /// Bytes that may yet become a character.
    pending: Vec<u8>,
    at_segment_start: bool,
}

impl<'t> SentencePieceDecoder<'t> {
    pub(crate) fn new(model: &'t Model, special: &'t SpecialTokens) -> Self {
        Self { model, special, pending: Vec::new(), at_segment_start: true }
    }

    /// The text that this id completes; an id outside the vocabulary has none.
    pub(crate) fn push(&mut self, id: u32) -> String {
        if let Some(token) = self.special.token(id) {
            self.at_segment_start = true;
            return self.finish() + token;
        }
        let Some(piece) = self.model.pieces.get(id as usize) else { return String::new() };
        let at_start = mem::replace(&mut self.at_segment_start, false);
        if piece.kind == Kind::Byte {
            let byte = self.model.byte_ids.iter().position(|&it| it == id);
            self.pending.push(
                byte.and_then(|it| u8::try_from(it).ok()).expect("a byte piece is one of 256"),
            );
        } else {
            let text = piece.text.replace(BLANK, " ");
            let prefix = if at_start && self.model.dummy_prefix { " " } else { "" };
            self.pending.extend_from_slice(text.strip_prefix(prefix).unwrap_or(&text).as_bytes());
        }
        self.take_whole_characters()
    }

    /// What still waits for the rest of a character, which does not come.
    pub(crate) fn finish(&mut self) -> String {
        String::from_utf8_lossy(&mem::take(&mut self.pending)).into_owned()
    }

    fn take_whole_characters(&mut self) -> String {
        let mut text = String::new();
        let mut rest = self.pending.as_slice();
        while let Err(error) = str::from_utf8(rest) {
            // Without a length, the bytes at the end are the start of a character.
            let Some(n_wrong) = error.error_len() else {
                rest = &rest[..error.valid_up_to()];
                break;
            };
            let n_taken = error.valid_up_to() + n_wrong;
            text.push_str(&String::from_utf8_lossy(&rest[..n_taken]));
            rest = &rest[n_taken..];
        }
        text.push_str(str::from_utf8(rest).expect("the loop ends at valid text"));
        let n_taken = rest.as_ptr() as usize + rest.len() - self.pending.as_ptr() as usize;
        self.pending.drain(..n_taken);
        text
    }
}
