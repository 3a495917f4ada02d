//! What a loader makes of a row: a conversation, or a text to model as it is.

use shards::Role;
use text::{Conversation, Message, Segment, chatml};

/// One document to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sample {
    /// A dialogue, which the template turns into text.
    Conversation(Conversation),
    /// A question of which the wording is drawn when it is written, and its answer.
    Worded {
        /// The wordings to choose from; `{}` stands for the text.
        wordings: &'static [&'static str],
        /// What the question is about.
        text: String,
        /// The answer.
        answer: String,
    },
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

    /// How many wordings there are to draw from; 0 if there is nothing to draw.
    #[must_use]
    pub fn wordings(&self) -> usize {
        match self {
            Self::Worded { wordings, .. } => wordings.len(),
            Self::Conversation(_) | Self::PlainText(_) => 0,
        }
    }

    /// The stretches to encode, with the wording that was drawn.
    #[must_use]
    pub fn segments(&self, wording: usize) -> Vec<Segment> {
        match self {
            Self::Conversation(conversation) => chatml::segments(conversation),
            Self::Worded { wordings, text, answer } => {
                let question = wordings[wording].replacen("{}", text, 1);
                let messages = vec![
                    Message::new(Role::User, question),
                    Message::new(Role::Assistant, answer.as_str()),
                ];
                chatml::segments(&Conversation { system: None, messages })
            }
            Self::PlainText(text) => vec![Segment { role: Role::Context, text: text.clone() }],
        }
    }
}
