//! A base model that `trainer init` makes.

mod tiny_run;

use std::process::Command;

use tiny_run::{TinyRun, fails, succeeds};
use trainer::init::Preset;
use trainer::llama_config::LlamaConfig;
use trainer::units::unit_specs;

const SHAPE: &str = "--hidden-size 32 --intermediate-size 48 --layers 2 --heads 4 --vocab-size 40";

fn init(run: &TinyRun, out: &str, more: [&str; 2]) -> Command {
    let mut command = run.command("init");
    command.args(["--out", out]).args(SHAPE.split(' ')).args(more);
    command
}

#[test]
fn a_seed_decides_every_byte_of_the_weights() {
    let run = TinyRun::new(1, "");
    let weights = |out: &str, seed: &str| {
        succeeds(&mut init(&run, out, ["--seed", seed]));
        run.bytes(format!("{out}/model.safetensors"))
    };
    let first = weights("a", "1");
    assert!(first == weights("b", "1"));
    assert!(first != weights("c", "2"));
}

#[test]
fn the_vocabulary_is_the_tokenizers_filled_up_and_its_file_is_the_same() {
    let run = TinyRun::new(2, "");
    let config = LlamaConfig::read(&run.path("base")).unwrap();
    let tokenizer = trainer::hf_tokenizer::open_folder(&run.path("base")).unwrap();
    let used = i64::from(tokenizer.vocab_size());
    assert!(config.vocab_size % 16 == 0 && (used..used + 16).contains(&config.vocab_size));
    assert!(tokenizer.special_id("<|im_end|>").is_some());
    let theirs = fs_err::read(tiny_run::data().join("tokenizer.model")).unwrap();
    assert!(theirs == run.bytes("base/tokenizer.model"));
    // And it can be trained as it is.
    succeeds(&mut run.train("run", &[]));
}

#[test]
fn shapes_that_cannot_be_are_refused_and_folders_are_not_overwritten() {
    let run = TinyRun::new(1, "");
    fails(&mut init(&run, "base", ["--seed", "1"]), 2, &["`base` is there already"]);
    let complaint = "4 attention heads cannot share 3 key-value heads evenly";
    fails(&mut init(&run, "d", ["--kv-heads", "3"]), 2, &[complaint]);
    let odd = "--out d --hidden-size 33 --intermediate-size 48 --layers 1 --heads 4 --vocab-size 9";
    let mut command = run.command("init");
    command.args(odd.split(' '));
    fails(&mut command, 2, &["`--hidden-size` 33 cannot be shared by 4 heads evenly"]);
    assert!(!run.path("d").exists());
}

/// Numbers of parameters as they are published: 6,738,546,688 and 13,016,028,160 for a vocabulary of 32,016, and
/// 33,743,970,304 for the 34B model's 32,000.
#[test]
fn presets_have_as_many_parameters_as_the_published_models() {
    let parameters = |preset: Preset, vocab_size| {
        let config = LlamaConfig { vocab_size, ..preset.shape() };
        unit_specs(&config).iter().map(|unit| unit.numel()).sum::<i64>()
    };
    assert_eq!(parameters(Preset::Codellama7b, 32_016), 6_738_546_688);
    assert_eq!(parameters(Preset::Codellama13b, 32_016), 13_016_028_160);
    assert_eq!(parameters(Preset::Codellama34b, 32_000), 33_743_970_304);

    let run = TinyRun::new(1, "");
    let mut both = run.command("init");
    both.args("--out d --preset codellama-7b --layers 1 --vocab-size 9".split(' '));
    fails(&mut both, 2, &["cannot be used with"]);
}
