//! The fast path: a text is cut into parts, and parts are looked up.
//!
//! One stretch of some two thousand bytes after another goes through two phases. First all its parts are found, and
//! for each the key and the cache line in which its ids would be; then the lines are visited. Between the two, the
//! lines are on their way from memory, many at a time. A part that is not there is merged ([`crate::scan`], or
//! [`crate::seams`] for a long one) and kept.

#![expect(
    clippy::cast_possible_truncation,
    reason = "ids are below 2^16 (`Learned` checks), places below 4 GiB (`encode` does)"
)]

use crate::blank_runs::BlankRuns;
use crate::cuts::{BLOCK, Cuts};
use crate::learn::{Learned, Learnt};
use crate::model::{BLANK, Model};
use crate::part_cache::{self, Entry, Key, PartCache};
use crate::queue::QueueEncoder;
use crate::rules::{Rules, Symbol, UNKNOWN};
use crate::scan::{Scan, Token};
use crate::seams::Seams;

/// What is known of a vocabulary, for all threads.
#[derive(Debug)]
pub(crate) struct Parts {
    rules: Rules,
    pieces: Vec<Learnt>,
    cuts: Cuts,
    blank_runs: BlankRuns,
}

impl Parts {
    /// Learns a model, or says which premise of the fast path it breaks.
    pub(crate) fn from_model(model: &Model) -> Result<Self, String> {
        let Learned { rules, pieces } = Learned::from_model(model)?;
        let cuts = Cuts::between(pieces.iter().map(|piece| piece.text.as_str()));
        let blank_runs = BlankRuns::new(&pieces, model.pieces.len());
        Ok(Self { rules, pieces, cuts, blank_runs })
    }
}

/// Encodes texts part by part.
#[derive(Debug)]
pub(crate) struct PartEncoder<'m> {
    model: &'m Model,
    parts: &'m Parts,
    cache: PartCache,
    misses: Misses<'m>,
    /// The text in blank form, and [`BLOCK`] bytes behind it so that blocks may reach over its end.
    text: String,
    found: Vec<Part>,
}

/// A part of the text.
#[derive(Debug, Clone, Copy)]
struct Part {
    key: Key,
    line: u32,
    start: u32,
    length: u32,
    /// How many blanks were cut off in front: a part of their own, the one before.
    n_run: u32,
}

/// How many bytes are searched for parts before these are looked up.
const STRETCH: usize = 32 * BLOCK;

impl<'m> PartEncoder<'m> {
    pub(crate) fn new(model: &'m Model, parts: &'m Parts) -> Self {
        let misses = Misses::new(model, parts);
        let mut encoder = Self {
            model,
            parts,
            cache: PartCache::new(),
            misses,
            text: String::new(),
            found: Vec::new(),
        };
        encoder.keep_pieces();
        encoder
    }

    /// Most parts are one piece: their ids are known before any text is.
    fn keep_pieces(&mut self) {
        for piece in &self.parts.pieces {
            if piece.text.len() <= part_cache::MAX_BYTES {
                let mut bytes = [0; 16];
                bytes[..piece.text.len()].copy_from_slice(piece.text.as_bytes());
                let key = Key::new(&bytes, piece.text.len());
                let joins_run = !self.parts.blank_runs.leaves_run_alone(piece.symbol);
                self.cache
                    .insert(Entry::new(key, &[piece.symbol], joins_run).expect("one id fits"));
            }
        }
    }

