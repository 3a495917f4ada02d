//! From a model to [`Rules`]: which pairs of symbols merge, and the premises of the fast path.
//!
//! # One pair per piece
//! SentencePiece merges any two neighbours whose text together is a piece, so a piece of five characters could come
//! from four pairs. In fact it comes from one. Say piece P has just been made by a merge somewhere in a text. No merge
//! before crossed the ends of its stretch, or P would not be one symbol now; so within the stretch the merges came as
//! they come in the text P alone, the last one included. Hence P is only ever made from the two symbols that are
//! the state before last of encoding P itself, and a piece that does not encode to itself (CodeLlama has five) never
//! appears. Half of the pairs go, and with them half of the table that a miss has to look into.
//!
//! That state is found by encoding P with the merges into shorter pieces alone: the merge into P needs the whole
//! text, so nothing else is missing, and P can be made exactly if two symbols are left.

use crate::first_round;
use crate::model::{BLANK, Kind, Model};
use crate::rules::{Characters, Merge, Rank, Rules, Symbol, UNKNOWN};
use crate::scan::{Scan, Token};

/// The rules of a model, and its pieces as the fast path sees them.
#[derive(Debug)]
pub(crate) struct Learned {
    pub(crate) rules: Rules,
    /// The pieces that texts are made of: the characters, and what merges make.
    pub(crate) pieces: Vec<Learnt>,
    /// Whether no piece scores higher than one that it is made from.
    pub(crate) scores_fall: bool,
}

/// A piece that can occur.
#[derive(Debug)]
pub(crate) struct Learnt {
    pub(crate) symbol: Symbol,
    pub(crate) score: f32,
    /// In blank form.
    pub(crate) text: String,
}

impl Learned {
    /// Learns the rules, or says what in the model forbids it.
    pub(crate) fn from_model(model: &Model) -> Result<Self, String> {
        if model.pieces.len() >= usize::from(UNKNOWN) {
            return Err(format!("{} pieces do not fit 16 bits", model.pieces.len()));
        }
        let mut ranks = Vec::with_capacity(model.pieces.len());
        let mut order = Vec::with_capacity(model.pieces.len());
        for (symbol, piece) in (0u16..).zip(&model.pieces) {
            match piece.kind {
                Kind::Normal => {}
                Kind::Control | Kind::Byte if piece.text.chars().nth(1).is_some() => continue,
                Kind::Unknown => continue,
                kind => return Err(format!("piece `{}` has type {kind:?}", piece.text)),
            }
            // `Seams` looks at two pieces at a time.
            if piece.text.len() > first_round::MAX_BYTES / 2 {
                let (n, most) = (piece.text.len(), first_round::MAX_BYTES / 2);
                return Err(format!("a piece has {n} bytes, more than {most}"));
            }
            if piece.text.contains(' ') {
                return Err(format!("piece `{}` holds a blank that is not `{BLANK}`", piece.text));
            }
            ranks.push(rank_key(piece.score));
            order.push((piece.text.chars().count(), symbol));
        }
        order.sort_unstable();
        ranks.sort_unstable();
        ranks.dedup();

        let text = |symbol: Symbol| model.pieces[usize::from(symbol)].text.replace(BLANK, " ");
        let n_characters = order.partition_point(|&(length, _)| length == 1);
        let mut characters = Characters::default();
        for &(_, symbol) in &order[..n_characters] {
            characters.insert(text(symbol).chars().next().expect("a piece is not empty"), symbol);
        }
        if !order[..n_characters].iter().any(|&(_, symbol)| text(symbol) == " ") {
            return Err(format!("`{BLANK}` is no piece"));
        }
        let mut rules = Rules::new(characters, order.len() - n_characters);
        let mut pieces = Vec::with_capacity(order.len());
        let mut scan = Scan::new();
        // That of a character is the first, since it is made from nothing.
        let mut rank_of: Vec<Rank> = vec![0; model.pieces.len()];
        let (mut meetings, mut scores_fall) = (Vec::new(), true);
        for (length, symbol) in order {
            let (text, score) = (text(symbol), model.pieces[usize::from(symbol)].score);
            if length > 1 {
                scan.merge(&rules, &text);
                let tokens: Vec<Token> = scan.tokens().collect();
                let &[Token { symbol: left, .. }, Token { symbol: right, start }] = &tokens[..]
                else {
                    continue;
                };
                if left == UNKNOWN || right == UNKNOWN {
                    return Err(format!(
                        "piece `{text}` is made from a character that is no piece"
                    ));
                }
                let rank = ranks.binary_search(&rank_key(score)).expect("every score has its rank");
                let rank = u16::try_from(rank).expect("there are no more ranks than pieces");
                rules.insert(left, right, Merge::new(rank, symbol));
                let bytes = text.as_bytes();
                if let &[left, right] = bytes {
                    rules.insert_ascii(left, right, Merge::new(rank, symbol));
                }
                meetings.push(([bytes[start as usize - 1], bytes[start as usize]], rank));
                scores_fall &= [left, right].iter().all(|&half| rank_of[usize::from(half)] <= rank);
                rank_of[usize::from(symbol)] = rank;
            }
            pieces.push(Learnt { symbol, score, text });
        }
        rules.set_soonest(meetings.into_iter());
        Ok(Self { rules, pieces, scores_fall })
    }
}

/// A number that is the lower the higher the score is. The bits of floats are ordered like integers, once those of
/// negative numbers are turned around.
fn rank_key(score: f32) -> u32 {
    let bits = score.to_bits();
    if bits >> 31 == 1 { bits } else { !bits & 0x7FFF_FFFF }
}
