//! The folder to write, checked before anything is read: a mistake in its name must not cost a run.

use std::path::{Path, PathBuf};

use cli::{BadInput, bail_input};
use shards::manifest::Manifest;

use crate::config::Datamix;

/// The folder that `output_dir` means, which need not be there yet; behind a link, the folder it points at.
pub(crate) fn checked(datamix: &Datamix) -> anyhow::Result<PathBuf> {
    let prefix = &datamix.filename_prefix;
    if prefix.is_empty() || prefix.contains('/') || prefix.starts_with('.') {
        bail_input!(
            "`filename_prefix: {prefix}` cannot begin the name of a file\nhint: give a plain word; `output_dir` names the folder"
        );
    }
    let given = &datamix.output_dir;
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
    Ok(folder)
}
