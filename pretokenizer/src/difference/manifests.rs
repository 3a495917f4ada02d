//! Two manifests -> what they say differently of how the folders were made.

use std::collections::BTreeMap;

use serde_json::Value;
use shards::Manifest;
use shards::hash::FileHash;
use shards::manifest::LengthSummary;

/// Keys that say where the output goes, not what it holds.
const PLACES: [&str; 3] = ["output_dir", "output_dir_suffix", "compress"];

/// A line for each difference.
pub(crate) fn differences(a: &Manifest, b: &Manifest) -> Vec<String> {
    let mut lines = Vec::new();
    let mut compare = |what: &str, a: &dyn ToString, b: &dyn ToString| {
        let (a, b) = (a.to_string(), b.to_string());
        if a != b {
            lines.push(format!("{what}: {a} -> {b}"));
        }
    };
    compare("template", &a.template, &b.template);
    if a.template == b.template {
        compare("template's SHA-256", &a.template_sha256, &b.template_sha256);
    }
    compare("tokenizer", &a.tokenizer.kind, &b.tokenizer.kind);
    compare("tokenizer's SHA-256", &a.tokenizer.file.sha256, &b.tokenizer.file.sha256);
    compare("vocabulary", &a.tokenizer.vocab_size, &b.tokenizer.vocab_size);
    let tokens = |manifest: &Manifest| {
        serde_json::to_value(&manifest.tokenizer.special_tokens).unwrap_or_default()
    };
    compare("special tokens", &tokens(a), &tokens(b));
    let (mut of_a, mut of_b) = (BTreeMap::new(), BTreeMap::new());
    flatten("", &a.config, &mut of_a);
    flatten("", &b.config, &mut of_b);
    lines.extend(sides("key", &of_a, &of_b));
    lines.extend(sides("input", &hashes(&a.inputs), &hashes(&b.inputs)));
    lines.extend(sides("count", &counts(a), &counts(b)));
    lines
}

/// What was counted, but the documents themselves, which are compared: what was left out, cut, or holds special strings, and
/// how long the documents of a split are.
fn counts(manifest: &Manifest) -> BTreeMap<String, String> {
    let mut counts = BTreeMap::new();
    for read in &manifest.sources_read {
        for (reason, n) in &read.dropped {
            counts.insert(format!("{}: {reason}", read.name), n.to_string());
        }
    }
    for split in &manifest.splits {
        if let Some(lengths) = &split.lengths {
            let LengthSummary { min, mean, median, p90, p99, max, .. } = lengths;
            let text = format!(
                "{min} to {max} tokens, mean {mean}, median {median}, 90 % {p90}, 99 % {p99}"
            );
            counts.insert(format!("{}: lengths", split.name), text);
        }
        for source in &split.sources {
            let mut add = |what: &str, n: u64| {
                if n > 0 {
                    counts
                        .insert(format!("{}: {}: {what}", split.name, source.name), n.to_string());
                }
            };
            source.skipped.iter().for_each(|(reason, n)| add(reason, *n));
            add("truncated", source.truncated);
            add("special tokens in texts", source.special_tokens_in_text.strings);
        }
    }
    counts
}

fn hashes(files: &[FileHash]) -> BTreeMap<String, String> {
    files.iter().map(|file| (file.path.clone(), format!("SHA-256 {}", file.sha256))).collect()
}

fn sides(what: &str, a: &BTreeMap<String, String>, b: &BTreeMap<String, String>) -> Vec<String> {
    let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let differing = names.into_iter().filter(|name| a.get(*name) != b.get(*name));
    let side = |value: Option<&String>| value.map_or("absent", String::as_str).to_string();
    differing
        .map(|name| format!("{what} `{name}`: {} -> {}", side(a.get(name)), side(b.get(name))))
        .collect()
}

/// `datasets[0].orca-chat.fraction` -> `0.5`.
fn flatten(path: &str, value: &Value, found: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(keys) if !keys.is_empty() => {
            for (key, value) in keys.iter().filter(|(key, _)| !PLACES.contains(&key.as_str())) {
                let dot = if path.is_empty() { "" } else { "." };
                flatten(&format!("{path}{dot}{key}"), value, found);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (i, item) in items.iter().enumerate() {
                flatten(&format!("{path}[{i}]"), item, found);
            }
        }
        _ => drop(found.insert(path.to_string(), value.to_string())),
    }
}
