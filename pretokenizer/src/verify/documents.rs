//! The documents of a split, looked at in parallel: ids, roles, and turns as the template has them.
//!
//! A special token may stand inside a text (`special_tokens_in_text: keep`), so what looks like the border of a turn
//! need not be one. But where the role changes, or a document ends, there must be one.

use std::collections::BTreeMap;
use std::thread;

use shards::{PairReader, Role};

use crate::verify::findings::{Findings, Kind};
use crate::verify::turns::Turns;

/// Against what a document is checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checks<'a> {
    /// All ids must be below it.
    pub(crate) vocab_size: Option<u32>,
    /// `None` where the template is not ChatML or its tokens are not known.
    pub(crate) turns: Option<&'a Turns>,
}

/// What was met in some documents, in their order.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) findings: Findings,
    pub(crate) largest_id: u32,
    /// Tokens by role.
    pub(crate) by_role: [u64; Role::ALL.len()],
    /// Documents without turns: texts that were encoded as they are.
    pub(crate) plain_texts: u64,
}

impl Seen {
    /// Joins what was met in later documents.
    pub(crate) fn append(&mut self, later: Self) {
        self.findings.append(later.findings);
        self.largest_id = self.largest_id.max(later.largest_id);
        self.plain_texts += later.plain_texts;
        for (all, later) in self.by_role.iter_mut().zip(later.by_role) {
            *all += later;
        }
    }

    /// Tokens by the names of the roles.
    pub(crate) fn tokens_by_role(&self) -> BTreeMap<String, u64> {
        let named = Role::ALL.into_iter().zip(self.by_role);
        named.map(|(role, n)| (role.name().to_string(), n)).collect()
    }

    /// Tokens in all, and the assistant's among them.
    pub(crate) fn tokens(&self) -> [u64; 2] {
        [self.by_role.iter().sum(), self.by_role[usize::from(Role::Assistant.id())]]
    }
}

/// Looks at all documents from `first` to before `end`.
pub(crate) fn check(split: &PairReader, first: usize, end: usize, checks: Checks<'_>) -> Seen {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let each = (end - first).div_ceil(threads).max(1);
    thread::scope(|scope| {
        let parts: Vec<_> = (first..end)
            .step_by(each)
            .map(|begin| scope.spawn(move || part(split, begin, (begin + each).min(end), checks)))
            .collect();
        let mut all = Seen::default();
        for part in parts {
            all.append(part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        all
    })
}

fn part(split: &PairReader, begin: usize, end: usize, checks: Checks<'_>) -> Seen {
    let mut seen = Seen::default();
    let (mut tokens, mut roles) = (Vec::new(), Vec::new());
    for i in begin..end {
        let document = split.document(i);
        tokens.clear();
        tokens.extend(document.tokens());
        roles.clear();
        roles.extend(document.roles());
        one(&mut seen, i, &tokens, &roles, checks);
    }
    seen
}

fn one(seen: &mut Seen, document: usize, tokens: &[u32], roles: &[u32], checks: Checks<'_>) {
    let found = &mut seen.findings;
    let largest = tokens.iter().copied().max().unwrap_or_default();
    seen.largest_id = seen.largest_id.max(largest);
    if let Some(size) = checks.vocab_size.filter(|size| largest >= *size) {
        for (at, id) in tokens.iter().enumerate().filter(|(_, id)| **id >= size) {
            found.add(Kind::BeyondVocabulary, document, at, || format!("id {id}"));
        }
    }
    let mut known = Vec::with_capacity(roles.len());
    for (at, id) in roles.iter().enumerate() {
        match Role::ALL.get(*id as usize) {
            Some(role) => {
                seen.by_role[*id as usize] += 1;
                known.push(*role);
            }
            None => found.add(Kind::NoRole, document, at, || format!("role {id}")),
        }
    }
    if let Some(turns) = checks.turns
        && known.len() == tokens.len()
        && !tokens.is_empty()
    {
        if is_plain_text(tokens, &known, turns) {
            seen.plain_texts += 1;
        } else {
            check_turns(found, document, tokens, &known, turns);
        }
    }
}

/// Whether a document is a text that was encoded as it is: it has one role and no turn.
fn is_plain_text(tokens: &[u32], roles: &[Role], turns: &Turns) -> bool {
    !tokens.contains(&turns.start) && roles.iter().all(|role| *role == roles[0])
}

fn check_turns(
    found: &mut Findings,
    document: usize,
    tokens: &[u32],
    roles: &[Role],
    turns: &Turns,
) {
    if tokens[0] != turns.start {
        found.add(Kind::Start, document, 0, || format!("id {}", tokens[0]));
        return;
    }
    let last = tokens.len() - 1;
    if !tokens.ends_with(&turns.end) {
        found.add(Kind::End, document, last, || format!("id {}", tokens[last]));
    }
    for at in 0..tokens.len() {
        let role = roles[at];
        let changes = at == 0 || role != roles[at - 1];
        let is_border =
            tokens[at] == turns.start && (at == 0 || tokens[..at].ends_with(&turns.end));
        if changes && !is_border {
            let before = roles[at - 1];
            found.add(Kind::Border, document, at, || format!("from `{before}` to `{role}`"));
        } else if is_border && !turns.is_of(role, &tokens[at + 1..]) {
            let kind = if changes { Kind::Header } else { Kind::InnerTurn };
            found.add(kind, document, at, || match turns.role_of(&tokens[at + 1..]) {
                Some(other) => format!("`{other}` in the text, `{role}` in the roles"),
                None => format!("no role in the text, `{role}` in the roles"),
            });
        }
    }
}
