//! The folder to write: checked before anything is read, since a mistake in its name must not cost a run, and given its
//! place when all is well.

use std::path::{Path, PathBuf};

use cli::{BadInput, bail_input, interrupt};
use shards::atomic::{AtomicFile, StagedFolder};
use shards::manifest::{self, Manifest};

/// The file beside a template with the special tokens that it was given, as in a model's folder.
pub(crate) const TEMPLATE_TOKENS: &str = "special_tokens_map.json";

/// The folder that `output_dir` means, which need not be there yet; behind a link, the folder it points at.
pub(crate) fn checked(output_dir: &str, prefix: &str) -> anyhow::Result<PathBuf> {
    if prefix.is_empty() || prefix.contains('/') || prefix.starts_with('.') {
        bail_input!(
            "`filename_prefix: {prefix}` cannot begin the name of a file\nhint: give a plain word; `output_dir` names the folder"
        );
    }
    let given = output_dir;
    let folder = folder(given)?;
    // What cannot be read as a manifest describes no shards.
    if let Ok(manifest) = Manifest::read(&folder)
        && let Some(other) = manifest.config["filename_prefix"].as_str()
        && other != prefix
    {
        bail_input!(
            "`output_dir: {given}` holds shards of `filename_prefix: {other}`, which its manifest would no longer describe\n\
             hint: give another `output_dir`, or the same `filename_prefix` to replace them"
        );
    }
    Ok(folder)
}

fn folder(given: &str) -> anyhow::Result<PathBuf> {
    let path = Path::new(given);
    let there = path.ancestors().find(|it| it.symlink_metadata().is_ok());
    if let Some(there) = there
        && !there.is_dir()
    {
        let what = if there.exists() { "is no folder" } else { "is a link to nothing" };
        bail_input!(
            "`output_dir: {given}` cannot be written: `{}` {what}\nhint: give the path of a folder, new or there already",
            there.display()
        );
    }
    // Staged beside its place: that of a link or of `..` is where the folder itself stands.
    let folder = if path.is_symlink() || (path.file_name().is_none() && path.exists()) {
        fs_err::canonicalize(path).bad_input()?
    } else {
        path.to_path_buf()
    };
    if folder.file_name().is_none() {
        bail_input!(
            "`output_dir: {given}` names no folder that can be written\nhint: give the path of a folder, new or there already"
        );
    }
    // Files are staged beside the folder, and moved into it if it is there.
    let beside = existing(folder.parent().unwrap_or(Path::new(".")));
    for folder in [Some(beside), folder.is_dir().then_some(&*folder)].into_iter().flatten() {
        // A file without a name leaves no trace, and fails as the others would: over rights, or a disk that is read only.
        if let Err(error) = tempfile::tempfile_in(folder) {
            bail_input!(
                "`output_dir: {given}` cannot be written: no file can be made in `{}` ({error})\nhint: give the path of a folder of your own, new or there already",
                folder.display()
            );
        }
    }
    Ok(folder)
}

/// The folder itself or the nearest one above it that is there.
pub(crate) fn existing(folder: &Path) -> &Path {
    let there = folder.ancestors().find(|it| it.is_dir());
    there.unwrap_or(Path::new("."))
}

/// Gives the folder its place, and clears away what an earlier run with the same prefix wrote and this one did not:
/// a `.jsonl`, say, beside shards that it does not belong to.
pub(crate) fn put_in_place(
    target: &Path,
    prefix: &str,
    folder: StagedFolder,
    now: &Manifest,
) -> anyhow::Result<()> {
    let before = Manifest::read(target).map(|manifest| manifest.outputs).unwrap_or_default();
    folder.commit_into(manifest::FILE_NAME)?;
    for output in before {
        let is_ours = output.path.starts_with(&format!("{prefix}-"))
            || [manifest::CHAT_TEMPLATE, TEMPLATE_TOKENS].contains(&&*output.path);
        let is_stale = now.outputs.iter().all(|it| it.path != output.path);
        if is_ours && is_stale && Path::new(&output.path).components().count() == 1 {
            fs_err::remove_file(target.join(&output.path)).or_else(|error| {
                if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
            })?;
        }
    }
    Ok(())
}

/// Packs the folder's files into `FOLDER.tar.gz`, under the folder's own name.
pub(crate) fn compress(output_dir: &str, folder: &Path, manifest: &Manifest) -> anyhow::Result<()> {
    let named = Path::new(output_dir);
    // `..` has no name of its own, a link has one that the folder behind it has not.
    let named = if named.file_name().is_some() { named } else { folder };
    let name = named.file_name().unwrap_or_default();
    let target = named.with_file_name(format!("{}.tar.gz", name.to_string_lossy()));
    let file = AtomicFile::create(&target)?;
    let level = flate2::Compression::default();
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(file, level));
    let files = manifest.outputs.iter().map(|output| output.path.as_str());
    for file in files.chain([manifest::FILE_NAME]) {
        interrupt::check()?;
        archive.append_path_with_name(folder.join(file), Path::new(name).join(file))?;
    }
    archive.into_inner()?.finish()?.commit()?;
    Ok(())
}
