//! Rows -> trees whose messages know their parents and replies.
//!
//! A tree is a list, depth first, so that no walk over it recurses. Its first message is the prompt.

use std::collections::HashMap;

use anyhow::bail;

use crate::loaders::oasst::row::{Labels, Node};

/// A conversation tree.
#[derive(Debug)]
pub struct Tree {
    /// Its name, for messages.
    pub id: String,
    /// Whether it is finished.
    pub state: Option<String>,
    /// Its messages; a parent stands before its replies.
    pub messages: Vec<Message>,
}

/// A message of a tree.
#[derive(Debug)]
pub struct Message {
    /// Its name.
    pub id: String,
    /// Who wrote it: `prompter` or `assistant`, where it is used.
    pub role: String,
    /// What it says.
    pub text: String,
    /// Its language.
    pub lang: Option<String>,
    /// Whether reviewers let it pass.
    pub review_result: Option<bool>,
    /// Taken back, or written by a model.
    pub is_hidden: bool,
    /// Its place among its siblings.
    pub rank: Option<i64>,
    /// What reviewers thought of it.
    pub labels: Labels,
    /// The message before it.
    pub parent: Option<usize>,
    /// The messages after it, in stored order.
    pub replies: Vec<usize>,
}

/// A tree whose messages come in as rows of their own, depth first.
#[derive(Debug)]
pub struct TreeInRows {
    /// What has come so far.
    pub tree: Tree,
    /// The path from the prompt to the last message.
    path: Vec<usize>,
}

/// A message that follows another one.
#[derive(Debug)]
pub struct Reply {
    /// The name of the message before it.
    pub parent_id: String,
    /// The message.
    pub node: Node,
}

impl TreeInRows {
    /// Begins with a prompt.
    #[must_use]
    pub fn of_prompt(state: Option<String>, node: Node) -> Self {
        let mut tree = Tree { id: node.message_id.0.clone(), state, messages: Vec::new() };
        tree.add(None, node);
        Self { tree, path: vec![0] }
    }

    /// Adds a message to the tree before it. Messages come depth first, so the parent is the last message or one of
    /// its ancestors.
    pub fn add(last: Option<&mut Self>, Reply { parent_id, node }: Reply) -> anyhow::Result<()> {
        let message_id = node.message_id.0.clone();
        if let Some(Self { tree, path }) = last {
            if tree.messages.iter().any(|it| it.id == message_id) {
                bail!(
                    "tree `{}`: two messages are called `{message_id}`, expected a name of its own for each",
                    tree.id
                );
            }
            let parent = path.iter().rposition(|i| tree.messages[*i].id == parent_id);
            if let Some(parent) = parent {
                let added = tree.add(Some(path[parent]), node);
                path.truncate(parent + 1);
                path.push(added);
                return Ok(());
            }
        }
        if message_id == parent_id {
            bail!(
                "the message `{message_id}` is its own parent, expected one that stands before it"
            );
        }
        bail!(
            "the message `{message_id}` follows neither its parent `{parent_id}` nor another reply to it\n\
             hint: messages must be in depth-first order, each after its parent"
        )
    }
}

impl Tree {
    /// A tree that came as one row.
    pub fn of_nested(id: String, state: Option<String>, prompt: Node) -> anyhow::Result<Self> {
        let mut tree = Self { id, state, messages: Vec::new() };
        let mut todo = vec![(None, prompt)];
        while let Some((parent, mut node)) = todo.pop() {
            let replies = node.replies.take().unwrap_or_default();
            let index = tree.add(parent, node);
            // The last one is taken first, so they go in backwards.
            todo.extend(replies.into_iter().rev().map(|reply| (Some(index), reply)));
        }
        tree.check_ids()?;
        Ok(tree)
    }

    /// A name stands for one message. One that is repeated whole, as a sibling, is let pass as in the reference.
    fn check_ids(&self) -> anyhow::Result<()> {
        let mut known: HashMap<&str, &Message> = HashMap::with_capacity(self.messages.len());
        for message in &self.messages {
            if let Some(other) = known.insert(&message.id, message)
                && (&other.role, &other.text, other.parent)
                    != (&message.role, &message.text, message.parent)
            {
                bail!(
                    "tree `{}`: two messages are called `{}`, expected a name of its own for each",
                    self.id,
                    message.id
                );
            }
        }
        Ok(())
    }

    fn add(&mut self, parent: Option<usize>, node: Node) -> usize {
        let index = self.messages.len();
        if let Some(parent) = parent {
            self.messages[parent].replies.push(index);
        }
        self.messages.push(Message {
            id: node.message_id.0,
            role: node.role.0,
            text: node.text.0,
            lang: node.lang.map(|it| it.0),
            review_result: node.review_result.map(|it| it.0),
            is_hidden: [node.deleted, node.synthetic].iter().any(|it| it.is_some_and(|it| it.0)),
            rank: node.rank.map(|it| it.0),
            labels: node.labels.unwrap_or_default(),
            parent,
            replies: Vec::new(),
        });
        index
    }
}
