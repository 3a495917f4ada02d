//! A document -> kept, or left out for a reason that is counted.

use serde::{Deserialize, Serialize};
use shards::Role;

/// How long a document is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Length {
    /// Its tokens.
    pub tokens: usize,
    /// By whose turn they are of, markers and header included.
    pub by_role: [usize; Role::ALL.len()],
    /// Strings of special tokens in its texts.
    pub special: SpecialStrings,
    /// Whether it was longer, and was cut.
    pub is_truncated: bool,
}

impl Length {
    /// Tokens of the assistant's turns.
    #[must_use]
    pub fn assistant_tokens(&self) -> usize {
        self.by_role[usize::from(Role::Assistant.id())]
    }

    /// Adds tokens of a role.
    pub fn add(&mut self, role: Role, n: usize) {
        self.tokens += n;
        self.by_role[usize::from(role.id())] += n;
    }
}

/// Strings of special tokens in a text, without what a template lays around it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpecialStrings {
    /// How many.
    pub n: u32,
    /// The first of them, by its place among the tokenizer's special tokens; 0 if there is none.
    pub first: u32,
}

impl SpecialStrings {
    /// Those of this text and then of another.
    #[must_use]
    pub fn and(self, next: Self) -> Self {
        let first = if self.n == 0 { next.first } else { self.first };
        Self { n: self.n.saturating_add(next.n), first }
    }
}

/// What a document must have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Filter {
    /// At least so many tokens of the assistant.
    pub min_assistant_tokens: Option<usize>,
    /// At most so many tokens.
    pub max_tokens: Option<usize>,
    /// Whether it may be cut to have no more.
    pub truncates: bool,
    /// Whether a chat template may refuse it.
    pub template_may_refuse: bool,
}

/// Why a document is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reason {
    /// It has fewer tokens of the assistant than asked for.
    #[serde(rename = "min_assistant_tokens")]
    FewAssistantTokens,
    /// It has more tokens than allowed.
    #[serde(rename = "too_long")]
    TooLong,
    /// The chat template refuses it.
    #[serde(rename = "chat_template")]
    ChatTemplate,
    /// The same stands earlier in the split.
    Duplicate,
    /// Much the same stands earlier in the split.
    NearDuplicate,
    /// It is to be trained on, and stands in `val`.
    InVal,
    /// It is to be trained on, and much the same stands in `val`.
    NearInVal,
}

/// What became of a document that was planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It stands in the shards.
    Kept {
        /// Whether it was cut to the longest length.
        is_truncated: bool,
    },
    /// It does not.
    LeftOut(Reason),
}

impl Reason {
    /// The reason as the manifest names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FewAssistantTokens => "min_assistant_tokens",
            Self::TooLong => "too_long",
            Self::ChatTemplate => "chat_template",
            Self::Duplicate => "duplicate",
            Self::NearDuplicate => "near_duplicate",
            Self::InVal => "in_val",
            Self::NearInVal => "near_in_val",
        }
    }
}

impl Filter {
    /// Why a document is left out; `None` if it is kept.
    #[must_use]
    pub fn refuses(&self, document: Length) -> Option<Reason> {
        if self.is_too_long(document.tokens) {
            return Some(Reason::TooLong);
        }
        let min = self.min_assistant_tokens?;
        (document.assistant_tokens() < min).then_some(Reason::FewAssistantTokens)
    }

    /// Whether so many tokens are too many.
    #[must_use]
    pub fn is_too_long(&self, tokens: usize) -> bool {
        self.max_tokens.is_some_and(|max| tokens > max)
    }

    /// To how many tokens a document with more of them is cut; `None` if none is.
    #[must_use]
    pub fn cut(&self) -> Option<usize> {
        self.max_tokens.filter(|_| self.truncates)
    }

    /// Whether it keeps every document.
    #[must_use]
    pub fn keeps_all(&self) -> bool {
        !self.template_may_refuse
            && self.max_tokens.is_none()
            && self.min_assistant_tokens.is_none_or(|min| min == 0)
    }
}
