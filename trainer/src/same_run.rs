//! A run's configuration, and the one that its folder was begun with -> whether it is the same run.

use std::path::Path;

use anyhow::{Context, Result};
use cli::{BadInput, Yaml, bail_input, print};
use serde_json::Value;

use crate::config::Config;

/// Writes the resolved configuration beside the results; a run that is resumed must be the same run. What may change
/// on its way is taken, and said.
pub fn settle(config: &Config, out: &Path, resumes: bool, force: bool) -> Result<()> {
    let path = out.join("config.yaml");
    if resumes && path.exists() {
        let before: Config = Yaml::open(&path).and_then(|yaml| yaml.parse()).bad_input()?;
        let (allowed, refused) = differences(&before, config)?;
        if !refused.is_empty() && !force {
            bail_input!(
                "`{}` holds a run with other settings: {}\n\
                 hint: resume with the settings in `{}`, give another folder with `--out`, or go on all the same with `--force-resume`",
                out.display(),
                refused.join(", "),
                path.display(),
            );
        }
        for changed in refused {
            print::note(format!("warning: {changed}, as `--force-resume` tells"));
        }
        for changed in allowed {
            print::note(format!("from here on, {changed}"));
        }
    }
    let text = serde_saphyr::to_string(config).context("writing the configuration")?;
    let header = "# What this run was started with, defaults included.\n";
    Ok(shards::atomic::write(&path, format!("{header}{text}").as_bytes())?)
}

/// What may change while a run is under way: how long it goes on and how the rate goes down, what is looked at and
/// saved, and how it is computed. Everything else makes another run of it.
const MAY_CHANGE: [&str; 14] = [
    "steps",
    "epochs",
    "schedule.kind",
    "schedule.decay_steps",
    "optimizer.min_lr",
    "evaluate",
    "stop_after_skipped",
    "checkpoint",
    "logging",
    "recompute",
    "device",
    "offload",
    "threads",
    "parallel",
];

/// The keys by which two configurations differ, as `key: before -> now`: those that may, and those that may not.
fn differences(before: &Config, now: &Config) -> Result<(Vec<String>, Vec<String>)> {
    let mut changed = Vec::new();
    compare("", &serde_json::to_value(before)?, &serde_json::to_value(now)?, &mut changed);
    Ok(changed.into_iter().partition(|changed| {
        let key = changed.trim_start_matches('`').split('`').next().unwrap_or_default();
        MAY_CHANGE.iter().any(|it| {
            key.strip_prefix(it).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }))
}

fn compare(key: &str, before: &Value, now: &Value, changed: &mut Vec<String>) {
    match (before, now) {
        (Value::Object(before), Value::Object(now)) => {
            let mut keys: Vec<&String> = before.keys().chain(now.keys()).collect();
            keys.sort();
            keys.dedup();
            let at = |group: &serde_json::Map<String, Value>, key: &str| {
                group.get(key).cloned().unwrap_or_default()
            };
            for part in keys {
                let name = if key.is_empty() { part.clone() } else { format!("{key}.{part}") };
                compare(&name, &at(before, part), &at(now, part), changed);
            }
        }
        _ if before != now => {
            changed.push(format!("`{key}`: {} -> {}", plain(before), plain(now)));
        }
        _ => {}
    }
}

/// A value as a person writes it.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "not set".to_string(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
