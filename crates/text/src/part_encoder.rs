//! The fast path: a text is cut into parts, and parts are looked up.
//!
//! Stretch by stretch, [`crate::parting`] finds the parts, and the ids of each are taken from the cache. A part that is
//! not there is merged ([`crate::scan`], or [`crate::seams`] for a long one) and kept.

#![expect(
    clippy::cast_possible_truncation,
    reason = "ids are below 2^16 (`Learned` checks), places below 4 GiB (`encode` does)"
)]

use crate::blank_form::{BEHIND, BlankForm};
use crate::blank_runs::BlankRuns;
use crate::cuts::Cuts;
use crate::learn::{Learned, Learnt};
use crate::model::{BLANK, Model};
use crate::part_cache::{self, Entry, Key, PartCache};
use crate::parting::{Part, Parting, STRETCH};
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
        let Learned { rules, pieces, scores_fall } = Learned::from_model(model)?;
        let cuts = Cuts::between(pieces.iter().map(|piece| piece.text.as_str()));
        let blank_runs = BlankRuns::new(&pieces, scores_fall, model.pieces.len());
        Ok(Self { rules, pieces, cuts, blank_runs })
    }
}

/// Encodes texts part by part.
#[derive(Debug)]
pub(crate) struct PartEncoder<'m> {
    model: &'m Model,
    parts: &'m Parts,
    text: BlankForm,
    parting: Parting,
    cache: PartCache,
    misses: Misses<'m>,
}

/// Zeros that `ids` is filled up with before a stretch, so that ids can be put where they belong, eight lanes at a
/// time. Every id stands for a byte at least; those of a part, or two, may belong to bytes before the stretch.
const ROOM: [u32; STRETCH + 3 * part_cache::LANES] = [0; STRETCH + 3 * part_cache::LANES];

impl<'m> PartEncoder<'m> {
    pub(crate) fn new(model: &'m Model, parts: &'m Parts) -> Self {
        let mut cache = PartCache::new();
        // Most parts are one piece: their ids are known before any text is.
        for piece in &parts.pieces {
            let length = piece.text.len();
            if length <= part_cache::MAX_BYTES {
                let mut head = [0; 16];
                head[..length].copy_from_slice(piece.text.as_bytes());
                let key = Key::new(u128::from_le_bytes(head), length);
                let joins_run = !parts.blank_runs.leaves_run_alone(piece.symbol);
                cache.insert(Entry::new(key, &[piece.symbol], joins_run).expect("one id fits"));
            }
        }
        Self {
            model,
            parts,
            text: BlankForm::new(),
            parting: Parting::new(),
            cache,
            misses: Misses::new(model, parts),
        }
    }

    /// Appends the ids of a text.
    pub(crate) fn encode(&mut self, text: &str, ids: &mut Vec<u32>) {
        if text.is_empty() {
            return;
        }
        if u32::try_from(text.len() + 1 + BEHIND).is_err() {
            return self.misses.queue.encode(text, ids);
        }
        self.text.read(text, self.model.dummy_prefix);
        for stretch in (0..self.text.len()).step_by(STRETCH) {
            let Parts { cuts, blank_runs, .. } = self.parts;
            self.parting.find(&self.text, stretch, cuts, blank_runs, &self.cache);
            let n_bytes = STRETCH.min(self.text.len() - stretch);
            let end = ids.len();
            ids.extend_from_slice(&ROOM[..n_bytes + 3 * part_cache::LANES]);
            let end = self.look_up(ids, end);
            ids.truncate(end);
        }
    }

    /// Second phase: puts the ids of the parts found behind those that end at `end`, and says where they end then.
    #[inline(never)]
    fn look_up(&mut self, ids: &mut Vec<u32>, mut end: usize) -> usize {
        let mut before_run = end;
        for i in 0..self.parting.parts().len() {
            let part = self.parting.parts()[i];
            let before = end;
            let joins_run = self.put(&part, ids, &mut end);
            if joins_run && part.n_run > 0 {
                end = before_run;
                let [start, length] = [part.start - part.n_run, part.length + part.n_run];
                let whole = Part::new(&self.text, start as usize, length as usize, 0);
                self.put(&whole, ids, &mut end);
            }
            before_run = before;
        }
        end
    }

    /// Puts a part's ids behind those that end at `end`, and says whether they join a run of blanks before.
    #[inline(always)]
    fn put(&mut self, part: &Part, ids: &mut Vec<u32>, end: &mut usize) -> bool {
        let Some(entry) = self.cache.find(part.line as usize, part.key) else {
            let text = self.text.part(part.start as usize, part.length as usize);
            return self.misses.put(part.key, text, &mut self.cache, ids, end);
        };
        *ids[*end..].first_chunk_mut().expect("there is room") = entry.padded_ids();
        *end += entry.n_ids();
        entry.joins_run()
    }
}

/// Encodes the parts that the cache does not have.
#[derive(Debug)]
struct Misses<'m> {
    model: &'m Model,
    parts: &'m Parts,
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
        Self { model, parts, scan: Scan::new(), seams: Seams::new(), queue, ids: Vec::new() }
    }

    /// [`PartEncoder::put`] for a part that is not in the cache; keeps its ids if they fit.
    #[cold]
    #[inline(never)]
    fn put(
        &mut self,
        key: Key,
        text: &str,
        cache: &mut PartCache,
        ids: &mut Vec<u32>,
        end: &mut usize,
    ) -> bool {
        self.encode(text);
        let new = &self.ids;
        ids.resize(ids.len() + new.len(), 0); // the room for the other parts stays
        for (id, &symbol) in ids[*end..].iter_mut().zip(new) {
            *id = u32::from(symbol);
        }
        *end += new.len();
        let joins_run = !self.parts.blank_runs.leaves_run_alone(new[0]);
        if text.len() <= part_cache::MAX_BYTES
            && let Some(entry) = Entry::new(key, new, joins_run)
        {
            cache.insert(entry);
        }
        joins_run
    }

    /// Finds the ids of a part.
    fn encode(&mut self, text: &str) {
        self.ids.clear();
        if text.len() <= MAX_SCANNED {
            self.scan.merge(&self.parts.rules, text);
            emit(self.model, text, self.scan.tokens(), &mut self.ids);
        } else if let Some(tokens) = self.seams.encode(&mut self.scan, &self.parts.rules, text) {
            emit(self.model, text, tokens.iter().copied(), &mut self.ids);
        } else {
            let mut ids = Vec::new();
            self.queue.encode_normalized(&text.replace(' ', BLANK), &mut ids);
            self.ids.extend(ids.into_iter().map(|id| id as Symbol));
        }
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
        check(&["▁", "a", &"a".repeat(128)], "a piece has 128 bytes, more than 127");
        let mut model = Model::of(&[piece("▁"), piece("x")]);
        model.pieces.last_mut().unwrap().kind = Kind::UserDefined;
        assert_eq!(Parts::from_model(&model).unwrap_err(), "piece `x` has type UserDefined");
    }
}
