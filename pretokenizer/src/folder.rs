//! A folder of shards, opened to be looked at: one that `build` wrote, or one of the reference's, which has no manifest.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cli::{BadInput, bail_input};
use shards::hash::FileHash;
use shards::manifest::{self, Manifest};
use shards::{PairReader, ReadError};
use text::Tokenizer;

/// What a folder says about itself; its shards are not opened yet.
#[derive(Debug)]
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    /// `None` in a folder of the reference.
    pub manifest: Option<Manifest>,
    /// Its splits, in the order of the manifest, or of their names.
    pub splits: Vec<Split>,
    /// Special tokens with their ids, of the manifest or of `special_tokens.json`.
    pub special_tokens: Vec<(String, u32)>,
}

/// A split by its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// `train` or `val`.
    pub name: String,
    /// The folder and the start of its files' names.
    pub prefix: PathBuf,
    /// What each source gave, in order: its name and its documents. Empty without a manifest.
    pub sources: Vec<(String, usize)>,
}

impl Split {
    /// Opens and checks its files.
    pub fn open(&self) -> Result<PairReader, ReadError> {
        PairReader::open(&self.prefix)
    }

    /// The source that a document is from, if that is known.
    #[must_use]
    pub fn source_of(&self, document: usize) -> Option<&str> {
        let mut end = 0;
        let source = self.sources.iter().find(|(_, documents)| {
            end += documents;
            document < end
        });
        source.map(|(name, _)| name.as_str())
    }
}

impl Folder {
    /// Reads its manifest, or finds its splits by the names of its files.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        if !path.is_dir() {
            bail_input!(
                "`{}`: there is no such folder\nhint: give the `output_dir` of a `pretokenizer build`",
                path.display()
            );
        }
        let folder = path.to_path_buf();
        if path.join(manifest::FILE_NAME).exists() {
            let manifest = Manifest::read(path).bad_input()?;
            let splits = manifest.splits.iter().map(|split| Split {
                name: split.name.clone(),
                prefix: path.join(&split.prefix),
                sources: split
                    .sources
                    .iter()
                    .map(|it| {
                        (it.name.clone(), usize::try_from(it.documents).unwrap_or(usize::MAX))
                    })
                    .collect(),
            });
            return Ok(Self {
                splits: splits.collect(),
                special_tokens: manifest.tokenizer.special_tokens.clone(),
                manifest: Some(manifest),
                path: folder,
            });
        }
        let splits = splits_by_name(path)?;
        if splits.is_empty() {
            bail_input!(
                "`{}` holds no shards: neither `{}` nor a file `*-text.idx`\nhint: give the `output_dir` of a `pretokenizer build`",
                path.display(),
                manifest::FILE_NAME
            );
        }
        let special_tokens = special_tokens(path)?;
        Ok(Self { path: folder, manifest: None, splits, special_tokens })
    }

    /// The id of a special token.
    #[must_use]
    pub fn special_id(&self, token: &str) -> Option<u32> {
        self.special_tokens.iter().find(|(it, _)| it == token).map(|(_, id)| *id)
    }

    /// The tokenizer that its tokens come from: the given file, or the one that the manifest names, checked by its
    /// hash. `Err` is the reason why there is none.
    pub fn tokenizer(&self, given: Option<&Path>) -> anyhow::Result<Result<Tokenizer, String>> {
        let named = self.manifest.as_ref().map(|manifest| &manifest.tokenizer.file);
        let file = match (given, named) {
            (Some(given), _) if !given.is_file() => {
                bail_input!("`--tokenizer {}`: there is no such file", given.display())
            }
            (Some(given), _) => given,
            (None, None) => return Ok(Err("no manifest names the tokenizer".into())),
            (None, Some(named)) if !Path::new(&named.path).is_file() => {
                return Ok(Err(format!("`{}` is not here", named.path)));
            }
            (None, Some(named)) => Path::new(&named.path),
        };
        if let Some(named) = named {
            let found = FileHash::of(file, "").bad_input()?;
            if found.sha256 != named.sha256 && given.is_some() {
                bail_input!(
                    "`{}` is not the tokenizer of these shards: its SHA-256 is {}, the manifest's is {}",
                    file.display(),
                    found.sha256,
                    named.sha256
                );
            } else if found.sha256 != named.sha256 {
                return Ok(Err(format!("`{}` has changed since", file.display())));
            }
        }
        Ok(Ok(Tokenizer::reopen(file, &self.special_tokens).bad_input()?))
    }
}

/// `P-text.idx` means a split with prefix `P`, whose name is what stands behind the last `-`.
fn splits_by_name(folder: &Path) -> anyhow::Result<Vec<Split>> {
    let mut splits = Vec::new();
    for entry in fs_err::read_dir(folder).bad_input()? {
        let file = entry.bad_input()?.file_name();
        if let Some(prefix) = file.to_str().and_then(|it| it.strip_suffix("-text.idx"))
            && !prefix.starts_with('.')
        {
            let name = prefix.rsplit_once('-').map_or(prefix, |(_, name)| name).to_string();
            splits.push(Split { name, prefix: folder.join(prefix), sources: Vec::new() });
        }
    }
    splits.sort_by(|a, b| a.prefix.cmp(&b.prefix));
    Ok(splits)
}

/// The reference's `special_tokens.json`.
fn special_tokens(folder: &Path) -> anyhow::Result<Vec<(String, u32)>> {
    let path = folder.join("special_tokens.json");
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = fs_err::read_to_string(&path).bad_input()?;
    let tokens: BTreeMap<String, u32> = serde_json::from_str(&text)
        .map_err(|error| anyhow::anyhow!("`{}`: {error}", path.display()))
        .bad_input()?;
    let mut tokens: Vec<_> = tokens.into_iter().collect();
    tokens.sort_by_key(|(_, id)| *id);
    Ok(tokens)
}
