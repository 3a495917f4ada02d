//! A section, all others and the flags laid over it -> what is to be built, checked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::NaiveDate;
use cli::{BadInput, bail_input, suggest};
use shards::layout::IndexKind;
use text::Header;

use crate::config::choices::{OnError, SpecialTokensInText, TooLong};
use crate::config::entry::Entry;
use crate::config::generic::{Chat, Instructions, PlainTexts};
use crate::config::key::Key;
use crate::config::near_duplicates::NearDuplicates;
use crate::config::section::{List, Section};
use crate::config::sources::Source;

/// What is to be built.
#[derive(Debug, Clone)]
pub struct Datamix {
    /// Seed of Python's and numpy's global streams, and of sub-sampling.
    pub rng_seed: u32,
    /// Where local files are looked for.
    pub cache_dir: String,
    /// The datasets, in the order of the output.
    pub datasets: Vec<Entry>,
    /// Datasets that follow those; a section can change either list and leave the other.
    pub datasets_extra: Vec<Entry>,
    /// The format of the shards.
    pub index_kind: IndexKind,
    /// At most so many validation rows per dataset.
    pub eval_size: Option<usize>,
    /// The tokenizer to encode with.
    pub tokenizer: Tokenizer,
    /// How conversations become text.
    pub chat_template: ChatTemplate,
    /// Special tokens to add to it, in this order.
    pub extra_tokens: Vec<String>,
    /// What becomes of their strings in a text.
    pub special_tokens_in_text: SpecialTokensInText,
    /// What becomes of rows that cannot be read.
    pub on_error: OnError,
    /// Conversations with fewer assistant tokens are left out.
    pub min_assistant_tokens: Option<usize>,
    /// Documents of more tokens are too long.
    pub max_tokens: Option<usize>,
    /// What becomes of those.
    pub too_long: TooLong,
    /// Conversations that stand earlier in the same split are left out.
    pub remove_duplicates: bool,
    /// Conversations that are much like one that stands earlier in the same split are left out.
    pub remove_near_duplicates: Option<NearDuplicates>,
    /// Conversations of `train` that stand in `val` are left out.
    pub remove_train_in_val: bool,
    /// The folder to write, as the statistics name it.
    pub output_dir: String,
    /// What the names of the shards begin with.
    pub filename_prefix: String,
    /// Also write the text of each conversation.
    pub write_json: bool,
    /// Also pack the folder.
    pub compress: bool,
    /// All keys together, for the manifest.
    pub resolved: Section,
}

/// How conversations become text.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatTemplate {
    /// Where a Jinja template is; `None` for ChatML.
    pub path: Option<PathBuf>,
    /// Which of several.
    pub name: Option<String>,
    /// The day that it may write.
    pub date: Option<NaiveDate>,
    /// Variables that it sees.
    pub variables: BTreeMap<String, serde_json::Value>,
    /// Whether what opens an assistant's turn is trained on.
    pub header: Header,
    /// Whether a conversation that the template refuses is left out; else it is an error.
    pub skips: bool,
}

/// The tokenizer to encode with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tokenizer {
    /// A SentencePiece model.
    SentencePiece(PathBuf),
    /// A `tokenizer.json`, by the reference's rules.
    Falcon(PathBuf),
    /// A `tokenizer.json`, as transformers uses it.
    HuggingFace(PathBuf),
}

impl Tokenizer {
    /// Its name in the YAML.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::SentencePiece(_) => "SentencePieceTokenizer",
            Self::Falcon(_) => "FalconTokenizer",
            Self::HuggingFace(_) => "HuggingFaceTokenizer",
        }
    }

    /// The tokenizer's file.
    #[must_use]
    pub fn file(&self) -> &Path {
        match self {
            Self::SentencePiece(path) | Self::Falcon(path) | Self::HuggingFace(path) => path,
        }
    }
}

