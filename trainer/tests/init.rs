//! A base model that `trainer init` makes.

mod workplace;

use trainer::llama_config::LlamaConfig;
use workplace::Workplace;

const SHAPE: &str = "--hidden-size 32 --intermediate-size 48 --layers 2 --heads 4 --vocab-size 40";

fn words<'a>(out: &'a str, more: &'a str) -> Vec<&'a str> {
    ["init", "--out", out].into_iter().chain(SHAPE.split(' ')).chain(more.split(' ')).collect()
}

#[test]
fn a_seed_decides_every_byte_of_the_weights() {
    let place = Workplace::new();
    let weights = |out: &str, more: &str| {
        place.done(&words(out, more));
        fs_err::read(place.path(out).join("model.safetensors")).unwrap()
    };
    let first = weights("a", "--seed 1");
    assert!(first == weights("b", "--seed 1"));
    assert!(first != weights("c", "--seed 2"));
}

#[test]
fn the_vocabulary_is_the_tokenizers_filled_up_and_its_file_is_the_same() {
    let place = Workplace::new();
    let config = LlamaConfig::read(&place.path("base")).unwrap();
    let tokenizer = trainer::hf_tokenizer::open_folder(&place.path("base")).unwrap();
    let used = i64::from(tokenizer.vocab_size());
    assert!(config.vocab_size % 16 == 0 && (used..used + 16).contains(&config.vocab_size));
    assert!(tokenizer.special_id("<|im_end|>").is_some());
    let files = [workplace::tokenizer_file(), place.path("base/tokenizer.model")];
    let [theirs, ours] = files.map(|file| fs_err::read(file).unwrap());
    assert!(theirs == ours);
}

#[test]
fn shapes_that_cannot_be_are_refused_and_folders_are_not_overwritten() {
    let place = Workplace::new();
    place.refused(&words("base", "--seed 1"), "`base` is there already");
    place.refused(&words("d", "--kv-heads 3"), "4 attention heads cannot share 3");
    let odd =
        "init --out d --hidden-size 33 --intermediate-size 48 --layers 1 --heads 4 --vocab-size 9";
    let odd: Vec<&str> = odd.split(' ').collect();
    place.refused(&odd, "`--hidden-size` 33 cannot be shared by 4 heads evenly");
    assert!(!place.path("d").exists());
}
