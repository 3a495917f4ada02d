//! A document -> kept, or left out for a reason that is counted.

use crate::encode::Document;

/// What a document must have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Filter {
    /// At least so many tokens of the assistant.
    pub min_assistant_tokens: Option<usize>,
}

/// Why a document is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// It has fewer tokens of the assistant than asked for.
    FewAssistantTokens,
}

impl Reason {
    /// The reason as the manifest names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FewAssistantTokens => "min_assistant_tokens",
        }
    }
}

impl Filter {
    /// Why a document is left out; `None` if it is kept.
    #[must_use]
    pub fn refuses(&self, document: &Document) -> Option<Reason> {
        let min = self.min_assistant_tokens?;
        (document.assistant_tokens() < min).then_some(Reason::FewAssistantTokens)
    }
}
