//! A piece -> its tokens, with roles: each turn on its own, so that no token crosses the border between two roles.
//!
//! What comes out is a *record*, bytes that can wait anywhere for their turn:
//!
//! | bytes | content |
//! |---|---|
//! | u32 × 4 | slot, tokens, turns, bytes of text |
//! | 5 × turns | role, u32: tokens of the turn |
//! | | the tokens, as they are stored in shards |
//! | | the text, where it is asked for |

use shards::{Format, Role};
use text::{Encoder, Tokenizer, chatml};

use crate::piece::{self, Form, Piece, Turn};

const HEAD: usize = 16;
const RUN: usize = 5;

/// Encodes piece after piece.
#[derive(Debug)]
pub struct PieceEncoder<'t> {
    encoder: Encoder<'t>,
    format: Format,
    with_text: bool,
    turn: String,
    ids: Vec<u32>,
    text: Vec<u8>,
}

/// An encoded piece.
#[derive(Debug, Clone, Copy)]
pub struct Record<'b> {
    /// Where it goes.
    pub slot: u32,
    /// How many tokens it has.
    pub n_tokens: usize,
    /// The tokens, as they are stored.
    pub tokens: &'b [u8],
    /// The text, if it was asked for.
    pub text: &'b [u8],
    runs: &'b [u8],
}

impl<'t> PieceEncoder<'t> {
    /// An encoder for a thread.
    #[must_use]
    pub fn new(tokenizer: &'t Tokenizer, format: Format, with_text: bool) -> Self {
        let (turn, ids, text) = (String::new(), Vec::new(), Vec::new());
        Self { encoder: tokenizer.encoder(), format, with_text, turn, ids, text }
    }

    /// Appends the record of a piece. The wording is what lies around a turn that is worded; `{}` stands for its text.
    ///
    /// # Panics
    ///
    /// If the piece has a worded turn and there is no wording.
    pub fn encode(&mut self, packed: &[u8], slot: u32, wording: Option<&str>, out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + HEAD, 0);
        self.ids.clear();
        self.text.clear();
        let (mut n_turns, mut before) = (0, 0);
        for turn in piece::turns(packed) {
            self.turn.clear();
            match turn.form {
                Form::Turn => chatml::write_turn(turn.role, turn.text, &mut self.turn),
                Form::Worded => {
                    let wording = wording.expect("a wording was drawn for each worded document");
                    let text = wording.replacen("{}", turn.text, 1);
                    chatml::write_turn(turn.role, &text, &mut self.turn);
                }
                Form::Verbatim => self.turn.push_str(turn.text),
            }
            self.encoder.encode(&self.turn, &mut self.ids);
            if self.with_text {
                self.text.extend_from_slice(self.turn.as_bytes());
            }
            out.push(turn.role.id());
            out.extend(narrow(self.ids.len() - before).to_le_bytes());
            before = self.ids.len();
            n_turns += 1;
        }
        self.format.write_tokens(&self.ids, out);
        out.extend_from_slice(&self.text);
        let head = [slot, narrow(self.ids.len()), n_turns, narrow(self.text.len())];
        for (place, number) in out[start..start + HEAD].chunks_exact_mut(4).zip(head) {
            place.copy_from_slice(&number.to_le_bytes());
        }
    }
}

/// Appends a record that holds the piece itself, with its wording, for [`crate::whole`].
///
/// # Panics
///
/// If the piece has a worded turn and there is no wording.
pub fn pass_on(packed: &[u8], slot: u32, wording: Option<&str>, out: &mut Vec<u8>) {
    let mut piece = Piece::default();
    for turn in piece::turns(packed) {
        match turn.form {
            Form::Turn | Form::Verbatim => piece.push(turn),
            Form::Worded => {
                let wording = wording.expect("a wording was drawn for each worded document");
                let text = wording.replacen("{}", turn.text, 1);
                piece.push(Turn { form: Form::Turn, text: &text, ..turn });
            }
        }
    }
    for number in [slot, 0, 0, narrow(piece.bytes().len())] {
        out.extend(number.to_le_bytes());
    }
    out.extend(piece.bytes());
}

/// Gives a record another slot.
///
/// # Panics
///
/// If the bytes are not a record.
pub fn set_slot(record: &mut [u8], slot: u32) {
    record[..4].copy_from_slice(&slot.to_le_bytes());
}

impl<'b> Record<'b> {
    /// The record at the start of bytes, and its length.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn first(bytes: &'b [u8], format: Format) -> (Self, usize) {
        let number = |i: usize| {
            let number = bytes[4 * i..].first_chunk().expect("a record is whole");
            u32::from_le_bytes(*number)
        };
        let [n_tokens, n_turns, n_text] = [1, 2, 3].map(|i| number(i) as usize);
        let (runs, rest) = bytes[HEAD..].split_at(n_turns * RUN);
        let (tokens, rest) = rest.split_at(n_tokens * format.token_bytes());
        let record = Self { slot: number(0), n_tokens, tokens, text: &rest[..n_text], runs };
        (record, HEAD + runs.len() + tokens.len() + n_text)
    }

    /// The roles, and for how many tokens each of them holds.
    pub fn roles(&self) -> impl Iterator<Item = (Role, usize)> {
        self.runs.chunks_exact(RUN).map(|run| {
            let n = run[1..].first_chunk().expect("a run is five bytes");
            let role = Role::try_from(run[0]).expect("a role was written");
            (role, u32::from_le_bytes(*n) as usize)
        })
    }
}

fn narrow(n: usize) -> u32 {
    u32::try_from(n).expect("a piece has fewer than 2^32 bytes")
}
