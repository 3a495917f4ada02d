//! A run with LoRA, from its YAML to what is made of its adapter.

mod tiny_run;

use safetensors::SafeTensors;
use tiny_run::{TinyRun, fails, succeeds};

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
