//! A dataset of the Hugging Face hub -> a folder of its files: out of the cache, or fetched into it.
//!
//! The cache is `huggingface_hub`'s: `datasets--org--name` in `HF_HUB_CACHE`, else in `HF_HOME/hub`, else in
//! `~/.cache/huggingface/hub`; of its snapshots the one that `refs/main` names. What is not there is fetched from
//! `HF_ENDPOINT` with the token in `HF_TOKEN`, all data files of the dataset, unless `HF_HUB_OFFLINE` is set.
//!
//! A download that was cut goes on where it stopped, in this run or in the next one. Each file is checked: its size, and its SHA-256
//! where the hub says it (it does for large files). A snapshot counts only when all its files are there: until then a file
//! `.incomplete` stands in it.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use cli::{Progress, Unit, bail_input, exit, interrupt, print};
use fs_err as fs;
use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use shards::{atomic, hash};

/// The file in a snapshot of which some files are missing yet.
const INCOMPLETE: &str = ".incomplete";

/// How often a download that is cut goes on before the run gives up.
const RETRIES: usize = 4;

/// The folder of a dataset; `is_data` says which of its files to fetch, besides the one that describes them.
pub fn folder(
    name: &str,
    is_data: impl Fn(&str) -> bool,
    description: &str,
) -> anyhow::Result<PathBuf> {
    if !is_name(name) {
        bail_input!("`{name}`: there is no such file or folder");
    }
    match cached(name) {
        Some(folder) => Ok(folder),
        None => fetched(name, is_data, description).map_err(|error| {
            if error.is::<cli::Interrupted>() { error } else { exit::bad_input(error) }
        }),
    }
}

/// Whether a dataset of the hub may be called so.
fn is_name(name: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains("..");
    name.split('/').count() <= 2
        && name.split('/').all(is_part)
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
}

/// The whole snapshot of a dataset that was fetched before.
fn cached(name: &str) -> Option<PathBuf> {
    let dataset = cache()?.join(format!("datasets--{}", name.replace('/', "--")));
    let commit = fs::read_to_string(dataset.join("refs/main")).ok()?;
    let snapshot = dataset.join("snapshots").join(commit.trim());
    (snapshot.is_dir() && !snapshot.join(INCOMPLETE).exists()).then_some(snapshot)
}

/// Where `huggingface_hub` keeps what it fetches.
fn cache() -> Option<PathBuf> {
    variable("HF_HUB_CACHE")
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&variable("HF_HOME")?).join("hub")))
        .or_else(|| Some(Path::new(&variable("XDG_CACHE_HOME")?).join("huggingface/hub")))
        .or_else(|| Some(Path::new(&variable("HOME")?).join(".cache/huggingface/hub")))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn fetched(
    name: &str,
    is_data: impl Fn(&str) -> bool,
    description: &str,
) -> anyhow::Result<PathBuf> {
    let hint = format!("hint: a folder `{name}` below the working directory would do instead");
    let offline = variable("HF_HUB_OFFLINE").is_some_and(|it| !["0", "false"].contains(&&*it));
    if offline {
        bail_input!(
            "the dataset `{name}` is neither here nor in the cache of Hugging Face, and `HF_HUB_OFFLINE` is set\n{hint}"
        );
    }
    let cache =
        cache().ok_or_else(|| anyhow!("neither `HF_HUB_CACHE` nor `HOME` is set\n{hint}"))?;
    let refused = |error: ApiError| {
        anyhow!("the dataset `{name}` is not here and cannot be fetched: {}\n{hint}", said(&error))
    };
    let builder = ApiBuilder::from_env().with_cache_dir(cache).with_retries(RETRIES);
    let builder = match variable("HF_TOKEN") {
        Some(token) => builder.with_token(Some(token)),
        None => builder,
    };
    let dataset = builder.build().map_err(refused)?;
    let dataset_repo = dataset.dataset(name.to_owned());
    let info = dataset_repo.info().map_err(refused)?;
    let there: Vec<String> = info.siblings.into_iter().map(|file| file.rfilename).collect();
    let files: Vec<&String> =
        there.iter().filter(|file| is_data(file) || *file == description).collect();
    if files.iter().all(|file| *file == description) {
        bail_input!("the dataset `{name}` of the hub has no data files that can be read\n{hint}");
    }
    print::note(format!("fetching the dataset `{name}`: {} files", files.len()));
    let snapshot = dataset_snapshot(name, &info.sha)?;
    let marker = snapshot.join(INCOMPLETE);
    fs::create_dir_all(&snapshot)?;
    atomic::write(&marker, b"")?;
    for file in files {
        interrupt::check()?;
        fetch(&dataset, &dataset_repo, &snapshot, file).map_err(|error| match error {
            Failed::Hub(error) => refused(error).context(format!("`{file}`")),
            Failed::Other(error) => error,
        })?;
    }
    fs::remove_file(&marker)?;
    Ok(snapshot)
}

