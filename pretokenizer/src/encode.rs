//! A piece -> its tokens, with roles: each turn on its own, so that no token crosses the border between two roles.
//!
//! What comes out is a *record*, bytes that can wait anywhere for their turn:
//!
//! | bytes | content |
//! |---|---|
//! | u32 × 6 | slot, tokens, turns, bytes of text, special strings in it, the first of these |
//! | 13 × turns | role and form (see [`crate::piece`]), u32 × 3: tokens of the turn, bytes of its text, special strings in it |
//! | | the tokens, as they are stored in shards |
//! | | the text, where it is asked for |

use std::ops::Range;

use shards::{Format, Role};
use text::{Encoder, Tokenizer, chatml};

use crate::filter::SpecialStrings;
use crate::piece::{self, Form, Piece, Turn};

const HEAD: usize = 24;
const TURN: usize = 13;
/// Beside role and form of a turn: it was cut.
const CUT: u8 = 0x80;

/// Encodes piece after piece.
#[derive(Debug)]
pub struct PieceEncoder<'t> {
    tokenizer: &'t Tokenizer,
    encoder: Encoder<'t>,
    format: Format,
    with_text: bool,
    escapes: bool,
    cut: Option<usize>,
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
    /// Strings of special tokens in what its turns say.
    pub special: SpecialStrings,
    turns: &'b [u8],
}

/// What an encoded piece has of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodedTurn {
    /// Whose tokens they are.
    pub role: Role,
    /// How it became text.
    pub form: Form,
    /// Whether it was longer, and was cut.
    pub is_cut: bool,
    /// Its tokens.
    pub n_tokens: usize,
    /// Bytes of its text, if it was asked for.
    pub n_text: usize,
    /// Strings of special tokens in what it says.
    pub n_special: u32,
}

impl<'t> PieceEncoder<'t> {
    /// An encoder for a thread. If it escapes, nothing that a turn says becomes a special token; texts without turns are cut to
    /// so many tokens.
    #[must_use]
    pub fn new(
        tokenizer: &'t Tokenizer,
        format: Format,
        with_text: bool,
        escapes: bool,
        cut: Option<usize>,
    ) -> Self {
        let (turn, ids, text) = (String::new(), Vec::new(), Vec::new());
        let encoder = tokenizer.encoder();
        Self { tokenizer, encoder, format, with_text, escapes, cut, turn, ids, text }
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
        let mut special = SpecialStrings::default();
        for turn in piece::turns(packed) {
            self.turn.clear();
            let said = match turn.form {
                Form::Turn => self.write_turn(turn.role, turn.text),
                Form::Worded => {
                    let wording = wording.expect("a wording was drawn for each worded document");
                    self.write_turn(turn.role, &wording.replacen("{}", turn.text, 1))
                }
                Form::Verbatim => {
                    self.turn.push_str(turn.text);
                    0..turn.text.len()
                }
            };
            let mut in_turn = special_strings(self.tokenizer, turn.text);
            if self.escapes {
                self.encoder.encode_around(&self.turn, said, &mut self.ids);
            } else {
                self.encoder.encode(&self.turn, &mut self.ids);
            }
            let mut kind = piece::packed_kind(turn.role, turn.form);
            if let Some(cut) = self.cut
                && turn.form == Form::Verbatim
                && self.ids.len() - before > cut
            {
                self.ids.truncate(before + cut);
                self.turn.truncate(text_of(self.tokenizer, &self.ids[before..], turn.text));
                in_turn = special_strings(self.tokenizer, &self.turn);
                kind |= CUT;
            }
            special = special.and(in_turn);
            let text_before = self.text.len();
            if self.with_text {
                self.text.extend_from_slice(self.turn.as_bytes());
            }
            out.push(kind);
            let (n_ids, n_text) = (self.ids.len() - before, self.text.len() - text_before);
            for number in [narrow(n_ids), narrow(n_text), in_turn.n] {
                out.extend(number.to_le_bytes());
            }
            before = self.ids.len();
            n_turns += 1;
        }
        self.format.write_tokens(&self.ids, out);
        out.extend_from_slice(&self.text);
        let (n_ids, n_text) = (narrow(self.ids.len()), narrow(self.text.len()));
        let head = [slot, n_ids, n_turns, n_text, special.n, special.first];
        for (place, number) in out[start..start + HEAD].chunks_exact_mut(4).zip(head) {
            place.copy_from_slice(&number.to_le_bytes());
        }
    }

    /// Writes a turn, and tells where in it stands what is said.
    fn write_turn(&mut self, role: Role, text: &str) -> Range<usize> {
        chatml::write_turn(role, text, &mut self.turn);
        let start = chatml::TURN_START.len() + role.name().len() + 1;
        start..start + text.len()
    }
}

/// How much of a text its first tokens are of, as far as they tell.
pub(crate) fn text_of(tokenizer: &Tokenizer, ids: &[u32], text: &str) -> usize {
    let said = tokenizer.decode(ids);
    let same = said.bytes().zip(text.bytes()).take_while(|(a, b)| a == b).count();
    (0..=same).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0)
}

pub(crate) fn special_strings(tokenizer: &Tokenizer, text: &str) -> SpecialStrings {
    let one = |token| SpecialStrings { n: 1, first: narrow(token) };
    tokenizer.special_strings(text).map(one).fold(SpecialStrings::default(), SpecialStrings::and)
}

/// Appends a record that holds the piece itself, with its wording, for [`crate::whole`].
///
/// # Panics
///
/// If the piece has a worded turn and there is no wording.
pub fn pass_on(
    tokenizer: &Tokenizer,
    packed: &[u8],
    slot: u32,
    wording: Option<&str>,
    out: &mut Vec<u8>,
) {
    let mut piece = Piece::default();
    let mut special = SpecialStrings::default();
    for turn in piece::turns(packed) {
        special = special.and(special_strings(tokenizer, turn.text));
        match turn.form {
            Form::Turn | Form::Verbatim => piece.push(turn),
            Form::Worded => {
                let wording = wording.expect("a wording was drawn for each worded document");
                let text = wording.replacen("{}", turn.text, 1);
                piece.push(Turn { form: Form::Turn, text: &text, ..turn });
            }
        }
    }
    for number in [slot, 0, 0, narrow(piece.bytes().len()), special.n, special.first] {
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
        let (turns, rest) = bytes[HEAD..].split_at(n_turns * TURN);
        let (tokens, rest) = rest.split_at(n_tokens * format.token_bytes());
        let special = SpecialStrings { n: number(4), first: number(5) };
        let text = &rest[..n_text];
        let record = Self { slot: number(0), n_tokens, tokens, text, special, turns };
        (record, HEAD + turns.len() + tokens.len() + n_text)
    }

    /// Its turns. A piece that waits for an encoder ([`pass_on`]) has none here.
    pub fn turns(&self) -> impl Iterator<Item = EncodedTurn> {
        self.turns.chunks_exact(TURN).map(|turn| {
            let number = |i: usize| {
                let number = turn[1 + 4 * i..].first_chunk().expect("a turn is whole");
                u32::from_le_bytes(*number)
            };
            let (role, form) = piece::unpacked_kind(turn[0] & !CUT);
            EncodedTurn {
                role,
                form,
                is_cut: turn[0] & CUT != 0,
                n_tokens: number(0) as usize,
                n_text: number(1) as usize,
                n_special: number(2),
            }
        })
    }
}

fn narrow(n: usize) -> u32 {
    u32::try_from(n).expect("a piece has fewer than 2^32 bytes")
}
