//! The shape of the workspace, held: which crate may use which, and that inside a crate the data goes one way.
//!
//! It stands in the lowest crate, once, and looks at them all.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as tests do")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use serde_json::Value;

/// Every crate of the workspace, its folder, and the crates of the workspace that it may use.
const CRATES: [(&str, &str, &[&str]); 6] = [
    ("cli", "crates/cli", &[]),
    ("shards", "crates/shards", &[]),
    ("text", "crates/text", &["shards"]),
    ("torch-ext", "crates/torch-ext", &[]),
    ("pretokenizer", "pretokenizer", &["cli", "shards", "text"]),
    ("trainer", "trainer", &["cli", "shards", "text", "torch-ext"]),
];

#[test]
fn crates_use_only_the_crates_that_the_design_gives_them() {
    let uses = direct_uses();
    let expected: BTreeSet<&str> = CRATES.iter().map(|(name, ..)| *name).collect();
    let members: BTreeSet<&str> = uses.keys().map(String::as_str).collect();
    assert_eq!(members, expected, "the workspace's crates");

    for (name, _, may_use) in CRATES {
        for used in uses[name].iter().filter(|used| expected.contains(used.as_str())) {
            assert!(may_use.contains(&used.as_str()), "`{name}` must not use `{used}`");
        }
    }
}

#[test]
fn only_the_trainer_and_its_library_know_libtorch() {
    for (name, used) in direct_uses() {
        let torch = used.iter().any(|used| used == "tch" || used == "torch-sys");
        let may = name == "trainer" || name == "torch-ext";
        assert!(may || !torch, "`{name}` must build on a machine without libtorch");
    }
}

/// The normal dependencies of each member, as cargo resolves them.
fn direct_uses() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(workspace())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_string();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap().iter();
            let normal = dependencies.filter(|dependency| dependency["kind"].is_null());
            (text(&package["name"]), normal.map(|it| text(&it["name"])).collect())
        })
        .collect()
}

#[test]
fn a_module_uses_only_the_modules_above_it() {
    let mut backward = Vec::new();
    for (krate, folder, _) in CRATES {
        let src = workspace().join(folder).join("src");
        let order = modules(&fs::read_to_string(src.join("lib.rs")).unwrap());
        assert!(order.len() > 1, "`{krate}` declares its modules in lib.rs");
        for (place, module) in order.iter().enumerate() {
            for file in files(&src, module) {
                let used = names_after_crate(&fs::read_to_string(&file).unwrap());
                for later in order[place + 1..].iter().filter(|later| used.contains(*later)) {
                    backward.push(format!("{}: `{module}` uses `{later}`", file.display()));
                }
            }
        }
    }
    assert!(backward.is_empty(), "against the direction of the data:\n{}", backward.join("\n"));
}

/// The names of `mod x;` and `pub mod x;`, in order.
fn modules(lib: &str) -> Vec<String> {
    let declared = lib.lines().filter_map(|line| {
        let line = line.strip_prefix("pub ").unwrap_or(line);
        line.strip_prefix("mod ")?.split(';').next()
    });
    declared.map(String::from).collect()
}

/// Every name that follows a `crate::`, also the first names inside its braces. Comments do not count, and neither do
/// the unit tests at a file's end.
fn names_after_crate(source: &str) -> BTreeSet<String> {
    let code: String = source
        .split("#[cfg(test)]")
        .next()
        .unwrap()
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join(" ");
    let mut names = BTreeSet::new();
    for after in code.split("crate::").skip(1) {
        let listed = match after.strip_prefix('{') {
            Some(list) => list.split(';').next().unwrap(),
            None => after.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap(),
        };
        let words = listed.split(|c: char| !c.is_alphanumeric() && c != '_');
        names.extend(words.map(String::from));
    }
    names
}

/// `<module>.rs` and all files below `<module>/`.
fn files(src: &Path, module: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut places = vec![src.join(format!("{module}.rs")), src.join(module)];
    while let Some(place) = places.pop() {
        if place.is_dir() {
            places.extend(fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()));
        } else if place.extension().is_some_and(|extension| extension == "rs") && place.exists() {
            found.push(place);
        }
    }
    found
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
