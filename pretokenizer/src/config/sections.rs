//! Files -> their sections, and the ones that a run names laid over each other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cli::{BadInput, Yaml, bail_input, print, suggest};

use crate::config::section::Section;

/// What the reference ships as its `defaults`; a section of that name lies over it.
const SHIPPED_DEFAULTS: &str = r#"
rng_seed: 42
cache_dir: .cache
datasets_extra: []
vocab_extra_ids_list: "<|im_start|>,<|im_end|>"
dataset_impl: mmap
output_dir_suffix: ""
"#;

/// Every section of every `*.yaml` below a folder.
#[derive(Debug, Default)]
pub struct Sections(BTreeMap<String, (String, Option<Section>)>);

impl Sections {
    /// Reads and checks all files, in the order of their names; of two sections with one name the later one counts.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        if !folder.is_dir() {
            bail_input!(
                "{}: there is no such folder with configurations\n\
                 hint: name it with `--config-dir`; else `configs/datamix` or `configs` below the working folder is taken",
                folder.display()
            );
        }
        let mut files = Vec::new();
        find_yaml(folder, &mut files)?;
        if files.is_empty() {
            bail_input!(
                "{}: there is no `*.yaml` file below this folder\nhint: name another one with `--config-dir`",
                folder.display()
            );
        }
        files.sort();
        let mut sections = Self::default();
        for file in files {
            sections.add(&Yaml::open(&file).bad_input()?)?;
        }
        Ok(sections)
    }

    pub(crate) fn add(&mut self, yaml: &Yaml) -> anyhow::Result<()> {
        let file: Option<BTreeMap<String, Option<Section>>> = yaml.parse().bad_input()?;
        for (name, mut section) in file.unwrap_or_default() {
            for entry in section.iter_mut().flat_map(Section::entries_mut) {
                entry.locate(yaml).bad_input()?;
            }
            let here = yaml.name().to_string();
            if let Some((there, _)) = self.0.insert(name.clone(), (here.clone(), section)) {
                print::note(format!(
                    "warning: section `{name}` stands in {there} and in {here}; the latter counts"
                ));
            }
        }
        Ok(())
    }

    /// `defaults` with the named sections over it, in their order.
    pub fn merge(&self, names: &[String]) -> anyhow::Result<Section> {
        let mut merged: Section =
            Yaml::from_text("shipped defaults", SHIPPED_DEFAULTS).parse().bad_input()?;
        if let Some((_, Some(defaults))) = self.0.get("defaults") {
            merged.overlay(defaults);
        }
        for name in names {
            match self.0.get(name) {
                Some((_, Some(section))) => merged.overlay(section),
                Some((file, None)) => bail_input!("{file}: the section `{name}` is empty"),
                None if self.0.is_empty() => bail_input!(
                    "section `{name}` stands in no configuration file\nhint: the files have no sections at all: write one, or name another folder with `--config-dir`"
                ),
                None => {
                    let known = self.0.keys().map(String::as_str);
                    let hint = suggest::hint(name, known, "the sections there are");
                    bail_input!("section `{name}` stands in no configuration file\nhint: {hint}");
                }
            }
        }
        Ok(merged)
    }
}

fn find_yaml(folder: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs_err::read_dir(folder).bad_input()? {
        let path = entry.bad_input()?.path();
        if path.is_dir() {
            find_yaml(&path, found)?;
        } else if path.extension().is_some_and(|it| it == "yaml") {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn later_sections_replace_whole_values_and_null_takes_them_away() {
        let mut sections = Sections::default();
        let yaml = "defaults: {rng_seed: 1, cache_dir: c}\na: {datasets: [joke], eval_size: 3}\nb: {datasets: [soda, MegaCode2: {fraction: 0.5}], eval_size: , rng_seed: 2}\n";
        sections.add(&Yaml::from_text("mix.yaml", yaml)).unwrap();
        let merged = sections.merge(&["a".into(), "b".into()]).unwrap();
        let json = serde_json::to_string(&merged).unwrap();
        expect![[r#"{"datasets":[{"soda":{}},{"MegaCode2":{"fraction":0.5}}],"datasets_extra":[],"rng_seed":2,"cache_dir":"c","eval_size":null,"vocab_extra_ids_list":"<|im_start|>,<|im_end|>","dataset_impl":"mmap","output_dir_suffix":""}"#]].assert_eq(&json);
    }
}
