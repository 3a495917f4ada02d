//! Two folders of shards -> what differs: how they were made, and which documents, tokens and roles.

mod matching; // documents of two splits, matched by what they hold
mod manifests; // what two manifests say differently

use cli::{BadInput, interrupt};
use indicatif::HumanCount;
use shards::PairReader;
use text::Tokenizer;

use crate::difference::matching::{Content, Matching, matching};
use crate::folder::{Folder, Split};

/// Places that are told of one kind.
const TOLD: usize = 3;
/// Tokens that are shown before and behind a difference.
const AROUND: usize = 12;

/// One of the two sides.
#[derive(Debug)]
pub struct Side<'a> {
    /// The folder.
    pub folder: &'a Folder,
    /// Its tokenizer, where it is at hand.
    pub tokenizer: Option<&'a Tokenizer>,
}

/// What differs, in lines; empty if nothing does.
pub fn differences(a: &Side<'_>, b: &Side<'_>) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    if let (Some(a), Some(b)) = (&a.folder.manifest, &b.folder.manifest) {
        lines.extend(manifests::differences(a, b));
    }
    for split in &a.folder.splits {
        match b.folder.splits.iter().find(|it| it.name == split.name) {
            Some(other) => lines.extend(compare(a, split, b, other)?),
            None => lines.push(format!("split `{}`: only in the first", split.name)),
        }
    }
    for split in &b.folder.splits {
        if a.folder.splits.iter().all(|it| it.name != split.name) {
            lines.push(format!("split `{}`: only in the second", split.name));
        }
    }
    Ok(lines)
}

/// Two splits of one name.
fn compare(a: &Side<'_>, of_a: &Split, b: &Side<'_>, of_b: &Split) -> anyhow::Result<Vec<String>> {
    let first = of_a.open().bad_input()?;
    let second = of_b.open().bad_input()?;
    let contents =
        |reader: &PairReader| (0..reader.len()).map(|i| Content::of(reader, i)).collect();
    let (x, y): (Vec<Content>, Vec<Content>) = (contents(&first), contents(&second));
    interrupt::check()?;
    if x == y {
        return Ok(Vec::new());
    }
    let found = matching(&x, &y, |i, j| likeness(&tokens(&first, i), &tokens(&second, j)));
    let mut lines = vec![format!(
        "{}: {} documents in the first, {} in the second",
        of_a.name,
        HumanCount(first.len() as u64),
        HumanCount(second.len() as u64)
    )];
    lines.extend(table(&found, of_a, of_b));
    let source = |split: &Split, i: usize| {
        split.source_of(i).map_or(String::new(), |name| format!(" (`{name}`)"))
    };
    let pair = |i: usize, j: usize| format!("document {i}{} -> {j}", source(of_a, i));
    for &(i, j) in found.moved.iter().take(TOLD) {
        lines.push(format!("  moved: {}", pair(i, j)));
    }
    for &(i, j) in found.other_roles.iter().take(TOLD) {
        let (x, y) = (roles(&first, i), roles(&second, j));
        let at = common(&x, &y);
        let (x, y) = (role(&x, at), role(&y, at));
        lines.push(format!("  other roles: {}, from token {at} on: {x} -> {y}", pair(i, j)));
    }
    for &(i, j) in found.changed.iter().take(TOLD) {
        let (x, y) = (tokens(&first, i), tokens(&second, j));
        let at = common(&x, &y);
        lines.push(format!("  changed: {}, from token {at} on", pair(i, j)));
        lines.push(format!("    behind {}", shown(a, &x[at.saturating_sub(AROUND)..at])));
        lines.push(format!("    first  {}", shown(a, &x[at..x.len().min(at + AROUND)])));
        lines.push(format!("    second {}", shown(b, &y[at..y.len().min(at + AROUND)])));
    }
    let alone = |side: &Side<'_>, split: &Split, reader: &PairReader, i: usize| {
        let tokens = tokens(reader, i);
        let start = shown(side, &tokens[..tokens.len().min(2 * AROUND)]);
        format!("document {i}{}: {start}", source(split, i))
    };
    for &i in found.gone.iter().take(TOLD) {
        lines.push(format!("  only in the first: {}", alone(a, of_a, &first, i)));
    }
    for &i in found.new.iter().take(TOLD) {
        lines.push(format!("  only in the second: {}", alone(b, of_b, &second, i)));
    }
    Ok(lines)
}

/// The counts of each source, in the order of the first split; sources of the second only come last.
fn table(found: &Matching, of_a: &Split, of_b: &Split) -> Vec<String> {
    let mut rows: Vec<(String, [u64; 6])> = Vec::new();
    let mut count = |split: &Split, i: usize, column: usize| {
        let name = split.source_of(i).unwrap_or("all");
        let at = rows.iter().position(|(it, _)| it == name).unwrap_or_else(|| {
            rows.push((name.to_string(), [0; 6]));
            rows.len() - 1
        });
        rows[at].1[column] += 1;
    };
    let pairs = [&found.same, &found.moved, &found.other_roles, &found.changed];
    for (column, pairs) in pairs.into_iter().enumerate() {
        pairs.iter().for_each(|(i, _)| count(of_a, *i, column));
    }
    found.gone.iter().for_each(|i| count(of_a, *i, 4));
    found.new.iter().for_each(|i| count(of_b, *i, 5));
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max(6);
    let mut lines = vec![format!(
        "  {:width$}  {:>9} {:>9} {:>11} {:>9} {:>10} {:>11}",
        "source", "same", "moved", "other roles", "changed", "first only", "second only"
    )];
    for (name, [same, moved, other_roles, changed, gone, new]) in rows {
        let [same, moved, other_roles, changed, gone, new] =
            [same - moved, moved, other_roles, changed, gone, new]
                .map(|n| HumanCount(n).to_string());
        lines.push(format!(
            "  {name:width$}  {same:>9} {moved:>9} {other_roles:>11} {changed:>9} {gone:>10} {new:>11}"
        ));
    }
    lines
}

fn tokens(reader: &PairReader, document: usize) -> Vec<u32> {
    reader.document(document).tokens().collect()
}

fn roles(reader: &PairReader, document: usize) -> Vec<u32> {
    reader.document(document).roles().collect()
}

fn role(roles: &[u32], at: usize) -> String {
    let role = roles.get(at).and_then(|id| shards::Role::ALL.get(*id as usize));
    role.map_or("none".to_string(), |role| format!("`{role}`"))
}

/// How many values two documents begin with in common.
fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The share of the longer document that both begin and end with.
fn likeness(a: &[u32], b: &[u32]) -> f64 {
    let start = common(a, b);
    let most = a.len().min(b.len()) - start;
    let end = a.iter().rev().zip(b.iter().rev()).take(most).take_while(|(a, b)| a == b).count();
    (start + end) as f64 / a.len().max(b.len()).max(1) as f64
}

/// Tokens as text, or as ids.
fn shown(side: &Side<'_>, tokens: &[u32]) -> String {
    match side.tokenizer {
        Some(tokenizer) => format!("{:?}", tokenizer.decode(tokens)),
        None => format!("{tokens:?}"),
    }
}
