//! Rows -> trees whose messages know their parents and replies.
//!
//! A tree is a list, depth first, so that no walk over it recurses. Its first message is the prompt.

use anyhow::bail;
use shards::Role;

use crate::loaders::oasst::row::{Labels, Node, Row};

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
    /// Who wrote it.
    pub role: Role,
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

/// Trees that are being read.
#[derive(Debug, Default)]
pub struct Trees {
    trees: Vec<Tree>,
    /// The path from the prompt to the last message that was added as a row of its own.
    path: Vec<usize>,
}

impl Trees {
    /// Adds a row.
    pub fn add(&mut self, row: Row) -> anyhow::Result<()> {
        match row {
            Row::Tree { id, state, prompt } => {
                self.path.clear();
                let mut tree = Tree { id, state, messages: Vec::new() };
                tree.add_nested(prompt)?;
                self.trees.push(tree);
            }
            Row::Message { tree_state, parent_id: None, node } => {
                let id = node.message_id.0.clone();
                let mut tree = Tree { id, state: tree_state, messages: Vec::new() };
                tree.add(None, node)?;
                self.trees.push(tree);
                self.path = vec![0];
            }
            Row::Message { parent_id: Some(parent_id), node, .. } => {
                self.add_reply(&parent_id, node)?
            }
        }
        Ok(())
    }

    /// The trees, in the order of the rows.
    #[must_use]
    pub fn into_trees(self) -> Vec<Tree> {
        self.trees
    }

    /// Messages come depth first, so the parent is the last message or one of its ancestors.
    fn add_reply(&mut self, parent_id: &str, node: Node) -> anyhow::Result<()> {
        let message_id = node.message_id.0.clone();
        if let Some(tree) = self.trees.last_mut() {
            while let Some(&last) = self.path.last() {
                if tree.messages[last].id == parent_id {
                    let index = tree.add(Some(last), node)?;
                    self.path.push(index);
                    return Ok(());
                }
                self.path.pop();
            }
        }
        bail!(
            "the message `{message_id}` follows neither its parent `{parent_id}` nor another reply to it\n\
             hint: messages must be in depth-first order, each after its parent"
        )
    }
}

impl Tree {
    fn add_nested(&mut self, prompt: Node) -> anyhow::Result<()> {
        let mut todo = vec![(None, prompt)];
        while let Some((parent, mut node)) = todo.pop() {
            let replies = node.replies.take().unwrap_or_default();
            let index = self.add(parent, node)?;
            // The last one is taken first, so they go in backwards.
            todo.extend(replies.into_iter().rev().map(|reply| (Some(index), reply)));
        }
        Ok(())
    }

    fn add(&mut self, parent: Option<usize>, node: Node) -> anyhow::Result<usize> {
        let index = self.messages.len();
        let id = node.message_id.0;
        let role = match node.role.0.as_str() {
            "prompter" => Role::User,
            "assistant" => Role::Assistant,
            other => bail!(
                "tree `{}`, message `{id}`: the role is `{other}`, expected `prompter` or `assistant`",
                self.id
            ),
        };
        if let Some(parent) = parent {
            self.messages[parent].replies.push(index);
        }
        self.messages.push(Message {
            id,
            role,
            text: node.text.0,
            lang: node.lang.map(|it| it.0),
            review_result: node.review_result.map(|it| it.0),
            is_hidden: [node.deleted, node.synthetic].iter().any(|it| it.is_some_and(|it| it.0)),
            rank: node.rank.map(|it| it.0),
            labels: node.labels.unwrap_or_default(),
            parent,
            replies: Vec::new(),
        });
        Ok(index)
    }
}
