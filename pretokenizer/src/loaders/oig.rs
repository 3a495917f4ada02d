//! `oig_file`: texts with `<human>:` and `<bot>:` marks, joined to conversations of a least length.

use std::path::Path;
use std::sync::LazyLock;

use anyhow::anyhow;
use regex::Regex;
use serde::Deserialize;
use shards::rng::TorchGenerator;

use crate::config::Key;
use crate::config::sources::Oig;
use crate::documents::{Documents, Joined};
use crate::loaders::{Context, Loaded, local};
use crate::piece::Piece;
use crate::python::{self, SPACE};
use crate::sample::Sample;
use crate::source::typed;
use crate::split;

#[derive(Deserialize)]
struct Row {
    text: Option<String>,
}

/// Loads the file that the source's address names.
pub(crate) fn load(keys: &Oig, context: &mut Context<'_>) -> anyhow::Result<Loaded> {
    let url = keys.source_url.as_deref().ok_or_else(|| {
        anyhow!("`source_url` is missing\nhint: its last part names the file in `cache_dir`")
    })?;
    let name = url.rsplit('/').next().unwrap_or(url);
    let file = Path::new(keys.cache_dir.as_deref().unwrap_or(".cache/")).join(name);
    let file = local(file, &format!("the file of `{url}`"))?;
    let piece = |row: Row| {
        let turns = row.text.as_deref().and_then(turns);
        Ok(turns.map(|turns| {
            let length = turns.iter().map(|turn| python::len(turn)).sum::<usize>();
            (Piece::from(Sample::alternating(turns)), length)
        }))
    };
    let mut lengths = Vec::new();
    context.reader.for_each(&[file], typed(), piece, |place, piece| {
        match piece {
            Some((piece, length)) => lengths.push((context.samples.push(place, &piece)?, length)),
            None => context.samples.drop_row(place, "no text, or not of human and bot in turn"),
        }
        Ok(())
    })?;

    let mut generator = TorchGenerator::new(keys.manual_seed.unwrap_or(split::DEFAULT_SEED));
    let order = generator.randperm(lengths.len());
    let shuffled = order.into_iter().map(|i| lengths[i]);
    let mut joined = join(shuffled, Key::argument(keys.min_length.as_ref(), Some(1000)));
    if let Some(max_count) = keys.max_count {
        joined.truncate(max_count);
    }
    let (train, val) = split::torch(joined.len(), context.val_split, &mut generator)?;
    let n_train = train.len();
    let joined = joined.in_order(train.into_iter().chain(val));
    Ok(Loaded::divided("ListDataset", n_train).with_documents(Documents::Joined(joined)))
}

/// The turns of a text; `None` if they do not begin with the human and end with the bot.
fn turns(text: &str) -> Option<Vec<String>> {
    static MARK: LazyLock<Regex> = LazyLock::new(|| {
        let pattern = format!("[{SPACE}]*(<(?:human|bot)>):[{SPACE}]*");
        Regex::new(&pattern).expect("the pattern is written here")
    });
    let mut turns = Vec::new();
    let (mut role, mut turn) = ("", String::new());
    let mut walk = |piece| {
        if matches!(piece, "<human>" | "<bot>") {
            if role != piece {
                if !role.is_empty() {
                    turns.push(std::mem::take(&mut turn));
                }
                role = piece;
            }
        } else {
            // A text before the first mark stays, glued to the first turn.
            turn.push_str(python::strip(piece));
        }
    };
    let mut end = 0;
    for found in MARK.captures_iter(text) {
        let (whole, mark) = (found.get_match(), found.get(1).expect("the mark is in every match"));
        walk(&text[end..whole.start()]);
        walk(mark.as_str());
        end = whole.end();
    }
    walk(&text[end..]);
    turns.push(turn);
    (role == "<bot>" && turns.len() % 2 == 0).then_some(turns)
}

/// Joins conversations until they have so many characters; the last one may have fewer, and there is always one. Without
/// a least length, each of them stays alone.
fn join(conversations: impl Iterator<Item = (u32, usize)>, min_length: Option<usize>) -> Joined {
    let (mut joined, mut total) = (Joined::default(), 0);
    for (sample, length) in conversations {
        if min_length.is_some_and(|min_length| total >= min_length) {
            joined.end();
            total = 0;
        }
        total += length;
        joined.push(sample);
        if min_length.is_none() {
            joined.end();
        }
    }
    if min_length.is_some() {
        joined.end();
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_cut_a_text_into_turns() {
        #[track_caller]
        fn check(text: &str, expected: Option<&[&str]>) {
            assert_eq!(
                turns(text).as_deref(),
                expected
                    .map(|it| it.iter().map(ToString::to_string).collect::<Vec<_>>())
                    .as_deref()
            );
        }
        check("<human>: a \n<bot>: b", Some(&["a", "b"]));
        check("well <human>: a <human>: c <bot>: b ", Some(&["wellac", "b"]));
        check("<bot>: b", None);
        check("<human>: a <bot>: b <human>: c", None);
        check("nothing", None);
    }
}
