//! `--set dotted.key=value` -> the same configuration with other values, as text that is read like a file.

use anyhow::{Context, Result, anyhow};
use cli::{BadInput, Yaml, YamlError, bail_input};
use serde_json::Value;

use crate::config::Config;

/// The file with the settings laid over it, as YAML text, one key a line.
pub(crate) fn merge(file: &Yaml, settings: &[String]) -> Result<Yaml> {
    let mut tree: Value = file.parse().bad_input()?;
    for setting in settings {
        let Some((key, value)) = setting.split_once('=') else {
            bail_input!("`--set {setting}` has no `=`\nhint: write `--set optimizer.lr=1e-5`");
        };
        let value = Yaml::from_text(format!("--set {key}"), value).parse().bad_input()?;
        put(&mut tree, key, value).with_context(|| format!("--set {setting}")).bad_input()?;
    }
    let text = serde_json::to_string_pretty(&tree).context("writing the merged configuration")?;
    Ok(Yaml::from_text(format!("{} with --set {}", file.name(), settings.join(" ")), text))
}

/// An error in the merged text, told as one of the setting that brought it. Nobody wrote that text, so a place in it
/// helps nobody. `file` is the configuration without any settings.
pub(crate) fn blame(
    yaml: &Yaml,
    settings: &[String],
    file: &Config,
    error: &YamlError,
) -> Result<anyhow::Error> {
    let told = message(error);
    let mut blamed = None;
    for (i, setting) in settings.iter().enumerate() {
        let others: Vec<String> = [&settings[..i], &settings[i + 1..]].concat();
        let without = merge(yaml, &others)?.parse::<Config>().err().map(|error| message(&error));
        let key = setting.split_once('=').map_or("", |(key, _)| key);
        // It brought the error if the error goes with it; of several such, the one that the error names.
        let named = key.split('.').any(|part| told.contains(&format!("`{part}`")));
        if without.as_ref() != Some(&told) && (blamed.is_none() || named) {
            blamed = Some((setting, key));
        }
    }
    let Some((setting, key)) = blamed else { return Ok(anyhow!("{error}")) };
    let text = error.to_string();
    let hint = match nested(file, key)? {
        Some(meant) if told.starts_with("unknown key") => Some(format!("did you mean `{meant}`?")),
        _ => text.lines().find_map(|line| line.strip_prefix("hint: ")).map(String::from),
    };
    let hint = hint.map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    Ok(anyhow!("--set {setting}: {told}{hint}"))
}

/// What an error says, without the place: `run.yaml with ...:21:5: unknown key` -> `unknown key`.
fn message(error: &YamlError) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    let parts: Vec<&str> = line.split(':').collect();
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit());
    let after =
        parts.windows(2).rposition(|pair| pair.iter().all(is_number)).map_or(0, |at| at + 2);
    parts[after..].join(":").trim().to_string()
}

/// The key inside a group that a key without a group was probably meant to be: `lr` -> `optimizer.lr`.
fn nested(file: &Config, key: &str) -> Result<Option<String>> {
    let tree = serde_json::to_value(file).context("the configuration as JSON")?;
    let groups = tree.as_object().into_iter().flatten();
    let mut found = groups.filter(|(_, group)| group.get(key).is_some());
    Ok(found.next().map(|(group, _)| format!("{group}.{key}")))
}

/// Puts a value at a dotted key; groups that are not there yet come into being.
fn put(tree: &mut Value, key: &str, value: Value) -> Result<()> {
    let mut place = tree;
    for part in key.split('.') {
        if place.is_null() {
            *place = Value::Object(serde_json::Map::new());
        }
        let Some(group) = place.as_object_mut() else {
            bail_input!("`{part}` cannot be set: what stands before it is a value and not a group");
        };
        place = group.entry(part).or_insert(Value::Null);
    }
    *place = value;
    Ok(())
}