fn dataset_snapshot(name: &str, commit: &str) -> anyhow::Result<PathBuf> {
    let cache = cache().context("there is no cache folder")?;
    let dataset = cache.join(format!("datasets--{}", name.replace('/', "--")));
    Ok(dataset.join("snapshots").join(commit))
}

enum Failed {
    Hub(ApiError),
    Other(anyhow::Error),
}

/// Fetches a file and checks it.
fn fetch(
    api: &hf_hub::api::sync::Api,
    dataset: &ApiRepo,
    snapshot: &Path,
    file: &str,
) -> Result<(), Failed> {
    let place = snapshot.join(file);
    if place.exists() {
        return Ok(());
    }
    let metadata = api.metadata(&dataset.url(file)).map_err(Failed::Hub)?;
    dataset.download_with_progress(file, Bar(None)).map_err(Failed::Hub)?;
    let check = || -> anyhow::Result<()> {
        let size = fs::metadata(&place)?.len();
        let etag = metadata.etag();
        let expected = metadata.size() as u64;
        let is_sha256 = etag.len() == 64 && etag.bytes().all(|byte| byte.is_ascii_hexdigit());
        let what = if size != expected {
            format!("{size} bytes came, expected {expected}")
        } else if is_sha256 && hash::sha256_file(&place)? != etag {
            "its SHA-256 is not the one that the hub names".to_owned()
        } else {
            return Ok(());
        };
        // Link and content: the next run fetches it again.
        let content = fs::canonicalize(&place)?;
        fs::remove_file(&place)?;
        fs::remove_file(content)?;
        bail_input!("`{file}` came damaged: {what}\nhint: run again, it is fetched again then")
    };
    check().map_err(Failed::Other)
}

/// What went wrong, for a person.
fn said(error: &ApiError) -> String {
    let by_status = |status: u16| match status {
        401 | 403 => Some(format!(
            "the hub answers {status}: it is private or gated, or there is no such dataset; `HF_TOKEN` must hold a token that may read it"
        )),
        404 => Some("the hub answers 404: there is no such dataset".to_owned()),
        _ => None,
    };
    let status = match error {
        ApiError::RequestError(error) => match &**error {
            ureq::Error::StatusCode(status) => by_status(*status),
            _ => None,
        },
        ApiError::TooManyRetries(error) => {
            return format!("the connection broke again and again: {}", said(error));
        }
        _ => None,
    };
    status.unwrap_or_else(|| shown(error))
}

fn shown(error: &dyn Display) -> String {
    error.to_string()
}

/// The bar of a file.
struct Bar(Option<Progress>);

impl hf_hub::api::Progress for Bar {
    fn init(&mut self, size: usize, file: &str) {
        self.0.get_or_insert_with(|| Progress::new(file, size as u64, Unit::Bytes));
    }

    fn update(&mut self, size: usize) {
        if let Some(progress) = &self.0 {
            progress.inc(size as u64);
        }
    }

    fn finish(&mut self) {
        if let Some(progress) = self.0.take() {
            progress.finish();
        }
    }
}