impl Datamix {
    /// Checks the keys that all sections and flags together give.
    pub fn new(section: Section) -> anyhow::Result<Self> {
        let needed = |value: Option<&String>, key: &str| match value {
            Some(value) => Ok(value.clone()),
            None => Err(missing(key)),
        };
        let datasets = section.datasets.value().cloned().ok_or_else(|| {
            let what =
                "`datasets` is set in none of the sections\nhint: name a section that sets it";
            cli::exit::bad_input(anyhow::anyhow!(what))
        })?;
        let datasets_extra = section.datasets_extra.value().cloned().unwrap_or_default();
        if datasets.is_empty() && datasets_extra.is_empty() {
            bail_input!("`datasets` is empty: there is nothing to build");
        }
        for (i, entry) in datasets.iter().chain(&datasets_extra).enumerate() {
            check_entry(entry)?;
            let mut others = datasets.iter().chain(&datasets_extra).take(i);
            if entry.source.given_name().is_some() && others.any(|it| it.name == entry.name) {
                bail_input!(
                    "{}: `name: {}` stands in the datamix twice\nhint: give each source a name of its own",
                    entry.place,
                    entry.name
                );
            }
        }
        datasets.iter().try_for_each(check_fraction)?;
        let output_dir = output_dir(
            &needed(section.output_dir.value(), "output_dir")?,
            section.output_dir_suffix.value().map_or("", String::as_str),
        );
        Ok(Self {
            rng_seed: *section.rng_seed.value().ok_or_else(|| missing("rng_seed"))?,
            cache_dir: needed(section.cache_dir.value(), "cache_dir")?,
            datasets,
            datasets_extra,
            index_kind: index_kind(section.dataset_impl.value().map(String::as_str)),
            eval_size: section.eval_size.value().copied().filter(|n| *n > 0),
            tokenizer: tokenizer(&section)?,
            extra_tokens: extra_tokens(&section)?,
            chat_template: chat_template(&section)?,
            special_tokens_in_text: section
                .special_tokens_in_text
                .value()
                .copied()
                .unwrap_or_default(),
            on_error: section.on_error.value().copied().unwrap_or_default(),
            min_assistant_tokens: section.min_assistant_tokens.value().copied(),
            max_tokens: max_tokens(&section)?,
            too_long: section.too_long.value().copied().unwrap_or_default(),
            remove_near_duplicates: remove_near_duplicates(&section)?,
            remove_duplicates: section.remove_duplicates.value().copied().unwrap_or(false),
            remove_train_in_val: section.remove_train_in_val.value().copied().unwrap_or(false),
            output_dir,
            filename_prefix: needed(section.filename_prefix.value(), "filename_prefix")?,
            write_json: section.write_json.value().copied().unwrap_or(false),
            compress: section.compress.value().copied().unwrap_or(false),
            resolved: section,
        })
    }
}

impl Datamix {
    /// All datasets, the extra ones last: the order in which they are loaded and written.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.datasets.iter().chain(&self.datasets_extra)
    }
}

/// What `dataset_impl` means: any word but `mmap` the older format, and so does none, as in the reference.
pub(crate) fn index_kind(dataset_impl: Option<&str>) -> IndexKind {
    if dataset_impl == Some("mmap") { IndexKind::Mmap } else { IndexKind::Legacy }
}

/// The folder to write, as the statistics name it.
pub(crate) fn output_dir(output_dir: &str, suffix: &str) -> String {
    normalise(&format!("{output_dir}{suffix}"))
}

/// The path of a file of the output, as `pathlib` writes it.
pub(crate) fn path_of(output_dir: &str, name: &str) -> String {
    normalise(&format!("{output_dir}/{name}"))
}

fn missing(key: &str) -> anyhow::Error {
    cli::exit::bad_input(anyhow::anyhow!(
        "`{key}` is set in none of the sections\nhint: add it to a section, or give `--{key}`"
    ))
}

fn check_entry(entry: &Entry) -> anyhow::Result<()> {
    let Entry { name, place, source, .. } = entry;
    let generic = match source {
        Source::Messages(keys) if entry.key() == "sharegpt" => Chat::share_gpt(keys).map(drop),
        Source::Messages(keys) => Chat::messages(keys).map(drop),
        Source::PromptResponse(keys) => Instructions::of(keys).map(drop),
        Source::Text(keys) => PlainTexts::of(keys).map(drop),
        _ => Ok(()),
    };
    if let Err(what) = generic {
        bail_input!("{place}: `{name}`: {what}");
    }
    if matches!(source, Source::NotSupported(_)) {
        bail_input!("{place}: the dataset `{name}` is not supported");
    }
    if let Source::Oig(keys) = source
        && keys.no_cache == Some(true)
    {
        bail_input!(
            "{place}: `no_cache: true` of `{name}` fetches `source_url` again, which this program leaves to you\nhint: replace the file in `cache_dir`, and take the key away"
        );
    }
    Ok(())
}

/// In `datasets_extra`, the key is passed over.
fn check_fraction(entry: &Entry) -> anyhow::Result<()> {
    let Entry { name, place, source, .. } = entry;
    if let Some(fraction) = source.mixing().fraction
        && (fraction.is_nan() || fraction <= 0.0)
    {
        bail_input!("{place}: `fraction: {fraction}` of `{name}` must be above 0");
    }
    Ok(())
}

