//! A base that lacks rows for the datamix's tokens: refused by default, or given rows as the configuration says.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as tests do")]

mod tiny_run;

use serde_json::Value;
use tch::{Kind, Tensor};
use tiny_run::{TinyRun, fails, succeeds};
use trainer::stored::Stored;
use trainer::weights::{self, Source};

const WIDENED: [&str; 2] = ["model.embed_tokens.weight", "lm_head.weight"];
/// The demo's tokenizer has so many pieces; the shards' special tokens come on top.
const N_PIECES: i64 = 1529;

/// A run whose base has a row for every piece and none for a special token.
fn narrow_run() -> TinyRun {
    let run = TinyRun::new(4, "");
    let path = run.path("base/model.safetensors");
    let mut tensors = Tensor::read_safetensors(&path).unwrap();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, tensor) in &mut tensors {
        if WIDENED.contains(&name.as_str()) {
            *tensor = tensor.narrow(0, 0, N_PIECES).contiguous();
        }
    }
    let sources: Vec<_> =
        tensors.iter().map(|(name, tensor)| Source::tensor(name.as_str(), tensor)).collect();
    weights::write_file(&path, &sources, Kind::Float).unwrap();

    let path = run.path("base/config.json");
    let mut config: Value = serde_json::from_slice(&run.bytes("base/config.json")).unwrap();
    config["vocab_size"] = N_PIECES.into();
    shards::atomic::write(&path, config.to_string().as_bytes()).unwrap();
    run
}

#[test]
fn shards_with_tokens_that_the_base_lacks_are_refused() {
    let words = ["a vocabulary of 1536", "has 1529", "hint: ", "`model.new_rows`"];
    fails(&mut narrow_run().train("run", &[]), 2, &words);
}

#[test]
fn new_rows_are_the_last_row_or_the_mean_and_the_others_stay() {
    for (fill, multiple, n_rows) in [("copy_last", 16, 1536), ("mean", 100, 1600)] {
        let run = narrow_run();
        let new_rows = format!("model.new_rows={{fill: {fill}, multiple: {multiple}}}");
        // The first update has learning rate 0, so that the checkpoint after it shows what training began with.
        succeeds(&mut run.train("run", &["--set", &new_rows, "--stop-after", "1"]));

        let base = Stored::open_folder(&run.path("base")).unwrap();
        let begun = Stored::open_folder(&run.path("run/checkpoints/step-0000001")).unwrap();
        for name in WIDENED {
            let (stored_vd, begun_vd) = (base.tensor(name).unwrap(), begun.tensor(name).unwrap());
            assert_eq!(begun_vd.size(), [n_rows, 32], "{name}");
            assert_eq!(begun_vd.narrow(0, 0, N_PIECES), stored_vd);
            let expected_1d = match fill {
                "mean" => stored_vd.mean_dim(0, true, Kind::Float),
                _ => stored_vd.narrow(0, N_PIECES - 1, 1),
            };
            let new_vd = begun_vd.narrow(0, N_PIECES, n_rows - N_PIECES);
            assert_eq!(new_vd, expected_1d.expand_as(&new_vd), "{name}");
        }
        // The run goes on from there, and what it exports has the rows too.
        succeeds(&mut run.train("run", &["--set", &new_rows]));
        succeeds(run.command("export").args(["run", "--out", "model"]));
        let config: Value = serde_json::from_slice(&run.bytes("model/config.json")).unwrap();
        assert_eq!(config["vocab_size"], n_rows);
    }
}

#[test]
fn rows_drawn_at_random_are_as_large_as_the_bases_and_the_same_again() {
    let run = narrow_run();
    let set = ["--set", "model.new_rows={fill: normal, multiple: 100}", "--stop-after", "1"];
    let begun = ["first", "second"].map(|out| {
        succeeds(&mut run.train(out, &set));
        let path = run.path(out).join("checkpoints/step-0000001");
        Stored::open_folder(&path).unwrap().tensor(WIDENED[0]).unwrap()
    });
    assert_eq!(begun[0], begun[1]);
    let new_vd = begun[0].narrow(0, N_PIECES, 1600 - N_PIECES);
    // 71 x 32 numbers with a deviation of 0.02: their own deviates from it by 1.5 % in the mean.
    let deviation = new_vd.std(true).double_value(&[]);
    assert!((0.018..0.022).contains(&deviation), "{deviation}");
}

#[test]
fn without_a_manifest_the_number_of_rows_is_unknown() {
    let run = narrow_run();
    fs_err::remove_file(run.path("shards/manifest.json")).unwrap();
    let words = ["`model.new_rows`", "`shards/tiny-train` has none", "hint: "];
    fails(&mut run.train("run", &["--set", "model.new_rows={fill: mean}"]), 2, &words);
}
