//! The pieces of a document -> its tokens with roles, for templates and tokenizers that look at all of it at once.
//!
//! ChatML and the reference's tokenizers encode turn by turn ([`crate::encode`]); any other template may treat a turn by its
//! place, and any other tokenizer may look across two turns. So here the pieces wait as they are, and become text when their
//! document is put together.

use shards::{Batch, Format, Role};
use text::{Encoder, Refusal, Rendered, Template, Tokenizer};

use crate::encode;
use crate::filter::{Length, SpecialStrings};
use crate::piece::{self, Form, Turn};

/// Encodes document after document.
#[derive(Debug)]
pub struct DocumentEncoder<'t> {
    tokenizer: &'t Tokenizer,
    encoder: Encoder<'t>,
    template: &'t Template,
    format: Format,
    /// The last document.
    rendered: Rendered,
    ids: Vec<u32>,
    roles: Vec<Role>,
    bytes: Vec<u8>,
}

impl<'t> DocumentEncoder<'t> {
    /// An encoder for a thread.
    #[must_use]
    pub fn new(tokenizer: &'t Tokenizer, template: &'t Template, format: Format) -> Self {
        Self {
            tokenizer,
            encoder: tokenizer.encoder(),
            template,
            format,
            rendered: Rendered::default(),
            ids: Vec::new(),
            roles: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// Encodes the document of these packed pieces, in whose texts these special strings are. With `cut`, one of more tokens
    /// loses turns from its end until it fits and ends with an answer; if none is left, its length is that of all turns.
    pub fn encode<'p>(
        &mut self,
        pieces: impl Iterator<Item = &'p [u8]>,
        special: SpecialStrings,
        cut: Option<usize>,
    ) -> Result<Length, Refusal> {
        let turns: Vec<Turn<'_>> = pieces.flat_map(piece::turns).collect();
        let whole = Length { special, ..self.encode_turns(&turns)? };
        let Some(max) = cut.filter(|max| whole.tokens > *max) else { return Ok(whole) };
        if turns.iter().any(|turn| turn.form == Form::Verbatim) {
            self.ids.truncate(max);
            self.roles.truncate(max);
            let end = encode::text_of(self.tokenizer, &self.ids, &self.rendered.text);
            self.rendered.text.truncate(end);
            let special = encode::special_strings(self.tokenizer, &self.rendered.text);
            return Ok(Length { special, is_truncated: true, ..self.length() });
        }
        // Templates may treat a turn by its place, so that what fits is found by trying; more turns make more tokens.
        let ends: Vec<usize> =
            (1..turns.len()).filter(|end| turns[end - 1].role == Role::Assistant).collect();
        let (mut least, mut most) = (0, ends.len());
        while least < most {
            let middle = least + (most - least) / 2;
            if self.encode_turns(&turns[..ends[middle]])?.tokens > max {
                most = middle;
            } else {
                least = middle + 1;
            }
        }
        let Some(end) = least.checked_sub(1).map(|last| ends[last]) else { return Ok(whole) };
        let length = self.encode_turns(&turns[..end])?;
        let special =
            turns[..end].iter().map(|it| encode::special_strings(self.tokenizer, it.text));
        let special = special.fold(SpecialStrings::default(), SpecialStrings::and);
        Ok(Length { special, is_truncated: true, ..length })
    }

    fn encode_turns(&mut self, turns: &[Turn<'_>]) -> Result<Length, Refusal> {
        self.rendered = if turns.iter().any(|turn| turn.form == Form::Verbatim) {
            verbatim(turns)
        } else {
            let turns: Vec<_> = turns.iter().map(|turn| (turn.role, turn.text)).collect();
            self.template.render(&turns)?
        };
        self.ids.clear();
        self.roles.clear();
        self.encoder.encode_rendered(&self.rendered, &mut self.ids, &mut self.roles);
        Ok(self.length())
    }

    fn length(&self) -> Length {
        let mut length = Length::default();
        for run in self.roles.chunk_by(|a, b| a == b) {
            length.add(run[0], run.len());
        }
        length
    }

    /// Appends the last document.
    pub fn push_to(&mut self, batch: &mut Batch) -> anyhow::Result<()> {
        self.bytes.clear();
        self.format.write_tokens(&self.ids, &mut self.bytes);
        batch.push_tokens(&self.bytes);
        for run in self.roles.chunk_by(|a, b| a == b) {
            batch.push_role(run[0], run.len());
        }
        Ok(batch.end()?)
    }

    /// The text of the last document.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.rendered.text
    }
}

/// A text for language modelling: as it is, whatever the template.
fn verbatim(turns: &[Turn<'_>]) -> Rendered {
    let mut rendered = Rendered::default();
    for turn in turns {
        rendered.text.push_str(turn.text);
        rendered.spans.push((rendered.text.len(), turn.role));
    }
    rendered
}