fn remove_near_duplicates(section: &Section) -> anyhow::Result<Option<NearDuplicates>> {
    let Some(keys) = section.remove_near_duplicates.value() else { return Ok(None) };
    keys.checked().map_err(|what| anyhow::anyhow!("`remove_near_duplicates`: {what}")).bad_input()
}

fn tokenizer(section: &Section) -> anyhow::Result<Tokenizer> {
    match section.tokenizer_type.value().map(String::as_str) {
        Some("SentencePieceTokenizer") => {
            let file = section.vocab_file.value().ok_or_else(|| missing("vocab_file"))?;
            Ok(Tokenizer::SentencePiece(file.into()))
        }
        // The reference reads the tokenizer of this dataset-like folder whatever `vocab_file` says.
        Some("FalconTokenizer") => Ok(Tokenizer::Falcon("tiiuae/falcon-40b/tokenizer.json".into())),
        Some("HuggingFaceTokenizer") => {
            let file =
                PathBuf::from(section.vocab_file.value().ok_or_else(|| missing("vocab_file"))?);
            // A model's folder will do.
            let file = if file.is_dir() { file.join("tokenizer.json") } else { file };
            Ok(Tokenizer::HuggingFace(file))
        }
        Some(other) => {
            let known = ["SentencePieceTokenizer", "HuggingFaceTokenizer", "FalconTokenizer"];
            let hint = suggest::hint(other, known, "the values there are");
            bail_input!("`tokenizer_type: {other}` is not supported\nhint: {hint}")
        }
        None => Err(missing("tokenizer_type")),
    }
}

fn max_tokens(section: &Section) -> anyhow::Result<Option<usize>> {
    match (section.max_tokens.value(), section.too_long.value()) {
        (Some(0), _) => bail_input!("`max_tokens: 0` leaves no document, expected 1 or more"),
        (None, Some(_)) => bail_input!(
            "`too_long` says what becomes of documents of more than `max_tokens`, which is not set\nhint: set `max_tokens`, such as to the `seq_length` of the training"
        ),
        (max, _) => Ok(max.copied()),
    }
}

fn extra_tokens(section: &Section) -> anyhow::Result<Vec<String>> {
    let list = section.vocab_extra_ids_list.value().map_or("", String::as_str);
    let more = section.extra_tokens.value().map(|List(tokens)| tokens.clone()).unwrap_or_default();
    if let Some(i) = more.iter().position(String::is_empty) {
        bail_input!("`extra_tokens`: item {} is empty, expected a text to look for", i + 1);
    }
    if list.is_empty() {
        return Ok(more);
    }
    let mut tokens: Vec<String> = list.split(',').map(String::from).collect();
    if tokens.iter().any(String::is_empty) {
        bail_input!(
            "`vocab_extra_ids_list: {list}` has an empty item\nhint: remove the comma that has nothing on one side"
        );
    }
    tokens.extend(more);
    Ok(tokens)
}

fn chat_template(section: &Section) -> anyhow::Result<ChatTemplate> {
    let path = section.chat_template.value().filter(|it| !it.eq_ignore_ascii_case("chatml"));
    let date = match section.chat_template_date.value() {
        None => None,
        Some(date) => match date.parse() {
            Ok(date) => Some(date),
            Err(_) => {
                bail_input!("`chat_template_date: {date}`: expected a day such as `2023-08-25`")
            }
        },
    };
    let one_of = |key: &str, value: &Key<String>, words: [&str; 2]| match value.value() {
        None => Ok(false),
        Some(word) if words.contains(&word.as_str()) => Ok(*word == words[1]),
        Some(other) => {
            let hint = suggest::hint(other, words, "the values there are");
            bail_input!("`{key}: {other}` is not known\nhint: {hint}")
        }
    };
    let untrained =
        one_of("assistant_header", &section.assistant_header, ["trained", "untrained"])?;
    Ok(ChatTemplate {
        path: path.map(PathBuf::from),
        name: section.chat_template_name.value().cloned(),
        date,
        variables: section
            .chat_template_variables
            .value()
            .map(|it| it.0.clone())
            .unwrap_or_default(),
        header: if untrained { Header::Untrained } else { Header::Trained },
        skips: one_of("on_template_error", &section.on_template_error, ["stop", "skip"])?,
    })
}

