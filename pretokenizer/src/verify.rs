//! A folder of shards -> what is wrong with it, a text for each kind of mistake.
//!
//! A folder that `build` wrote says in its manifest what it holds, and all of that is held against it. A folder of the
//! reference has no manifest: then what can be checked is, and the rest is named. Whatever is mapped is looked at on
//! all cores, so that a large folder takes as long as it takes to read.

mod findings; // what is wrong, by kind
mod turns; // how a turn begins and ends, in ids
mod documents; // the documents of a split
mod hashes; // the files against the manifest

use std::path::Path;

use cli::interrupt;
use indicatif::HumanCount;
use shards::{PairReader, atomic, manifest};
use text::chatml::{TURN_END, TURN_START};

use crate::folder::{Folder, Split};
use crate::lengths::Lengths;
use crate::part;
use crate::verify::documents::{Checks, Seen};
use crate::verify::findings::Kind;
use crate::verify::turns::Turns;

/// What came out.
#[derive(Debug, Default)]
pub struct Report {
    /// What is wrong; nothing in a whole folder.
    pub problems: Vec<String>,
    /// What could not be checked, and why.
    pub unchecked: Vec<String>,
    /// What was looked at.
    pub checked: Vec<String>,
}

/// Looks at everything in a folder.
pub fn verify(path: &Path, tokenizer: Option<&Path>) -> anyhow::Result<Report> {
    let folder = Folder::open(path)?;
    let mut report = Report::default();
    match &folder.manifest {
        Some(manifest) => hashes::check(path, manifest, &mut report)?,
        None => no_manifest(path, &mut report),
    }
    let mut readers: Vec<(&Split, PairReader)> = Vec::new();
    for split in &folder.splits {
        match split.open() {
            Ok(reader) => readers.push((split, reader)),
            Err(error) => report.problems.push(first_line(&error)),
        }
    }
    let turns = turns(&folder, tokenizer, &readers, &mut report)?;
    let vocab_size = folder.manifest.as_ref().map(|manifest| manifest.tokenizer.vocab_size);
    let checks = Checks { vocab_size, turns: turns.as_ref() };
    for (split, reader) in &readers {
        interrupt::check()?;
        let mut seen = look_at(&folder, split, reader, checks, &mut report)?;
        report.checked.push(line(split, reader, &seen, checks));
        // Only texts that hold no special tokens are certain not to imitate a turn.
        if let Some((n, places)) = seen.findings.take(Kind::InnerTurn) {
            let first = places.first().map_or(0, |place| place.document);
            report.unchecked.push(format!(
                "{}: {} turns that may stand inside a text, the first in document {}",
                split.name,
                HumanCount(n),
                HumanCount(first as u64)
            ));
        }
        report.problems.extend(seen.findings.told(&split.name, vocab_size));
    }
    Ok(report)
}

/// A folder without a manifest is one of the reference's, or one that a killed run left.
fn no_manifest(path: &Path, report: &mut Report) {
    let whole = fs_err::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let name = whole.file_name().unwrap_or_default().to_string_lossy();
    if path.join(part::FILE_NAME).exists() {
        report.problems.push(
            "it is one part of several: `pretokenizer merge` makes a whole folder of them".into(),
        );
    } else if name.starts_with('.') && name.ends_with(".partial") {
        report
            .problems
            .push("it is being written, or its writer was killed: it has no manifest".into());
    } else if let Some(partial) = atomic::partial_of(&whole) {
        report.problems.push(format!(
            "`{}` is missing, and `{}` beside the folder shows that a build of it was not finished",
            manifest::FILE_NAME,
            partial.file_name().unwrap_or_default().to_string_lossy()
        ));
    }
    report.unchecked.push(format!(
        "hashes, counts and the vocabulary's size: there is no `{}`",
        manifest::FILE_NAME
    ));
}

