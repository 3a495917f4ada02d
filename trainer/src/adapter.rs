//! LoRA's adapters <-> a folder of peft's.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use cli::{BadInput, bail_input};
use fs_err as fs;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use shards::atomic;
use tch::Kind;

use crate::config::{LoraConfig, SavedModule, TargetModule};
use crate::params::Model;
use crate::stored::Stored;
use crate::units::ParamSpec;
use crate::weights::{self, Source};

/// What the adapter is.
pub const CONFIG: &str = "adapter_config.json";
/// Its tensors.
pub const WEIGHTS: &str = "adapter_model.safetensors";

/// The name that peft's files give a parameter.
pub fn peft_name(name: &str) -> String {
    format!("base_model.model.{name}")
}

/// Writes a folder that `peft.PeftModel.from_pretrained` opens, and reads it back: the tensors of `trained`, by the names
/// that they have in training, in `f32`.
pub fn write(folder: &Path, lora: &LoraConfig, base: &Path, trained: &Stored) -> Result<()> {
    let renamed = |name: &str| -> Result<Source<'_>> {
        let shape = trained.shape(name).context("a stored tensor has a shape")?.to_vec();
        let name = name.to_owned();
        Ok(Source::new(peft_name(&name), shape, move |rows| trained.rows(&name, rows)))
    };
    let sources: Vec<Source<'_>> = trained.names().map(renamed).collect::<Result<_>>()?;
    weights::write_file(&folder.join(WEIGHTS), &sources, Kind::Float)?;
    atomic::write_json(&folder.join(CONFIG), &to_json(lora, base))?;

    let written = Stored::open_files(&[folder.join(WEIGHTS)])?;
    for source in &sources {
        let whole = source.rows(0..source.shape[0])?.to_kind(Kind::Float);
        if written.tensor(&source.name)? != whole {
            bail!("`{}` was read back otherwise than it was trained", source.name);
        }
    }
    let read = LoraConfig { adapter: None, ..read_config(folder)? };
    match difference(&read, lora) {
        Some(difference) => bail!("`{CONFIG}` was read back otherwise: {difference}"),
        None => Ok(()),
    }
}

/// The whole `adapter_config.json`.
fn to_json(lora: &LoraConfig, base: &Path) -> Value {
    let names = |names: &mut dyn Iterator<Item = &'static str>| names.collect::<Vec<_>>();
    let saved = names(&mut lora.modules_to_save.iter().map(|it| it.name()));
    json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "inference_mode": true,
        "r": lora.r,
        "lora_alpha": lora.lora_alpha,
        "lora_dropout": lora.lora_dropout,
        "use_rslora": lora.use_rslora,
        "target_modules": names(&mut lora.target_modules.iter().map(|it| it.name())),
        "modules_to_save": if saved.is_empty() { Value::Null } else { json!(saved) },
        "bias": "none",
        "fan_in_fan_out": false,
        "init_lora_weights": true,
        "use_dora": false,
        "rank_pattern": {},
        "alpha_pattern": {},
    })
}

/// Fills what is trained of a model from a folder, which must be of an adapter as `lora` describes it.
pub fn load(folder: &Path, lora: &LoraConfig, model: &mut Model) -> Result<()> {
    let theirs = read_config(folder)?;
    if let Some(difference) = difference(&theirs, lora) {
        bail_input!(
            "`lora.adapter` is `{}`, another kind of adapter: {difference}\n\
             hint: give its settings in `lora`; they stand in its `{CONFIG}`",
            folder.display()
        );
    }
    let fill = || -> Result<()> {
        let stored = Stored::open_files(&[folder.join(WEIGHTS)])?;
        let renamed = |spec: &ParamSpec| ParamSpec { name: peft_name(&spec.name), ..spec.clone() };
        let specs: Vec<ParamSpec> =
            model.units.iter().flat_map(|unit| &unit.spec.params).map(renamed).collect();
        weights::check(&stored, specs.iter())?;
        for unit in &model.units {
            for (spec, (piece, place)) in unit.spec.params.iter().zip(unit.pieces(&unit.master)) {
                let name = peft_name(&spec.name);
                weights::copy_numbers(&stored, &name, &spec.held, piece.in_param, &place)?;
            }
        }
        Ok(())
    };
    fill().with_context(|| folder.display().to_string()).bad_input()?;
    model.refresh()
}