    /// Appends the ids of a text.
    pub(crate) fn encode(&mut self, text: &str, ids: &mut Vec<u32>) {
        if text.is_empty() {
            return;
        }
        if u32::try_from(text.len() + BLOCK).is_err() {
            return self.misses.queue.encode(text, ids);
        }
        let length = self.read(text);
        let mut start = 0;
        let mut previous = self.text.as_bytes()[0];
        for stretch in (0..length).step_by(STRETCH) {
            let stretch_end = (stretch + STRETCH).min(length);
            for block in (stretch..stretch_end).step_by(BLOCK) {
                let bytes = self.text.as_bytes()[block..]
                    .first_chunk()
                    .expect("there are bytes behind the text");
                let mut cuts = self.parts.cuts.mask(previous, bytes);
                previous = bytes[BLOCK - 1];
                if block == 0 {
                    cuts &= !1;
                }
                if length - block < BLOCK {
                    cuts &= (1 << (length - block)) - 1;
                }
                while cuts != 0 {
                    let end = block + cuts.trailing_zeros() as usize;
                    self.note(start, end);
                    start = end;
                    cuts &= cuts - 1;
                }
            }
            if stretch_end == length {
                self.note(start, length);
            }
            self.look_up(ids);
        }
    }

    /// Takes over a text in blank form, and says how long it is.
    fn read(&mut self, text: &str) -> usize {
        self.text.clear();
        if self.model.dummy_prefix {
            self.text.push(' ');
        }
        let mut stretches = text.split(BLANK);
        self.text.push_str(stretches.next().unwrap_or_default());
        for stretch in stretches {
            self.text.push(' ');
            self.text.push_str(stretch);
        }
        let length = self.text.len();
        self.text.extend(['\0'; BLOCK]);
        length
    }

    /// First phase: notes a part, or two if it starts with a run of blanks.
    #[inline]
    fn note(&mut self, start: usize, end: usize) {
        let bytes = &self.text.as_bytes()[start..end];
        if let [b' ', b' ', ..] = bytes
            && self.parts.blank_runs.may_be_cut()
            && let Some(n_blanks) = bytes.iter().position(|&byte| byte != b' ')
        {
            self.note_part(start, n_blanks - 1, 0);
            self.note_part(start + n_blanks - 1, end - start - n_blanks + 1, n_blanks - 1);
        } else {
            self.note_part(start, end - start, 0);
        }
    }

    #[inline]
    fn note_part(&mut self, start: usize, length: usize, n_run: usize) {
        let key = self.key(start, length);
        let [line, start, length, n_run] = [key.line(), start, length, n_run].map(|it| it as u32);
        self.found.push(Part { key, line, start, length, n_run });
    }

    #[inline]
    fn key(&self, start: usize, length: usize) -> Key {
        let bytes =
            self.text.as_bytes()[start..].first_chunk().expect("there are bytes behind the text");
        Key::new(bytes, length)
    }

    /// Second phase: appends the ids of the parts found.
    fn look_up(&mut self, ids: &mut Vec<u32>) {
        let found = std::mem::take(&mut self.found);
        let mut before_run = ids.len();
        for part in &found {
            let before = ids.len();
            let joins_run = self.append(part, ids);
            if part.n_run > 0 && joins_run {
                ids.truncate(before_run);
                let (start, length) = (part.start - part.n_run, part.length + part.n_run);
                let key = self.key(start as usize, length as usize);
                self.append(&Part { key, line: key.line() as u32, start, length, n_run: 0 }, ids);
            }
            before_run = before;
        }
        self.found = found;
        self.found.clear();
    }

    /// Appends the ids of a part and says whether they join a run of blanks before.
    #[inline]
    fn append(&mut self, part: &Part, ids: &mut Vec<u32>) -> bool {
        let Some(entry) = self.cache.find(part.line as usize, part.key) else {
            return self.append_new(part, ids);
        };
        // Appending a fixed number and taking some back is faster than appending some.
        let n_before = ids.len();
        ids.extend_from_slice(&entry.padded_ids());
        ids.truncate(n_before + entry.n_ids());
        entry.joins_run()
    }

    #[cold]
    fn append_new(&mut self, part: &Part, ids: &mut Vec<u32>) -> bool {
        let (start, length) = (part.start as usize, part.length as usize);
        let new = self.misses.encode(&self.text[start..start + length]);
        ids.extend(new.iter().map(|&symbol| u32::from(symbol)));
        let joins_run = !self.parts.blank_runs.leaves_run_alone(new[0]);
        if length <= part_cache::MAX_BYTES
            && let Some(entry) = Entry::new(part.key, new, joins_run)
        {
            self.cache.insert(entry);
        }
        joins_run
    }
}

