//! A run with LoRA, from its YAML to what is made of its adapter.

mod python;
mod tiny_run;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use python::python;
use safetensors::SafeTensors;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use tiny_run::{TinyRun, fails, succeeds};
use trainer::trained::Trained;

const LORA: &str = "lora: {r: 4, lora_alpha: 16, target_modules: [q_proj, v_proj, down_proj]}\n";

/// A trained run in `run`.
fn trained(more: &str) -> TinyRun {
    let run = TinyRun::new(4, more);
    succeeds(&mut run.train("run", &[]));
    run
}

fn names(bytes: &[u8]) -> Vec<String> {
    let file = SafeTensors::deserialize(bytes).expect("a safetensors file");
    let mut names: Vec<String> = file.names().into_iter().map(String::from).collect();
    names.sort();
    names
}

#[test]
fn a_checkpoint_holds_the_adapter_and_what_is_trained_beside_it_and_nothing_else() {
    let run = trained(LORA);
    for file in ["model", "exp_avg", "exp_avg_sq"] {
        let names = names(&run.bytes(format!("run/checkpoints/step-0000004/{file}.safetensors")));
        // Two blocks, three matrices, two small ones each.
        assert_eq!(names.len(), 2 * 3 * 2, "{names:?}");
        assert!(names.iter().all(|name| name.contains(".lora_")), "{names:?}");
    }
    let saved = trained("lora: {target_modules: [o_proj], modules_to_save: [embed_tokens]}\n");
    let names = names(&saved.bytes("run/checkpoints/step-0000004/model.safetensors"));
    assert_eq!(names.len(), 2 * 2 + 1, "{names:?}");
    assert!(names.contains(&"model.embed_tokens.weight".to_string()), "{names:?}");
}

#[test]
fn an_adapter_goes_on_and_answers_on_its_own_base_only() {
    let run = trained(LORA);
    let mut said = succeeds(&mut run.train("run", &["--set", "steps=5"])).stderr;
    said.retain(u8::is_ascii);
    let said = String::from_utf8(said).expect("ASCII");
    assert!(
        said.contains("resuming after step 4") && said.contains("training 0.002 M of 0.1 M"),
        "{said}"
    );
    let sample = || {
        let mut sample = run.command("sample");
        sample.args(["run", "--prompt", "What comes after 3?", "--max-new-tokens", "8"]);
        sample
    };
    let with_adapter = succeeds(&mut sample()).stdout;
    let mut of_base = run.command("sample");
    of_base.args(["base", "--prompt", "What comes after 3?", "--max-new-tokens", "8"]);
    assert_ne!(succeeds(&mut of_base).stdout, with_adapter);

    let base = run.path("base/model.safetensors");
    let mut bytes = fs_err::read(&base).expect("a base");
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    shards::atomic::write(&base, &bytes).expect("written");
    let changed = ["`base/model.safetensors` has another content", "hint: put back"];
    fails(&mut run.train("run", &["--set", "steps=6"]), 2, &changed);
    fails(&mut sample(), 2, &changed);
}

#[test]
fn what_lora_cannot_do_is_refused_with_what_there_is() {
    let run = TinyRun::new(4, "");
    let check = |lora: &str, words: &[&str]| {
        let lora = format!("lora={lora}");
        fails(&mut run.train("run", &["--set", &lora]), 2, words);
        assert!(!run.path("run").exists());
    };
    check("{target_modules: [q_prj]}", &["unknown value `q_prj`", "did you mean `q_proj`"]);
    let all = "`q_proj`, `k_proj`, `v_proj`, `o_proj`, `gate_proj`, `up_proj`, `down_proj`";
    check("{target_modules: [w1]}", &["unknown value `w1`", all]);
    check("{modules_to_save: [norm]}", &["unknown value `norm`", "`embed_tokens`, `lm_head`"]);
    check("{target_modules: []}", &["`lora.target_modules` names no matrix", "hint: `[q_proj"]);
    check("{r: 0}", &["`lora.r` is 0, expected at least 1"]);
    check("{lora_dropout: 1.0}", &["`lora.lora_dropout` is 1, expected from 0 to below 1"]);
    check("{rank: 4}", &["rank"]);
}

#[test]
fn new_rows_are_trained_whole_or_refused() {
    let run = TinyRun::new(4, "");
    let wide = "model.new_rows={fill: mean, multiple: 1000}";
    let words = [
        "adds 464 rows to the 1536",
        "hint: train them too, with `lora.modules_to_save: [embed_tokens, lm_head]`",
    ];
    let train = |lora: &str| run.train("run", &["--set", wide, "--set", lora]);
    fails(&mut train("lora={r: 4}"), 2, &words);
    fails(&mut train("lora={r: 4, modules_to_save: [lm_head]}"), 2, &words[1..]);
    succeeds(&mut train("lora={r: 4, modules_to_save: [embed_tokens, lm_head]}"));
    let mut sample = run.command("sample");
    sample.args(["run", "--prompt", "What comes after 3?", "--max-new-tokens", "4"]);
    succeeds(&mut sample);
}

/// The trainer with this subcommand and what follows it, in the run's folder.
fn command(run: &TinyRun, arguments: &str) -> Command {
    let mut words = arguments.split(' ');
    let mut command = run.command(words.next().expect("a subcommand"));
    command.args(words);
    command
}