/// How turns begin and end, as well as it can be known.
fn turns(
    folder: &Folder,
    tokenizer: Option<&Path>,
    readers: &[(&Split, PairReader)],
    report: &mut Report,
) -> anyhow::Result<Option<Turns>> {
    if let Some(manifest) = &folder.manifest
        && manifest.template != "chatml"
    {
        let template = &manifest.template;
        report.unchecked.push(format!("the turns of the template `{template}`"));
        return Ok(None);
    }
    let tokens = [TURN_START, TURN_END].map(|token| folder.special_id(token));
    let [Some(start), Some(end)] = tokens else {
        report.unchecked.push(format!("turns: `{TURN_START}` and `{TURN_END}` have no ids here"));
        return Ok(None);
    };
    match folder.tokenizer(tokenizer)? {
        Ok(tokenizer) => Ok(Turns::of_tokenizer(&tokenizer)),
        Err(why) => {
            let readers: Vec<_> = readers.iter().map(|(_, reader)| reader).collect();
            report.unchecked.push(format!(
                "the roles' names in the text, but that all turns of a role begin alike ({why}; `--tokenizer FILE` gives it)"
            ));
            Ok(Turns::learned(start, end, &readers))
        }
    }
}

/// What a split holds.
fn line(split: &Split, reader: &PairReader, seen: &Seen, checks: Checks<'_>) -> String {
    let mut line = format!(
        "{}: {} documents, {} tokens, {} of the assistant",
        split.name,
        HumanCount(reader.len() as u64),
        HumanCount(reader.n_tokens() as u64),
        HumanCount(seen.tokens()[1])
    );
    if checks.vocab_size.is_none() {
        line.push_str(&format!(", largest id {}", HumanCount(seen.largest_id.into())));
    }
    if seen.plain_texts > 0 {
        line.push_str(&format!("; {} are texts without turns", HumanCount(seen.plain_texts)));
    }
    line
}

/// All documents of a split, source by source where the manifest counts them.
fn look_at(
    folder: &Folder,
    split: &Split,
    reader: &PairReader,
    checks: Checks<'_>,
    report: &mut Report,
) -> anyhow::Result<Seen> {
    let named = folder.manifest.iter().flat_map(|manifest| &manifest.splits);
    let sources = named.filter(|it| it.name == split.name).flat_map(|it| &it.sources);
    let sources: Vec<_> = sources.collect();
    let counted: u64 = sources.iter().map(|source| source.documents).sum();
    if folder.manifest.is_none() || counted != reader.len() as u64 {
        if folder.manifest.is_some() {
            report.problems.push(format!(
                "{}: there are {} documents, the manifest counts {}",
                split.name,
                HumanCount(reader.len() as u64),
                HumanCount(counted)
            ));
        }
        return Ok(documents::check(reader, 0, reader.len(), checks));
    }
    let mut all = Seen::default();
    let mut first = 0;
    for (source, (_, documents)) in sources.into_iter().zip(&split.sources) {
        interrupt::check()?;
        let end = first + documents;
        let seen = documents::check(reader, first, end, checks);
        let [tokens, of_assistant] = seen.tokens();
        // A token without a role is a problem of its own, and in no count.
        let has_roles = !seen.findings.has(Kind::NoRole);
        if has_roles && [tokens, of_assistant] != [source.tokens, source.assistant_tokens] {
            report.problems.push(format!(
                "{}: `{}` has {} tokens, {} of the assistant; the manifest counts {} and {}",
                split.name,
                source.name,
                HumanCount(tokens),
                HumanCount(of_assistant),
                HumanCount(source.tokens),
                HumanCount(source.assistant_tokens)
            ));
        } else if has_roles && seen.tokens_by_role() != source.tokens_by_role {
            report.problems.push(format!(
                "{}: `{}` has tokens of other roles than the manifest counts: {:?}, not {:?}",
                split.name,
                source.name,
                seen.tokens_by_role(),
                source.tokens_by_role
            ));
        }
        let sizes = (first..end).map(|i| u32::try_from(reader.document(i).len()));
        let lengths: Lengths = sizes.map(|size| size.unwrap_or(u32::MAX)).collect();
        if lengths.summary() != source.lengths {
            report.problems.push(format!(
                "{}: the documents of `{}` have other lengths than the manifest says",
                split.name, source.name
            ));
        }
        all.append(seen);
        first = end;
    }
    Ok(all)
}

fn first_line(error: &shards::ReadError) -> String {
    let text = error.to_string();
    text.split('\n').next().unwrap_or_default().to_string()
}
