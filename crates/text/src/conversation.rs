//! A conversation: what every source makes, and the template reads.

use shards::Role;

/// One utterance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who speaks: user or assistant.
    pub role: Role,
    /// What is said, verbatim.
    pub text: String,
    /// Material shown just before this message: a passage to answer from, for instance.
    pub context: Option<String>,
}

impl Message {
    /// A message without context.
    pub fn new(role: Role, text: impl Into<String>) -> Self {
        Self { role, text: text.into(), context: None }
    }
}

/// A dialogue, in order, with the instruction that opens it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conversation {
    /// The system message, if the source has one.
    pub system: Option<String>,
    /// The utterances, in order.
    pub messages: Vec<Message>,
}