/// A path as Python's `pathlib` writes it: without `.`, repeated and trailing slashes; `..` stays, and so do two slashes
/// at the beginning, to which POSIX may give a meaning.
fn normalise(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let root = match path.find(|c| c != '/').unwrap_or(path.len()) {
        0 => "",
        2 => "//",
        _ => "/",
    };
    match format!("{root}{}", parts.join("/")) {
        empty if empty.is_empty() => ".".to_string(),
        path => path,
    }
}

#[cfg(test)]
mod tests {
    use cli::Yaml;
    use expect_test::{Expect, expect};

    use super::*;
    use crate::config::sections::Sections;

    #[track_caller]
    fn check_error(yaml: &str, expected: &Expect) {
        let mut sections = Sections::default();
        let error = sections
            .add(&Yaml::from_text("mix.yaml", yaml))
            .and_then(|()| Datamix::new(sections.merge(&["a".into()])?))
            .unwrap_err();
        expected.assert_eq(&format!("{error:#}"));
    }

    #[test]
    fn mistakes_are_found_where_they_are_made() {
        check_error(
            "a:\n  datasets:\n    - orca-chat:\n        val_spilt: 0.1\n",
            &expect![[r#"
            mix.yaml:4:9: unknown key `val_spilt`
              |
            4 |         val_spilt: 0.1
              |         ^
            hint: did you mean `val_split`?"#]],
        );
        check_error(
            "b:\n  rng_sed: 1\n",
            &expect![[r#"
            mix.yaml:2:3: unknown key `rng_sed`
              |
            2 |   rng_sed: 1
              |   ^
            hint: did you mean `rng_seed`?"#]],
        );
        check_error(
            "a:\n  datasets:\n    - alpaca\n    - orca_chatt\n",
            &expect![[r#"
            mix.yaml:4:7: unknown dataset `orca_chatt`
              |
            4 |     - orca_chatt
              |       ^
            hint: did you mean `orca-chat`?"#]],
        );
        check_error(
            "a:\n  datasets:\n    - orca_chatt:\n        fraction: 1\n",
            &expect![[r#"
            mix.yaml:3:7: unknown dataset `orca_chatt`
              |
            3 |     - orca_chatt:
              |       ^
            hint: did you mean `orca-chat`?"#]],
        );
        check_error(
            "a:\n  datasets:\n    - alpaca:\n      fraction: 1\n",
            &expect![[r#"
            mix.yaml:3:7: a second name, `fraction`, in the entry of `alpaca`: indent the keys of `alpaca` deeper than its name
              |
            3 |     - alpaca:
              |       ^"#]],
        );
        check_error(
            "a:\n  datasets: [alpaca: {val_split: much}]\n",
            &expect![[r#"
            mix.yaml:2:23: found the text "much", expected a share of the rows such as `0.2`, or a number of rows such as `100`
              |
            2 |   datasets: [alpaca: {val_split: much}]
              |                       ^"#]],
        );
        check_error(
            "a:\n  datasets: [alpaca: {val_split: 1.5}]\n",
            &expect![[r#"
            mix.yaml:2:34: `1.5` is no share: expected 0.0 to 1.0
              |
            2 |   datasets: [alpaca: {val_split: 1.5}]
              |                                  ^"#]],
        );
        check_error(
            "a:\n  datasets: [alpaca: {max_val_set: yes}]\n",
            &expect![[r#"
            mix.yaml:2:36: `max_val_set`: expected a whole number, not negative
              |
            2 |   datasets: [alpaca: {max_val_set: yes}]
              |                                    ^"#]],
        );
        check_error(
            "a:\n  datasets: [hellaswag]\n",
            &expect!["mix.yaml:2:14: the dataset `hellaswag` is not supported"],
        );
        check_error(
            "a:\n  datasets: [alpaca]\n",
            &expect![[r#"
            `output_dir` is set in none of the sections
            hint: add it to a section, or give `--output_dir`"#]],
        );
        check_error(
            "aa:\n  datasets: [alpaca]\n",
            &expect![[r#"
            section `a` stands in no configuration file
            hint: did you mean `aa`?"#]],
        );
        check_error("a:\n", &expect!["mix.yaml: the section `a` is empty"]);
    }

    #[test]
    fn paths_are_written_as_pathlib_writes_them() {
        for (path, expected) in [
            ("./out//x/_llama2", "out/x/_llama2"),
            ("/a/./b/", "/a/b"),
            ("//a/b", "//a/b"),
            ("///a/b", "/a/b"),
            ("a/../b", "a/../b"),
            (".", "."),
        ] {
            assert_eq!(normalise(path), expected);
        }
    }
}
