//! The pieces of a document -> its tokens with roles, for templates and tokenizers that look at all of it at once.
//!
//! ChatML and the reference's tokenizers encode turn by turn ([`crate::encode`]); any other template may treat a turn by its
//! place, and any other tokenizer may look across two turns. So here the pieces wait as they are, and become text when their
//! document is put together.

use shards::{Batch, Format, Role};
use text::{Encoder, Refusal, Rendered, Template, Tokenizer};

use crate::filter::{Length, SpecialStrings};
use crate::piece::{self, Form, Turn};

/// Encodes document after document.
#[derive(Debug)]
pub struct DocumentEncoder<'t> {
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
            encoder: tokenizer.encoder(),
            template,
            format,
            rendered: Rendered::default(),
            ids: Vec::new(),
            roles: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// Encodes the document of these packed pieces, in whose texts these special strings are.
    pub fn encode<'p>(
        &mut self,
        pieces: impl Iterator<Item = &'p [u8]>,
        special: SpecialStrings,
    ) -> Result<Length, Refusal> {
        let turns: Vec<Turn<'_>> = pieces.flat_map(piece::turns).collect();
        self.rendered = if turns.iter().any(|turn| turn.form == Form::Verbatim) {
            verbatim(&turns)
        } else {
            let turns: Vec<_> = turns.iter().map(|turn| (turn.role, turn.text)).collect();
            self.template.render(&turns)?
        };
        self.ids.clear();
        self.roles.clear();
        self.encoder.encode_rendered(&self.rendered, &mut self.ids, &mut self.roles);
        let assistants = self.roles.iter().filter(|role| **role == Role::Assistant);
        Ok(Length { tokens: self.ids.len(), assistant_tokens: assistants.count(), special })
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