/// Encodes the parts that the cache does not have.
#[derive(Debug)]
struct Misses<'m> {
    model: &'m Model,
    rules: &'m Rules,
    scan: Scan,
    seams: Seams,
    queue: QueueEncoder<'m>,
    ids: Vec<Symbol>,
}

/// Parts of more bytes are encoded in windows.
const MAX_SCANNED: usize = 64;

impl<'m> Misses<'m> {
    fn new(model: &'m Model, parts: &'m Parts) -> Self {
        let queue = QueueEncoder::new(model);
        Self {
            model,
            rules: &parts.rules,
            scan: Scan::default(),
            seams: Seams::default(),
            queue,
            ids: Vec::new(),
        }
    }

    /// The ids of a part.
    fn encode(&mut self, text: &str) -> &[Symbol] {
        self.ids.clear();
        if text.len() <= MAX_SCANNED {
            self.scan.merge(self.rules, text);
            emit(self.model, text, self.scan.tokens(), &mut self.ids);
        } else if let Some(tokens) = self.seams.encode(&mut self.scan, self.rules, text) {
            emit(self.model, text, tokens.iter().copied(), &mut self.ids);
        } else {
            let mut ids = Vec::new();
            self.queue.encode_normalized(&text.replace(' ', BLANK), &mut ids);
            self.ids.extend(ids.into_iter().map(|id| id as Symbol));
        }
        &self.ids
    }
}

