//! What `trainer convert` makes of checkpoints.

mod tiny_run;

use fs_err as fs;
use tch::Kind;
use tiny_run::{TinyRun, fails, succeeds};
use trainer::checkpoint;
use trainer::stored::Stored;

/// Trained by so many ranks, each of which wrote a part of the checkpoint.
fn trained(ranks: usize) -> TinyRun {
    let run = TinyRun::new(2, "");
    let mut launch = run.command("launch");
    launch.args(["--nproc", &ranks.to_string(), "--", "train", "--config", "train.yaml"]);
    succeeds(launch.args(["--out", "run"]));
    run
}

#[track_caller]
fn convert(run: &TinyRun, from: &str, out: &str, dtype: &str) {
    let mut command = run.command("convert");
    succeeds(command.args([from, "--out", out, "--dtype", dtype]));
}

#[test]
fn a_checkpoint_converts_wherever_it_lies_to_the_weights_of_its_export() {
    for ranks in [1, 2] {
        let run = trained(ranks);
        let mut export = run.command("export");
        succeeds(export.args(["run", "--out", "exported", "--dtype", "bf16"]));
        // Alone: neither its run's folder nor the base are there any more.
        fs::rename(run.path("run/checkpoints/step-0000002"), run.path("alone")).expect("moved");
        fs::remove_dir_all(run.path("run")).expect("removed");
        fs::remove_dir_all(run.path("base")).expect("removed");

        convert(&run, "alone", "half", "bf16");
        assert!(run.bytes("half/model.safetensors") == run.bytes("exported/model.safetensors"));
        convert(&run, "alone", "whole", "f32");
        let (masters, _) = checkpoint::open_weights(&run.path("alone")).expect("whole");
        let written = Stored::open_folder(&run.path("whole")).expect("a model");
        assert!(masters.names().eq(written.names()));
        for name in masters.names() {
            assert_eq!(written.kind(name), Some(Kind::Float));
            let tensor = |stored: &Stored| stored.tensor(name).expect("there");
            assert_eq!(tensor(&masters), tensor(&written), "{name} of {ranks} ranks");
        }
        // From there on it is a folder as any other, and no checkpoint.
        assert!(!run.path("whole/checkpoint.json").exists());
        convert(&run, "whole", "again", "bf16");
        assert!(run.bytes("again/model.safetensors") == run.bytes("half/model.safetensors"));
    }
}

#[test]
fn a_run_gives_its_newest_checkpoint_and_a_damaged_one_is_named() {
    let run = TinyRun::new(4, "checkpoint: {every: 2, keep: 2}\n");
    succeeds(&mut run.train("run", &[]));
    let convert = |out: &str| {
        let mut command = run.command("convert");
        command.args(["run", "--out", out]);
        command
    };
    let output = succeeds(&mut convert("newest"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("newest: step 4, "), "{said}");
    assert!(said.contains("without a tokenizer"), "{said}");

    let path = run.path("run/checkpoints/step-0000004/model.safetensors");
    let mut bytes = fs::read(&path).expect("written");
    *bytes.last_mut().expect("not empty") ^= 1;
    shards::atomic::write(&path, &bytes).expect("written");
    let words = ["step-0000004` is damaged", "go on from `run/checkpoints/step-0000002`"];
    fails(&mut convert("damaged"), 2, &words);
    assert!(!run.path("damaged").exists());

    succeeds(&mut run.train("lora", &["--set", "lora={r: 2}"]));
    let mut of_adapter = run.command("convert");
    let words = ["step-0000004` is an adapter's (`lora`)"];
    fails(of_adapter.args(["lora", "--out", "x"]), 2, &words);

    let mut of_shards = run.command("convert");
    let words = [
        "`shards` is neither the folder of a Hugging Face model nor one of Meta's, nor a checkpoint",
    ];
    fails(of_shards.args(["shards", "--out", "x"]), 2, &words);
}
