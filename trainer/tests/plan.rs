//! What `trainer plan` says is what a run takes.
//!
//! `scripts/bench plan` compares its estimates with whole runs; here is what is exact, and what it says.

#[path = "../../crates/torch-ext/tests/ranks/mod.rs"]
mod ranks;

mod golden_run;
mod tiny_run;

use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use golden_run::join;
use serde_json::Value;
use tch::Device;
use tiny_run::{TinyRun, fails, succeeds};
use torch_ext::Entry;
use trainer::config::{Config, Offload};
use trainer::device::Devices;
use trainer::gradients::Gradients;
use trainer::init::Preset;
use trainer::llama_config::LlamaConfig;
use trainer::memory::Memory;
use trainer::optimizer::AdamW;
use trainer::params::Model;
use trainer::ranks::{Mesh, Ranks};
use trainer::run::{Run, compute_kind};
use trainer::traffic::Traffic;

fn config(lines: &str) -> Config {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let prefix = folder.path().join("docs-train");
    let lines = format!("steps: 1\noptimizer: {{lr: 0.01}}\n{lines}");
    golden_run::write_documents(&prefix, [(6, 3)]);
    golden_run::config(&prefix, &folder.path().join("run.yaml"), &lines, &[])
}

/// The memory of its own that this process has, in bytes.
fn own_memory() -> f64 {
    let status = fs_err::read_to_string("/proc/self/status").expect("Linux says it");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a line");
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().expect("a number");
    kib * 1024.0
}

#[test]
fn weights_gradients_and_moments_take_what_is_planned_at_every_stage_of_zero() {
    let shape = LlamaConfig {
        vocab_size: 4096,
        hidden_size: 512,
        intermediate_size: 1376,
        num_hidden_layers: 5,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        ..Preset::Codellama7b.shape()
    };
    let lora = "lora: {r: 64, modules_to_save: [lm_head]}\n";
    let of = |zero: u8| ["", lora].map(|it| format!("parallel: {{zero: {zero}}}\n{it}"));
    let (tensor, pipeline) = ("parallel: {tensor: 2}\n", "parallel: {pipeline: 2}\n");
    let shared = [tensor.into(), format!("{tensor}{lora}"), pipeline.into()].map(|it| (2, it));
    let replicas = (1..=3).map(|zero| format!("parallel: {{zero: {zero}, replicate: 2}}\n"));
    // In fp32 the model reads the masters, unless they are apart.
    let apart = ["", "parallel: {zero: 3}\n", lora, "precision: fp32\n"];
    let apart = apart.map(|it| (2, format!("offload: optimizer\n{it}")));
    let alone = (1, "offload: optimizer\nprecision: fp32\n".into());
    let all = (0..=3).flat_map(of).map(|it| (2, it)).chain(shared).chain(apart).chain([alone]);
    for (size, layout) in all.chain(replicas.map(|it| (4, it))) {
        let bf16 = if layout.contains("precision") { "" } else { "precision: bf16\n" };
        let lines = format!("{bf16}{layout}");
        // Processes of its own: what an allocator keeps of an earlier model must not help a later one.
        ranks::run(size, |place| {
            let ranks = join(place);
            let config = config(&lines);
            let mesh = Mesh::of(&ranks, &config.parallel).expect("a mesh");
            let stage = mesh.stages.rank();
            let n_ranks = i64::try_from(size).expect("a few");
            let planned = Memory::of_stage(stage, &config, &shape, n_ranks, 64);
            let planned = (planned.state() + planned.host) as f64;
            let before = own_memory();
            let (lora, zero) = (config.lora.as_ref(), config.parallel.zero);
            let kind = compute_kind(config.precision);
            let apart = config.offload == Offload::Optimizer;
            let devices = Devices { model: Device::Cpu, state: apart.then_some(Device::Cpu) };
            let model = Model::sharded(shape.clone(), lora, kind, devices, &mesh, zero);
            let optimizer = AdamW::new(config.optimizer.clone(), &model);
            let gradients = Gradients::zeros(&model);
            let taken = own_memory() - before;
            drop((model, optimizer, gradients));
            // What an allocator and threads take themselves, and pages that are not full.
            let off = (taken - planned).abs();
            assert!(off < 0.01 * planned + 2e6, "{lines}: {planned} planned, {taken} taken");
        });
    }
}

