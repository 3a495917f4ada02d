//! A tree -> the conversations to train on.
//!
//! A thread goes from the prompt to a message without replies. An assistant's last word always ends one; a prompter's
//! does if it is the first reply, and then it is left away, so that the answer before it is used once.

use anyhow::bail;

use crate::loaders::oasst::tree::{Message, Tree};
use crate::sample::Sample;

/// Who asks.
const PROMPTER: &str = "prompter";

/// Who answers.
const ASSISTANT: &str = "assistant";

/// The conversations of a tree, depth first, each with the message that it ends with.
pub fn samples(tree: &Tree, top_k: Option<i64>) -> anyhow::Result<Vec<(Sample, &Message)>> {
    let mut samples = Vec::new();
    for leaf in 0..tree.messages.len() {
        if !ends_a_thread(tree, leaf) {
            continue;
        }
        let mut path = path_to(tree, leaf);
        if path.iter().any(|i| tree.messages[*i].is_hidden) || !ranks_pass(tree, &path, top_k) {
            continue;
        }
        if tree.messages[leaf].role == PROMPTER {
            path.pop();
        }
        let last = *path.last().expect("the prompt has no parent, and stays");
        samples.push((sample(tree, &path)?, &tree.messages[last]));
    }
    Ok(samples)
}

fn ends_a_thread(tree: &Tree, i: usize) -> bool {
    let message = &tree.messages[i];
    let Some(parent) = message.parent else { return false };
    message.replies.is_empty() && (message.role == ASSISTANT || is_first_reply(tree, parent, i))
}

/// The reference compares messages by value, so that a repetition of the first reply counts as the first one.
fn is_first_reply(tree: &Tree, parent: usize, i: usize) -> bool {
    let first = tree.messages[parent].replies[0];
    first == i || is_same(&tree.messages[first], &tree.messages[i])
}

fn is_same(a: &Message, b: &Message) -> bool {
    let values = |it: &Message| (it.review_result, it.is_hidden, it.rank);
    // The second one has no replies, or it would not be asked about.
    a.replies.is_empty()
        && (&a.id, &a.role, &a.text, &a.lang, &a.labels)
            == (&b.id, &b.role, &b.text, &b.lang, &b.labels)
        && values(a) == values(b)
}

fn path_to(tree: &Tree, leaf: usize) -> Vec<usize> {
    let mut path: Vec<_> =
        std::iter::successors(Some(leaf), |i| tree.messages[*i].parent).collect();
    path.reverse();
    path
}

/// Whether every answer on the path is among the best `top_k` of its siblings.
fn ranks_pass(tree: &Tree, path: &[usize], top_k: Option<i64>) -> bool {
    let Some(top_k) = top_k else { return true };
    path.iter().map(|i| &tree.messages[*i]).filter(|it| it.role == ASSISTANT).all(|message| {
        match (message.rank, message.parent) {
            (Some(rank), _) => rank < top_k,
            // An only reply needs no rank.
            (None, Some(parent)) => tree.messages[parent].replies.len() <= 1,
            (None, None) => true,
        }
    })
}

fn sample(tree: &Tree, path: &[usize]) -> anyhow::Result<Sample> {
    let messages = path.iter().map(|i| &tree.messages[*i]);
    let turns = [PROMPTER, ASSISTANT];
    for (i, (message, expected)) in messages.clone().zip(turns.into_iter().cycle()).enumerate() {
        let Message { id, role, .. } = message;
        if !turns.contains(&role.as_str()) {
            bail!(
                "tree `{}`, message `{id}`: the role is `{role}`, expected `{PROMPTER}` or `{ASSISTANT}`",
                tree.id
            );
        }
        if role != expected && i == 0 {
            bail!(
                "tree `{}`, message `{id}`: the first message is the {role}'s, expected the {expected}'s",
                tree.id
            );
        }
        if role != expected {
            bail!(
                "tree `{}`, message `{id}`: expected {PROMPTER} and {ASSISTANT} in turn, found the {role} twice",
                tree.id
            );
        }
        for label in ["quality", "humor", "creativity"] {
            if let Some(value) = message.labels.get(label)
                && !(0.0..=1.0).contains(&value)
            {
                bail!(
                    "tree `{}`, message `{id}`: the label `{label}` is {value}, expected 0 to 1",
                    tree.id
                );
            }
        }
    }
    Ok(Sample::alternating(messages.map(|message| message.text.clone())))
}