/// Exports the adapter and the merged model, merges the adapter into the base once more, and lets peft and transformers say
/// what each of them is.
#[track_caller]
fn check_peft(run: &TinyRun, settings: &[&str]) {
    let Some(python) = python() else { return };
    // This process looks at the run too, and not from where it was started: paths must be absolute.
    let base = format!("model.base={}", run.path("base").display());
    let shards = format!("data.train={}", run.path("shards/tiny-train").display());
    let at = ["--set", &base, "--set", &shards];
    succeeds(&mut run.train("run", &[&at, settings].concat()));
    let command = |arguments: &str| command(run, arguments);
    succeeds(&mut command("export run --adapter --out adapter"));
    succeeds(&mut command("export run --out model --dtype f32"));
    let merge = "merge --base base --adapter adapter --dtype f32 --max-shard-size 0.0001 --out";
    succeeds(&mut command(&format!("{merge} merged")));

    let ids: Vec<i64> = (0..20).map(|i| 1 + 37 * i).collect();
    let trained = Trained::find(&run.path("run")).expect("a run");
    let model = trained.model(Device::Cpu).expect("its model");
    let logits = model.logits(&Tensor::from_slice(&ids).unsqueeze(0));
    let last: Vec<f32> = logits.get(0).get(-1).try_into().expect("a list");
    let expected = json!({"ids": ids, "last_logits": last});
    shards::atomic::write(&run.path("expected.json"), expected.to_string().as_bytes())
        .expect("written");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/open_adapter.py");
    let folders = ["base", "adapter", "model", "merged", "expected.json"].map(|it| run.path(it));
    let output = Command::new(python).arg(script).args(folders).output().expect("Python starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{said}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn peft_opens_the_adapter_and_its_merged_model_is_ours() {
    let run = TinyRun::new(4, LORA);
    check_peft(&run, &[]);
    let proof: Value =
        serde_json::from_slice(&run.bytes("model/export_report.json")).expect("JSON");
    assert_eq!(proof["proof"]["logits"]["largest_difference"], 0.0);
    assert!(run.path("adapter/tokenizer.json").exists());
}

#[test]
fn peft_opens_an_adapter_with_an_embedding_and_a_head_of_its_own_that_have_new_rows() {
    let run = TinyRun::new(4, "");
    check_peft(
        &run,
        &[
            "--set",
            "model.new_rows={fill: normal, multiple: 1000}",
            "--set",
            "lora={r: 3, use_rslora: true, target_modules: [k_proj, up_proj, o_proj], modules_to_save: [embed_tokens, lm_head]}",
        ],
    );
    let config: Value = serde_json::from_slice(&run.bytes("merged/config.json")).expect("JSON");
    assert_eq!(config["vocab_size"], 2000);
}

#[test]
fn a_merge_in_bfloat16_is_rounded_once_and_what_does_not_fit_is_refused() {
    let run = trained(LORA);
    let command = |arguments: &str| command(&run, arguments);
    succeeds(&mut command("export run --adapter --out adapter"));
    succeeds(&mut command("merge --base base --adapter adapter --out fine --dtype f32"));
    succeeds(&mut command("merge --base base --adapter adapter --out coarse"));
    let read = |folder: &str| -> BTreeMap<String, Tensor> {
        let path = run.path(folder).join("model.safetensors");
        Tensor::read_safetensors(path).expect("weights").into_iter().collect()
    };
    for ((name, fine), (_, coarse)) in read("fine").iter().zip(read("coarse")) {
        assert_eq!(fine.to_kind(Kind::BFloat16), coarse, "{name}");
    }
    // An adapter goes on from where it was exported, and is another run's beginning.
    let more = "lora={r: 4, lora_alpha: 16, target_modules: [q_proj, v_proj, down_proj], adapter: adapter}";
    succeeds(&mut run.train("more", &["--set", more]));

    let shape = "--vocab-size 1536 --hidden-size 64 --intermediate-size 48 --layers 2 --heads 4";
    succeeds(&mut command(&format!("init --out other {shape}")));
    let wide = "merge --base other --adapter adapter --out wrong";
    fails(
        &mut command(wide),
        2,
        &["q_proj.lora_A.weight` has the shape [4, 32], expected [4, 64]"],
    );
    fails(
        &mut command("merge --base base --adapter base --out wrong"),
        2,
        &["no folder of peft's"],
    );
    fails(&mut command("export run --adapter --out adapter"), 2, &["is there already"]);
    succeeds(&mut command("export run --adapter --out adapter --force"));
    fails(&mut command("export run --adapter --out x --dtype f32"), 2, &["cannot be used with"]);
    succeeds(&mut run.train("whole", &["--set", "lora=null"]));
    fails(&mut command("export whole --adapter --out x"), 2, &["has trained the whole model"]);
    assert!(!run.path("x").exists() && !run.path("wrong").exists());
}

#[test]
fn an_adapter_that_unties_a_tied_base_is_refused() {
    let run = trained("lora: {r: 2, modules_to_save: [embed_tokens]}\n");
    succeeds(run.command("export").args(["run", "--out", "adapter", "--adapter"]));
    let path = run.path("base/config.json");
    let mut json: Value = serde_json::from_slice(&run.bytes("base/config.json")).expect("JSON");
    json["tie_word_embeddings"] = json!(true);
    shards::atomic::write_json(&path, &json).expect("written");
    let mut merge = run.command("merge");
    merge.args(["--base", "base", "--adapter", "adapter", "--out", "merged"]);
    let words = ["the adapter has an embedding or a head of its own", "hint: `trainer convert"];
    fails(&mut merge, 2, &words);
    fails(&mut run.train("again", &[]), 2, &["embedding and head of `base` are one matrix"]);
}
