//! A configuration -> what all ranks must agree on before anything is loaded.
//!
//! Ranks that were started with different things train something that nobody asked for, or hang in the middle of the
//! night. Each fact is a name and a value, small enough to be compared and named; of files it is a hash.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;
use shards::hash::sha256_file;

use crate::config::Config;

/// The facts of this rank.
pub fn facts(config: &Config, stop_after: Option<u64>) -> Result<Vec<(String, String)>> {
    let program = std::env::current_exe().context("where this program lies")?;
    let mut facts = vec![
        ("the program".to_string(), fact(&program)),
        ("libtorch".to_string(), torch_ext::version::loaded()),
        ("--stop-after".to_string(), format!("{stop_after:?}")),
    ];
    flatten("", &serde_json::to_value(config)?, &mut facts);
    for prefix in [Some(&config.data.train), config.data.validation.as_ref()].into_iter().flatten()
    {
        for ending in ["-text.idx", "-role.idx"] {
            let path = format!("{}{ending}", prefix.display());
            facts.push((path.clone(), fact(Path::new(&path))));
        }
        for ending in ["-text.bin", "-role.bin"] {
            let path = format!("{}{ending}", prefix.display());
            facts.push((path.clone(), length(Path::new(&path))));
        }
    }
    let base = &config.model.base;
    facts.push((base.join("config.json").display().to_string(), fact(&base.join("config.json"))));
    let mut files: Vec<_> = fs_err::read_dir(base)
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
        .unwrap_or_default();
    files.sort();
    // The weights themselves are too large to be hashed at every start.
    facts.extend(files.iter().map(|path| (path.display().to_string(), length(path))));
    Ok(facts)
}

/// A file's hash. One that cannot be read is told properly by what reads it next, unless the others can read it.
fn fact(path: &Path) -> String {
    sha256_file(path)
        .map_or_else(|_| "not readable".into(), |hash| format!("a file of SHA-256 {hash}"))
}

fn length(path: &Path) -> String {
    let length = fs_err::metadata(path).map(|it| it.len());
    length.map_or_else(|_| "not readable".into(), |length| format!("a file of {length} bytes"))
}

/// The configuration's keys as one writes them in `--set`.
fn flatten(key: &str, value: &Value, facts: &mut Vec<(String, String)>) {
    match value {
        Value::Object(group) => {
            for (part, value) in group {
                let key = if key.is_empty() { part.clone() } else { format!("{key}.{part}") };
                flatten(&key, value, facts);
            }
        }
        other => facts.push((key.to_string(), other.to_string())),
    }
}
