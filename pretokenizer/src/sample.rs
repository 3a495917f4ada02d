//! What a loader makes of a row: a conversation, or a text to model as it is.

use shards::Role;
use text::{Conversation, Message};

/// One document to be, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sample {
    /// A dialogue, which the template turns into text.
    Conversation(Conversation),
    /// A question of which the wording is drawn when it is written, and its answer; the wordings are the dataset's.
    Worded {
        /// What the question is about.
        text: String,
        /// The answer.
        answer: String,
    },
    /// A text without turns, for language modelling, with one role.
    Text(Role, String),
    /// A text without turns. The reference crashes on these; here all of it is encoded, with the role of a context.
    PlainText(String),
}

impl Sample {
    /// Questions with their answers.
    pub fn dialogue<Q: Into<String>, A: Into<String>>(
        pairs: impl IntoIterator<Item = (Q, A)>,
    ) -> Self {
        Self::alternating(pairs.into_iter().flat_map(|(q, a)| [q.into(), a.into()]))
    }

    /// Turns of user and assistant, in this order. There may be none.
    pub fn alternating(turns: impl IntoIterator<Item = String>) -> Self {
        let roles = [Role::User, Role::Assistant].into_iter().cycle();
        let messages = turns.into_iter().zip(roles).map(|(text, role)| Message::new(role, text));
        Self::Conversation(Conversation { system: None, messages: messages.collect() })
    }

    /// What is said, but for the system message, which many rows share.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let (messages, texts) = match self {
            Self::Conversation(conversation) => (&conversation.messages[..], [None, None]),
            Self::Worded { text, answer } => (&[][..], [Some(text), Some(answer)]),
            Self::Text(_, text) | Self::PlainText(text) => (&[][..], [Some(text), None]),
        };
        let messages = messages.iter().filter(|message| message.role != Role::System);
        let messages = messages.map(|message| message.text.as_str());
        messages.chain(texts.into_iter().flatten().map(String::as_str))
    }

    /// Puts a system message before a conversation.
    #[must_use]
    pub fn with_system(mut self, system: Option<String>) -> Self {
        if let Self::Conversation(conversation) = &mut self {
            conversation.system = system;
        }
        self
    }

    /// Attaches a text to every answer.
    #[must_use]
    pub fn with_context(mut self, context: &str) -> Self {
        if let Self::Conversation(conversation) = &mut self {
            for message in conversation.messages.iter_mut().filter(|it| it.role == Role::Assistant)
            {
                message.context = Some(context.to_string());
            }
        }
        self
    }
}
