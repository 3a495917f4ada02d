//! The ChatML template: a conversation in, its turns out, each with the role whose tokens it makes.
//!
//! A turn is `<|im_start|>role\ntext<|im_end|>\n`. The text stands as it is: nothing is trimmed and nothing escaped, so a
//! special token's string inside it becomes that token (but see [`crate::Encoder::encode_around`]). Empty system messages
//! and empty contexts make no turn; an empty message makes an empty turn. A context's turn stands just before its message's.
//!
//! Turns are encoded one by one, and every token of a turn carries the turn's role, markers and newline included.

use shards::Role;

use crate::conversation::Conversation;

/// Opens a turn; the role's name follows.
pub const TURN_START: &str = "<|im_start|>";
/// Closes a turn; a newline follows. Sampling stops here.
pub const TURN_END: &str = "<|im_end|>";

/// A stretch of a document whose tokens all have one role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The role of its tokens.
    pub role: Role,
    /// The text to encode, on its own.
    pub text: String,
}

/// The turns of a conversation: who speaks, and what is said.
pub fn turns(conversation: &Conversation) -> impl Iterator<Item = (Role, &str)> {
    fn given(text: &Option<String>) -> Option<&str> {
        text.as_deref().filter(|text| !text.is_empty())
    }
    let system = given(&conversation.system).map(|text| (Role::System, text));
    let messages = conversation.messages.iter().flat_map(|message| {
        let context = given(&message.context).map(|text| (Role::Context, text));
        context.into_iter().chain([(message.role, message.text.as_str())])
    });
    system.into_iter().chain(messages)
}

/// Appends the text of a turn.
pub fn write_turn(role: Role, text: &str, out: &mut String) {
    for part in [TURN_START, role.name(), "\n", text, TURN_END, "\n"] {
        out.push_str(part);
    }
}

/// The turns of a conversation, as texts to encode.
pub fn segments(conversation: &Conversation) -> Vec<Segment> {
    let segment = |(role, text)| {
        let mut turn = String::new();
        write_turn(role, text, &mut turn);
        Segment { role, text: turn }
    };
    turns(conversation).map(segment).collect()
}

/// What a model is given when it is to answer: the turns so far, and the head of the assistant's.
pub fn prompt(conversation: &Conversation) -> String {
    let mut prompt: String = segments(conversation).into_iter().map(|turn| turn.text).collect();
    prompt.push_str(&format!("{TURN_START}{}\n", Role::Assistant.name()));
    prompt
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::conversation::Message;

    fn check(system: Option<&str>, messages: &[(Role, &str, Option<&str>)], expected: Expect) {
        let message = |&(role, text, context): &(Role, &str, Option<&str>)| Message {
            role,
            text: text.into(),
            context: context.map(String::from),
        };
        let conversation = Conversation {
            system: system.map(String::from),
            messages: messages.iter().map(message).collect(),
        };
        let turns = segments(&conversation);
        let shown: Vec<_> =
            turns.iter().map(|it| format!("{} {:?}\n", it.role.id(), it.text)).collect();
        expected.assert_eq(&shown.concat());
        let turns: String = turns.into_iter().map(|turn| turn.text).collect();
        assert_eq!(prompt(&conversation), turns + "<|im_start|>assistant\n");
    }

    #[test]
    fn turns_are_verbatim_and_contexts_come_first() {
        check(
            Some("Be kind."),
            &[(Role::User, " hi\n", None), (Role::Assistant, "", Some("facts"))],
            expect![[r#"
                0 "<|im_start|>system\nBe kind.<|im_end|>\n"
                1 "<|im_start|>user\n hi\n<|im_end|>\n"
                3 "<|im_start|>context\nfacts<|im_end|>\n"
                2 "<|im_start|>assistant\n<|im_end|>\n"
            "#]],
        );
    }

    #[test]
    fn a_blank_system_message_or_context_is_a_turn_and_an_empty_one_is_none() {
        check(
            Some(""),
            &[(Role::User, "x", Some(""))],
            expect![[r#"
                1 "<|im_start|>user\nx<|im_end|>\n"
            "#]],
        );
        check(
            Some(" "),
            &[(Role::User, "x", Some(" "))],
            expect![[r#"
                0 "<|im_start|>system\n <|im_end|>\n"
                3 "<|im_start|>context\n <|im_end|>\n"
                1 "<|im_start|>user\nx<|im_end|>\n"
            "#]],
        );
    }

    #[test]
    fn an_empty_conversation_has_no_turns() {
        check(None, &[], expect![""]);
    }
}