#[test]
fn a_step_sends_what_is_planned_in_every_layout() {
    let lora = "lora={r: 2, target_modules: [q_proj, o_proj], modules_to_save: [lm_head]}";
    let tensor = "parallel.tensor=2";
    // Stages of ZeRO, and what else is set.
    let layouts: &[(&[u8], &[&str])] = &[
        (&[0, 1, 2, 3], &[]),
        (&[0, 1, 2, 3], &[lora]),
        (&[1, 2, 3], &["parallel.replicate=2"]),
        (&[1, 3], &["parallel.reduce=bf16", "precision=bf16"]),
        (&[0, 3], &[tensor]),
        (&[1], &[tensor, "parallel.sequence=false"]),
        (&[2], &[tensor, "recompute=all"]),
        (&[0, 1], &["parallel.pipeline=2"]),
        (&[0], &["parallel.pipeline=2", tensor]),
    ];
    ranks::run(4, |place| {
        let ranks = join(place);
        for (zeros, more) in layouts {
            for zero in *zeros {
                let zero = format!("parallel.zero={zero}");
                check_traffic(&ranks, &[&[zero.as_str()], *more].concat());
            }
        }
    });
}

/// Makes a step, of which each rank must send what is planned.
fn check_traffic(ranks: &Rc<Ranks>, settings: &[&str]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (prefix, yaml) = (folder.path().join("docs-train"), folder.path().join("run.yaml"));
    // Rows without padding.
    golden_run::write_documents(&prefix, [(16, 0); 16]);
    let lines = "steps: 2\noptimizer: {lr: 0.01}\nloss: {head: all}\n";
    let config = golden_run::config(&prefix, &yaml, lines, settings);
    let mut run = Run::open_on(ranks, config.clone()).expect("a run");
    run.step().expect("the first step, which gathers everything for the first time");
    let mesh = run.model.mesh().clone();
    let all = [&mesh.world, &mesh.data, &mesh.shard, &mesh.replicas];
    let others = [&mesh.tensor, &mesh.stages];
    all.into_iter().chain(others).for_each(|group| group.transcript().keep());
    let tokens = run.step().expect("a step").counts.tokens as f64;
    let stage = mesh.stages.rank();
    let planned = Traffic::of_stage(stage, &config, &run.model.config, 4, tokens);

    // Groups that make the same calls write them down together: what is taken is gone.
    let entries: Vec<Entry> = all.into_iter().flat_map(|it| it.transcript().take()).collect();
    let sent = |counts: fn(&str) -> bool| -> u64 {
        let gathered =
            entries.iter().filter(|it| ["all_to_all", "all_gather"].contains(&it.operation));
        gathered.filter(|it| counts(&it.group)).map(|it| it.bytes).sum()
    };
    let sharded = sent(|group| group != "replicas");
    assert_eq!(sharded, planned.gradients + planned.weights, "{settings:?}");
    assert_eq!(sent(|group| group == "replicas"), planned.replicas, "{settings:?}");
    let bytes = |group: &Rc<Ranks>| group.transcript().take().iter().map(|it| it.bytes).sum();
    let [tensor, stages]: [u64; 2] = others.map(bytes);
    assert_eq!(stages, planned.stages, "{settings:?}");
    // And, for each token, a few numbers for the softmax.
    let planned = planned.tensor as f64;
    assert!(
        (planned..=1.1 * planned).contains(&(tensor as f64)),
        "{settings:?}: {planned} {tensor}"
    );
}

#[test]
fn a_codellamas_state_is_what_the_usual_formulas_give() {
    // N (2+4+12) bytes at stage 0, N (2+4+12/d) at 1, and at 2 and 3 N (2+16/d) and N 16/d with buffers for two blocks;
    // here one for the larger of embedding and head comes to these.
    let check = |preset: Preset, expected: [f64; 4]| {
        for (zero, expected) in expected.into_iter().enumerate() {
            let config = config(&format!("precision: bf16\nparallel: {{zero: {zero}}}\n"));
            let state = Memory::of(&config, &preset.shape(), 8, 64).state();
            let found = state as f64 / f64::from(1 << 30);
            let tolerance = if zero < 2 { 0.05 } else { 0.06 * expected };
            assert!((found - expected).abs() < tolerance, "{preset:?} {zero}: {found}");
        }
    };
    check(Preset::Codellama7b, [113.0, 47.1, 26.6, 14.8]);
    check(Preset::Codellama13b, [218.2, 90.9, 50.9, 27.8]);
}

#[test]
fn a_stage_has_its_units_and_keeps_what_is_under_way() {
    let memory = |stage: usize, pipeline: usize| {
        let lines = format!("precision: bf16\nparallel: {{pipeline: {pipeline}}}\n");
        Memory::of_stage(stage, &config(&lines), &Preset::Codellama7b.shape(), 4, 64)
    };
    let whole = memory(0, 1);
    let stages = [0, 1, 2, 3].map(|stage| memory(stage, 4));
    // Nothing is there twice, and of 32 blocks each has 8: inner stages have nothing else.
    let gradients: u64 = stages.iter().map(|it| it.gradients).sum();
    assert_eq!(gradients, whole.gradients);
    assert_eq!(stages[1].state(), stages[2].state());
    assert!(stages[0].state() > stages[1].state() && stages[3].state() > stages[1].state());
    // Of eight micro-batches, four are under way in the first stage, and one less in each after it.
    let kept = stages.map(|it| it.activations);
    let one = kept[2] / 2;
    assert_eq!(kept[..3], [4 * one, 3 * one, 2 * one]);
    // The most that a rank takes is what is planned.
    let lines = "precision: bf16\nparallel: {pipeline: 4}\n";
    let planned = Memory::of(&config(lines), &Preset::Codellama7b.shape(), 4, 64);
    assert_eq!(planned.total(), stages.iter().map(Memory::total).max().expect("four"));
}