/// Appends the ids of tokens: a character that is no piece is its bytes.
fn emit(model: &Model, text: &str, tokens: impl Iterator<Item = Token>, ids: &mut Vec<Symbol>) {
    for Token { symbol, start } in tokens {
        if symbol == UNKNOWN {
            let character = text[start as usize..].chars().next().expect("a token has a text");
            let mut buffer = [0; 4];
            let bytes = character.encode_utf8(&mut buffer).bytes();
            ids.extend(bytes.map(|byte| model.byte_ids[usize::from(byte)] as Symbol));
        } else {
            ids.push(symbol);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Kind;

    /// BPE as its definition reads: again and again, of all pieces that two neighbours make, the one with the highest
    /// score, the leftmost of equals.
    fn naive(model: &Model, text: &str) -> Vec<u32> {
        if text.is_empty() {
            return Vec::new();
        }
        let text = format!("{BLANK}{}", text.replace(' ', BLANK));
        let mut symbols: Vec<String> = text.chars().map(String::from).collect();
        let score = |text: &String| {
            let piece = &model.pieces[*model.ids.get(text)? as usize];
            (piece.kind == Kind::Normal).then_some(piece.score)
        };
        loop {
            let mut best: Option<(f32, usize)> = None;
            for (at, pair) in symbols.windows(2).enumerate() {
                if let Some(score) = score(&pair.concat())
                    && best.is_none_or(|(highest, _)| score > highest)
                {
                    best = Some((score, at));
                }
            }
            let Some((_, at)) = best else { break };
            let right = symbols.remove(at + 1);
            symbols[at].push_str(&right);
        }
        let ids = |symbol: &String| match model.ids.get(symbol) {
            Some(&id) => vec![id],
            None => symbol.bytes().map(|byte| model.byte_ids[usize::from(byte)]).collect(),
        };
        symbols.iter().flat_map(ids).collect()
    }

    /// All ways lead to the ids of the definition: part by part, with an empty cache and a full one, and by queue.
    fn check(model: &Model, texts: &[String]) {
        let parts = Parts::from_model(model).expect("the premises hold");
        let mut encoder = PartEncoder::new(model, &parts);
        for text in texts.iter().chain(texts) {
            let expected = naive(model, text);
            let mut ids = Vec::new();
            encoder.encode(text, &mut ids);
            assert_eq!(ids, expected, "part by part, of {text:?}");
            ids.clear();
            QueueEncoder::new(model).encode(text, &mut ids);
            assert_eq!(ids, expected, "by queue, of {text:?}");
        }
    }

    /// Vocabularies that hurt: few letters, so that everything can merge with everything; scores in any order, so that a
    /// piece may be more urgent than what it is made from; many equal scores; pieces that never occur; blanks anywhere.
    fn vocabulary() -> impl Strategy<Value = Vec<(String, f32)>> {
        let piece = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0u8..12);
        prop::collection::vec(piece, 0..40).prop_map(|merges| {
            let characters = [BLANK, "a", "b", "c", "é"];
            let mut pieces: Vec<(String, f32)> =
                characters.iter().map(|it| (it.to_string(), -9.0)).collect();
            for (left, right, score) in merges {
                let text = left.get(&pieces).0.clone() + &right.get(&pieces).0;
                if text.chars().count() <= 9 && pieces.iter().all(|(known, _)| *known != text) {
                    pieces.push((text, -f32::from(score)));
                }
            }
            pieces
        })
    }

    proptest! {
        #[test]
        fn every_way_gives_the_ids_of_the_definition(
            vocabulary in vocabulary(),
            texts in prop::collection::vec("( {1,4}|[abcé]{1,5}|[ab]{1,3}|[▁\n🙂]|(ab){1,40}|a{1,90}|[abcé ]{60,150}){0,5}", 1..6),
        ) {
            check(&Model::of(&vocabulary), &texts);
        }

        #[test]
        fn indentation_is_exact_when_blank_runs_come_last(
            scores in prop::collection::vec(0u8..6, 8),
            texts in prop::collection::vec("( {1,9}[abc]{0,3}){1,6}", 1..6),
        ) {
            // The shape of Llama's vocabulary: runs score lowest, and a word takes one blank.
            let texts_of = ["▁a", "▁b", "ab", "▁ab", "bc", "▁▁", "▁▁▁", "▁▁▁▁"];
            let mut pieces: Vec<_> = [BLANK, "a", "b"].map(|it| (it.to_owned(), -99.0)).to_vec();
            pieces.extend(texts_of.iter().zip(&scores).map(|(text, &score)| {
                let last = if text.starts_with("▁▁") { -50.0 } else { 0.0 };
                (text.to_string(), last - f32::from(score / 3))
            }));
            pieces.push(("c".into(), -99.0));
            check(&Model::of(&pieces), &texts);
        }
    }

    #[test]
    fn an_influence_that_travels_far_to_the_left_is_followed() {
        // Each pair of neighbours in the chain can merge, later ones first: what the last letter is decides how all are paired.
        let letters: Vec<char> = ('\u{4e00}'..'\u{4f00}').collect();
        let mut pieces: Vec<(String, f32)> =
            letters.iter().map(|it| (it.to_string(), -999.0)).collect();
        pieces.push((BLANK.into(), -999.0));
        for (at, pair) in letters.windows(2).enumerate() {
            pieces.push((pair.iter().collect(), at as f32 - 500.0));
        }
        let chain: String = letters.iter().collect();
        let shorter: String = letters[..letters.len() - 1].iter().collect();
        check(
            &Model::of(&pieces),
            &[chain.clone(), shorter.clone(), chain.repeat(3) + &shorter.repeat(2)],
        );
    }

    #[test]
    fn premises_that_do_not_hold_are_told() {
        let piece = |text: &str| (text.to_owned(), -1.0);
        let check = |pieces: &[&str], expected: &str| {
            let pieces: Vec<_> = pieces.iter().map(|text| piece(text)).collect();
            assert_eq!(Parts::from_model(&Model::of(&pieces)).unwrap_err(), expected);
        };
        check(&["a"], "`▁` is no piece");
        check(&["▁", "a b"], "piece `a b` holds a blank that is not `▁`");
        check(&["▁", "a", "ab"], "piece `ab` is made from a character that is no piece");
        let mut model = Model::of(&[piece("▁"), piece("x")]);
        model.pieces.last_mut().unwrap().kind = Kind::UserDefined;
        assert_eq!(Parts::from_model(&model).unwrap_err(), "piece `x` has type UserDefined");
    }
}
