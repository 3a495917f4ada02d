//! A bucket of encoded pieces -> its documents in order, filtered, in the form in which they are stored.

use anyhow::Context as _;
use cli::bail_input;
use shards::{Batch, Format, Role};

use crate::ascii_json;
use crate::encode::Record;
use crate::filter::{Filter, Length, Reason, SpecialStrings};
use crate::mix::Divided;
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
    let Asked { format, filter, with_text } = asked;
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
            None => assembled.push(&pieces, filter, with_text)?,
            Some(encoder) => {
                let label = &datasets[dataset].loaded.label;
                let pushed = assembled.push_whole(&pieces, filter, with_text, encoder);
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
        filter: Filter,
        with_text: bool,
        encoder: &mut DocumentEncoder<'_>,
    ) -> anyhow::Result<()> {
        let texts = pieces.iter().map(|piece| piece.text);
        let length = match encoder.encode(texts, special_strings(pieces)) {
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

    fn push(
        &mut self,
        pieces: &[Record<'_>],
        filter: Filter,
        with_text: bool,
    ) -> anyhow::Result<()> {
        let roles = pieces.iter().flat_map(Record::roles);
        let assistants = roles.filter(|(role, _)| *role == Role::Assistant).map(|(_, n)| n);
        let length = Length {
            tokens: pieces.iter().map(|piece| piece.n_tokens).sum(),
            assistant_tokens: assistants.sum(),
            special: special_strings(pieces),
        };
        if let Some(reason) = filter.refuses(length) {
            self.outcomes.push(Err(reason));
            return Ok(());
        }
        for piece in pieces {
            self.batch.push_tokens(piece.tokens);
            for (role, n) in piece.roles() {
                self.batch.push_role(role, n);
            }
        }
        self.batch.end()?;
        if with_text {
            let text = pieces.iter().map(|piece| piece.text).collect::<Vec<_>>().concat();
            self.push_text(&String::from_utf8(text).context("texts are UTF-8")?);
        }
        self.outcomes.push(Ok(length));
        Ok(())
    }
}
