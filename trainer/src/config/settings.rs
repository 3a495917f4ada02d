//! `--set dotted.key=value` -> the same configuration with other values, as text that is read like a file.

use anyhow::{Context, Result};
use cli::{BadInput, Yaml, bail_input};
use serde_json::Value;

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