/// What an adapter's folder says of it; one with something that is not computed here is refused.
pub fn read_config(folder: &Path) -> Result<LoraConfig> {
    let path = folder.join(CONFIG);
    let read = || -> Result<LoraConfig> {
        let text = fs::read_to_string(&path)
            .with_context(|| format!("`{}` is no folder of peft's", folder.display()))?;
        let json: Value = serde_json::from_str(&text)?;
        of_json(&json).with_context(|| path.display().to_string())
    };
    read().bad_input()
}

/// The keys that change what an adapter computes, each with what it is where it changes nothing.
const PLAIN: [(&str, &str); 13] = [
    ("bias", "\"none\""),
    ("fan_in_fan_out", "false"),
    ("use_dora", "false"),
    ("use_qalora", "false"),
    ("lora_bias", "false"),
    ("rank_pattern", "{}"),
    ("alpha_pattern", "{}"),
    ("layers_to_transform", "null"),
    ("layer_replication", "null"),
    ("exclude_modules", "null"),
    ("target_parameters", "null"),
    ("trainable_token_indices", "null"),
    ("alora_invocation_tokens", "null"),
];

fn of_json(json: &Value) -> Result<LoraConfig> {
    if json["peft_type"] != "LORA" {
        bail!("`peft_type` is {}, expected \"LORA\"", json["peft_type"]);
    }
    for (key, plain) in PLAIN {
        let found = json[key].to_string();
        if found != plain && found != "null" {
            bail!("`{key}` is {found}, and only {plain} is known here");
        }
    }
    let r = json["r"].as_u64().and_then(|r| u32::try_from(r).ok()).filter(|r| *r > 0);
    Ok(LoraConfig {
        r: r.with_context(|| format!("`r` is {}, expected a whole number above 0", json["r"]))?,
        lora_alpha: json["lora_alpha"].as_f64().context("`lora_alpha` is no number")?,
        lora_dropout: json["lora_dropout"].as_f64().unwrap_or(0.0),
        target_modules: modules(json, "target_modules", TargetModule::name)?,
        use_rslora: json["use_rslora"].as_bool().unwrap_or(false),
        modules_to_save: modules(json, "modules_to_save", SavedModule::name)?,
        adapter: None,
    })
}

/// Modules by their names, each once. Some are whole paths, as peft writes them for a small model: whether every block has
/// such a one is seen by its tensors.
fn modules<M: DeserializeOwned + Copy>(
    json: &Value,
    key: &str,
    name: fn(M) -> &'static str,
) -> Result<Vec<M>> {
    let names: Vec<String> = match &json[key] {
        Value::Null => Vec::new(),
        list => serde_json::from_value(list.clone())
            .with_context(|| format!("`{key}` is no list of modules' names"))?,
    };
    let mut modules = BTreeMap::new();
    for path in names {
        let last = path.rsplit('.').next().unwrap_or_default();
        let module: M = serde_json::from_value(last.into()).with_context(|| format!("`{key}`"))?;
        modules.insert(name(module), module);
    }
    Ok(modules.into_values().collect())
}

/// By what two adapters differ in what they compute.
fn difference(theirs: &LoraConfig, ours: &LoraConfig) -> Option<String> {
    let facts = |it: &LoraConfig| {
        let sorted = |mut names: Vec<&'static str>| {
            names.sort_unstable();
            names.dedup();
            format!("[{}]", names.join(", "))
        };
        [
            ("r", it.r.to_string()),
            ("lora_alpha", it.lora_alpha.to_string()),
            ("use_rslora", it.use_rslora.to_string()),
            ("target_modules", sorted(it.target_modules.iter().map(|it| it.name()).collect())),
            ("modules_to_save", sorted(it.modules_to_save.iter().map(|it| it.name()).collect())),
        ]
    };
    let mut both = facts(theirs).into_iter().zip(facts(ours));
    both.find(|(theirs, ours)| theirs != ours).map(|((key, theirs), (_, ours))| {
        format!("its `{key}` is {theirs}, and the run's is {ours}")
    })
}
