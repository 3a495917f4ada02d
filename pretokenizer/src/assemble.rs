//! A bucket of encoded pieces -> its documents in order, filtered, in the form in which they are stored.

use anyhow::Context as _;
use cli::bail_input;
use shards::{Batch, Format, Role};

use crate::ascii_json;
use crate::encode::Record;
use crate::filter::{Filter, Length, Reason, SpecialStrings};
use crate::mix::Divided;
use crate::piece::Form;
use crate::route::{Bucket, Stretch};
use crate::whole::DocumentEncoder;

/// The documents of a bucket.
#[derive(Debug)]
pub struct Assembled {
    /// What became of each of them, in order.
    pub outcomes: Vec<Result<Length, Reason>>,
    /// Those that are kept.
    pub batch: Batch,
    /// Their texts as JSON lines, where they are asked for.
    pub json: String,
    /// Where the line of each of them ends.
    pub json_ends: Vec<usize>,
}

/// What is asked of documents.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// How tokens are stored.
    pub format: Format,
    /// Which documents are kept.
    pub filter: Filter,
    /// Whether documents carry their text.
    pub with_text: bool,
}

/// Puts a bucket in order. With an encoder, the pieces wait as they are, and a document is encoded as a whole.
pub fn documents(
    bucket: &Bucket,
    chunks: &[Vec<u8>],
    stretches: &[Stretch<'_>],
    datasets: &[Divided],
    asked: Asked,
    mut whole: Option<&mut DocumentEncoder<'_>>,
) -> anyhow::Result<Assembled> {
    let format = asked.format;
    let mut records: Vec<Option<Record<'_>>> = vec![None; bucket.slots.len()];
    let mut n_bytes = 0;
    for chunk in chunks {
        let mut rest = &chunk[..];
        while !rest.is_empty() {
            let (record, length) = Record::first(rest, format);
            n_bytes += record.tokens.len();
            records[(record.slot - bucket.slots.start) as usize] = Some(record);
            rest = &rest[length..];
        }
    }
    let mut assembled = Assembled {
        outcomes: Vec::with_capacity(bucket.places.len()),
        batch: Batch::new(format),
        json: String::new(),
        json_ends: Vec::new(),
    };
    assembled.batch.reserve(n_bytes);
    let mut records = records.into_iter();
    let mut pieces = Vec::new();
    for (dataset, document) in stretches[bucket.stretch].plan.documents(bucket.places.clone()) {
        let n = datasets[dataset].loaded.n_pieces_of(document);
        pieces.clear();
        for _ in 0..n {
            pieces.push(records.next().flatten().context("a piece of the output is missing")?);
        }
        match &mut whole {
            None => assembled.push(&pieces, asked)?,
            Some(encoder) => {
                let label = &datasets[dataset].loaded.label;
                let pushed = assembled.push_whole(&pieces, asked, encoder);
                pushed.with_context(|| format!("`{label}`, conversation {}", document + 1))?;
            }
        }
    }
    Ok(assembled)
}

fn special_strings(pieces: &[Record<'_>]) -> SpecialStrings {
    pieces.iter().map(|it| it.special).fold(SpecialStrings::default(), SpecialStrings::and)
}

impl Assembled {
    fn push_whole(
        &mut self,
        pieces: &[Record<'_>],
        asked: Asked,
        encoder: &mut DocumentEncoder<'_>,
    ) -> anyhow::Result<()> {
        let Asked { filter, with_text, .. } = asked;
        let texts = pieces.iter().map(|piece| piece.text);
        let encoded = encoder.encode(texts, special_strings(pieces), filter.cut());
        let length = match encoded {
            Ok(length) => length,
            Err(_) if filter.template_may_refuse => {
                self.outcomes.push(Err(Reason::ChatTemplate));
                return Ok(());
            }
            Err(refusal) => {
                bail_input!(
                    "{refusal}\nhint: `on_template_error: skip` leaves such conversations out, and counts them"
                )
            }
        };
        if let Some(reason) = filter.refuses(length) {
            self.outcomes.push(Err(reason));
            return Ok(());
        }
        encoder.push_to(&mut self.batch)?;
        if with_text {
            self.push_text(encoder.text());
        }
        self.outcomes.push(Ok(length));
        Ok(())
    }

    fn push_text(&mut self, text: &str) {
        self.json.push_str("{\"text\": ");
        ascii_json::string(text, &mut self.json);
        self.json.push_str("}\n");
        self.json_ends.push(self.json.len());
    }

    fn push(&mut self, pieces: &[Record<'_>], asked: Asked) -> anyhow::Result<()> {
        let Asked { format, filter, with_text } = asked;
        let mut length = Length { special: special_strings(pieces), ..Length::default() };
        for turn in pieces.iter().flat_map(Record::turns) {
            length.add(turn.role, turn.n_tokens);
            length.is_truncated |= turn.is_cut;
        }
        let mut n_turns = usize::MAX;
        if let Some(max) = filter.cut().filter(|max| length.tokens > *max) {
            (n_turns, length) = cut(pieces, max);
        }
        let refused = if n_turns == 0 { Some(Reason::TooLong) } else { filter.refuses(length) };
        if let Some(reason) = refused {
            self.outcomes.push(Err(reason));
            return Ok(());
        }
        let mut text = Vec::new();
        for piece in pieces {
            let (mut n_tokens, mut n_text) = (0, 0);
            for turn in piece.turns().take(n_turns) {
                n_turns -= 1;
                n_tokens += turn.n_tokens;
                n_text += turn.n_text;
                self.batch.push_role(turn.role, turn.n_tokens);
            }
            self.batch.push_tokens(&piece.tokens[..n_tokens * format.token_bytes()]);
            text.extend_from_slice(&piece.text[..n_text]);
        }
        self.batch.end()?;
        if with_text {
            self.push_text(&String::from_utf8(text).context("texts are UTF-8")?);
        }
        self.outcomes.push(Ok(length));
        Ok(())
    }
}

/// How many turns a document keeps, to have so many tokens at most and to end with an answer, and how long it is then; no
/// turn if that cannot be.
fn cut(pieces: &[Record<'_>], max: usize) -> (usize, Length) {
    let (mut kept, mut length) = ((0, Length::default()), Length::default());
    for (i, turn) in pieces.iter().flat_map(Record::turns).enumerate() {
        length.add(turn.role, turn.n_tokens);
        length.special.n += turn.n_special;
        if length.tokens > max {
            break;
        }
        if turn.role == Role::Assistant && turn.form != Form::Verbatim {
            kept = (i + 1, length);
        }
    }
    kept.1.special.first = special_strings(pieces).first;
    kept.1.is_truncated = true;
    kept
}