fn plan_of_13b(more: &[&str]) -> Command {
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../configs/train/codellama-13b-oasst-sft-v10.yaml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_trainer"));
    command.args(["plan", "--config"]).arg(recipe).args(more);
    command
}

#[test]
fn the_13b_recipe_is_planned_without_weights_data_or_gpu_and_what_to_change_is_said() {
    fails(&mut plan_of_13b(&[]), 2, &["`model.base` is `models/CodeLlama-13b-hf`", "--preset"]);
    let said = |more: &[&str]| {
        let known = ["--preset", "codellama-13b", "--mean-tokens", "536"];
        let output = succeeds(&mut plan_of_13b(&[&known[..], more].concat()));
        String::from_utf8(output.stdout).expect("text")
    };
    let alone = said(&["--gpu", "h200"]);
    for words in [
        "13016.0 M parameters, 13016.0 M of them trained",
        "6123 steps of 64 documents: 210043392 tokens",
        "masters                      48.49",
        "it does not fit",
        "ranks: ",
        "  with `offload: optimizer` in place of more ranks: ",
        "of CPU memory: fits",
        "  with LoRA",
    ] {
        assert!(alone.contains(words), "`{words}` is not in:\n{alone}");
    }
    let offloads = said(&["--set", "offload=optimizer", "--set", "recompute=all", "--gpu", "h200"]);
    for words in
        ["in CPU memory               145.47  masters and optimizer: `offload`", "it fits: "]
    {
        assert!(offloads.contains(words), "`{words}` is not in:\n{offloads}");
    }
    assert!(!offloads.contains("  masters  "), "{offloads}");
    assert!(offloads.contains("the CPU's part of each update is not in the time"), "{offloads}");
    // The published run's layout.
    let stages = ["--ranks", "8", "--set", "parallel={pipeline: 2, tensor: 4}", "--gpu", "h100"];
    let published = said(&[&stages[..], &["--set", "recompute=all"]].concat());
    for words in ["2 stages wait for each other ", "of the one of 2 stages", "it fits: "] {
        assert!(published.contains(words), "`{words}` is not in:\n{published}");
    }
    // Two machines of four, each with all of it.
    let copies = ["--ranks", "8", "--set", "parallel={zero: 3, replicate: 2}", "--gpu", "h200"];
    let copies = said(&[&copies[..], &["--set", "recompute=all"]].concat());
    assert!(copies.contains("of each of 8 ranks at ZeRO 3 in 2 replicas, in GiB"), "{copies}");
    let shard = said(&["--ranks", "4", "--set", "parallel={zero: 3}", "--set", "recompute=all"]);
    let needs = |text: &str| text.lines().find(|it| it.contains("masters")).map(str::to_owned);
    assert_eq!(needs(&copies), needs(&shard));
    let lora = said(&["--gpu", "h200", "--set", "lora={r: 16}", "--set", "recompute=all"]);
    assert!(lora.contains("it fits: "), "{lora}");
    let eight = said(&["--ranks", "8", "--gpu", "h100"]);
    assert!(eight.contains("it does not fit") && eight.contains("fits\n"), "{eight}");
    // Every change on top of the ones before makes it smaller, and the last one is enough.
    let needs: Vec<f64> = eight
        .lines()
        .filter(|line| line.starts_with("  with "))
        .map(|line| line.split(": ").find_map(|it| it.split(" GiB").next()?.parse().ok()))
        .map(|it| it.expect("a number of GiB"))
        .collect();
    assert!(needs.windows(2).all(|pair| pair[1] < pair[0]), "{eight}");
    assert!(needs.last().is_some_and(|last| *last < 79.1), "{eight}");
}

#[test]
fn tokens_and_steps_are_those_that_the_run_makes() {
    let run = TinyRun::new(5, "");
    // Forty documents, eight a step.
    succeeds(&mut run.train("run", &[]));
    let metrics = String::from_utf8(run.bytes("run/metrics.jsonl")).expect("text");
    let steps: Vec<Value> =
        metrics.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let tokens: u64 = steps.iter().map(|step| step["tokens"].as_u64().expect("a number")).sum();
    let said = succeeds(run.command("plan").args(["--config", "train.yaml"])).stdout;
    let said = String::from_utf8(said).expect("text");
    let words =
        format!("5 steps of 8 documents: 1.00 passes over 40 documents, {tokens} tokens a pass\n");
    assert_eq!(steps.len(), 5);
    assert!(said.contains(&words), "`{words}` is not in:\n{said}");
}
