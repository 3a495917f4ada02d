//! A folder of shards -> some of its documents, token by token, for a person to read.

use std::ops::ControlFlow;
use std::path::Path;
use std::thread;

use cli::{BadInput, bail_input};
use shards::{PairReader, Role};
use text::Tokenizer;

use crate::folder::{Folder, Split};
use crate::in_order;

/// Which documents.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// Of this split only.
    pub split: Option<String>,
    /// The one with this number in its split.
    pub index: Option<usize>,
    /// Of this source only.
    pub source: Option<String>,
    /// Whose text contains this.
    pub grep: Option<String>,
}

/// A document, readable.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The split that it is in.
    pub split: String,
    /// Its number there.
    pub index: usize,
    /// How many documents the split has.
    pub of: usize,
    /// The source that it is from, where a manifest tells.
    pub source: Option<String>,
    /// Its tokens.
    pub tokens: Vec<Token>,
}

/// A token, readable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its number in the vocabulary.
    pub id: u32,
    /// Whose it is; `None` for a number that is no role.
    pub role: Option<Role>,
    /// How the vocabulary writes it; empty without a tokenizer.
    pub piece: String,
    /// The text that it completes: nothing for the first bytes of a character.
    pub text: String,
}

impl Token {
    /// Whether a model learns to say it.
    #[must_use]
    pub fn is_trained_on(&self) -> bool {
        self.role == Some(Role::Assistant)
    }
}

/// Turns of a document: stretches of one role, each from its start to its end.
pub fn turns(tokens: &[Token], turn_start: Option<u32>) -> impl Iterator<Item = &[Token]> {
    tokens.chunk_by(move |a, b| a.role == b.role && Some(b.id) != turn_start)
}

/// Opens the splits that a choice is about.
pub fn splits<'f>(
    folder: &'f Folder,
    choice: &Choice,
) -> anyhow::Result<Vec<(&'f Split, PairReader)>> {
    let chosen = |it: &&Split| choice.split.as_ref().is_none_or(|name| *name == it.name);
    let splits: Vec<_> = folder.splits.iter().filter(chosen).collect();
    if let (Some(name), true) = (&choice.split, splits.is_empty()) {
        let known: Vec<_> = folder.splits.iter().map(|it| it.name.as_str()).collect();
        bail_input!(
            "`{}` has no split `{name}`\nhint: it has `{}`",
            folder.path.display(),
            known.join("`, `")
        );
    }
    if let Some(source) = &choice.source {
        let mut known: Vec<_> = folder
            .splits
            .iter()
            .flat_map(|it| it.sources.iter().map(|(name, _)| name.as_str()))
            .collect();
        if !known.contains(&source.as_str()) {
            known.dedup();
            let hint = cli::suggest::hint(source, known.iter().copied(), "the sources there are");
            bail_input!("`{}` has no source `{source}`\nhint: {hint}", folder.path.display());
        }
    }
    splits.into_iter().map(|split| Ok((split, split.open().bad_input()?))).collect()
}

/// At most `count` documents of the choice, the first ones.
pub fn choose(
    splits: &[(&Split, PairReader)],
    tokenizer: Option<&Tokenizer>,
    choice: &Choice,
    count: usize,
) -> anyhow::Result<Vec<Shown>> {
    if let Some(index) = choice.index
        && splits.iter().all(|(_, reader)| index >= reader.len())
    {
        let there: Vec<_> = splits
            .iter()
            .map(|(split, reader)| format!("`{}` has {}", split.name, reader.len()))
            .collect();
        bail_input!(
            "`--index {index}`: there is no such document: {}, numbered from 0",
            there.join(", ")
        );
    }
    let mut chosen = Vec::new();
    for (split, reader) in splits {
        let indices = match choice.index {
            Some(index) => index..(index + 1).min(reader.len()),
            None => 0..reader.len(),
        };
        let is_of_source = |index: &usize| {
            choice.source.as_deref().is_none_or(|it| split.source_of(*index) == Some(it))
        };
        let (indices, left) = (indices.filter(is_of_source), count - chosen.len());
        let indices: Vec<usize> = match (&choice.grep, tokenizer) {
            (None, _) => indices.take(left).collect(),
            (Some(wanted), Some(tokenizer)) => {
                let has = |i: &usize| {
                    let tokens: Vec<u32> = reader.document(*i).tokens().collect();
                    tokenizer.decode(&tokens).contains(wanted)
                };
                first_that(indices, has, left)?
            }
            (Some(_), None) => Vec::new(),
        };
        chosen.extend(indices.into_iter().map(|i| document(split, reader, i, tokenizer)));
    }
    Ok(chosen)
}

/// The first `count` documents that are so; they are looked at on all cores.
fn first_that(
    indices: impl Iterator<Item = usize> + Send,
    is_so: impl Fn(&usize) -> bool + Sync,
    count: usize,
) -> anyhow::Result<Vec<usize>> {
    const AT_ONCE: usize = 256;
    let (mut indices, mut found) = (indices, Vec::new());
    let next = || {
        let some: Vec<usize> = indices.by_ref().take(AT_ONCE).collect();
        Ok((!some.is_empty()).then_some(some))
    };
    let look = |mut some: Vec<usize>| {
        some.retain(&is_so);
        Ok(some)
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    in_order::run(
        cores,
        next,
        || look,
        |some| {
            found.extend(some);
            Ok(if found.len() < count { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        },
    )?;
    found.truncate(count);
    Ok(found)
}

/// The documents of each source that stand at these shares of its way, the sources in order.
pub fn some_of_each(
    splits: &[(&Split, PairReader)],
    tokenizer: Option<&Tokenizer>,
    count: usize,
) -> Vec<Shown> {
    let mut chosen = Vec::new();
    for (split, reader) in splits {
        let whole = [(String::new(), reader.len())];
        let sources = if split.sources.is_empty() { &whole[..] } else { &split.sources };
        let mut first = 0;
        for (_, n) in sources {
            let n = (*n).min(reader.len() - first);
            for k in 0..count.min(n) {
                let index = first + n * (2 * k + 1) / (2 * count.min(n));
                chosen.push(document(split, reader, index, tokenizer));
            }
            first += n;
        }
    }
    chosen
}

fn document(
    split: &Split,
    reader: &PairReader,
    index: usize,
    tokenizer: Option<&Tokenizer>,
) -> Shown {
    let document = reader.document(index);
    let mut decoder = tokenizer.map(Tokenizer::decoder);
    let tokens = document.tokens().zip(document.roles()).map(|(id, role)| Token {
        id,
        role: Role::ALL.get(role as usize).copied(),
        piece: tokenizer.and_then(|it| it.id_to_piece(id)).unwrap_or_default().to_string(),
        text: decoder.as_mut().map(|it| it.push(id)).unwrap_or_default(),
    });
    Shown {
        split: split.name.clone(),
        index,
        of: reader.len(),
        source: split.source_of(index).map(String::from),
        tokens: tokens.collect(),
    }
}

/// The tokenizer, if it is at hand; else why it is not.
pub fn tokenizer(
    folder: &Folder,
    given: Option<&Path>,
    choice: &Choice,
) -> anyhow::Result<Result<Tokenizer, String>> {
    let tokenizer = folder.tokenizer(given)?;
    if let (Err(why), Some(_)) = (&tokenizer, &choice.grep) {
        bail_input!("`--grep` needs the tokenizer: {why}\nhint: give it with `--tokenizer FILE`");
    }
    Ok(tokenizer)
}
