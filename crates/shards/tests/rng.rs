//! Every stream gives the numbers that the libraries themselves gave: the goldens of the reference's description
//! below, and all vectors of `oracle/rng.json` where that file is at hand.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test's helpers fail and speak as tests do"
)]

use std::path::{Path, PathBuf};

use serde_json::Value;
use shards::rng::{Mt19937, NumpyGenerator, NumpyRandom, PythonRandom, TorchGenerator};

/// The seed of torch's generators in the reference.
const TORCH_SEED: i64 = 287_631_038_922;

#[test]
fn each_stream_begins_as_its_library_does() {
    // numpy: RandomState(42).choice(10, 4, replace=False), then choice(7, 2) and choice(15, 6) on the same stream.
    let mut numpy = NumpyRandom::new(42);
    assert_eq!(numpy.choice(10, 4), [8, 1, 5, 0]);
    assert_eq!(numpy.choice(7, 2), [4, 1]);
    assert_eq!(numpy.choice(15, 6), [10, 12, 0, 8, 9, 6]);

    // Python: Random(7).shuffle(list(range(10))).
    let mut items: Vec<usize> = (0..10).collect();
    PythonRandom::new(7).shuffle(&mut items);
    assert_eq!(items, [8, 3, 1, 4, 7, 0, 9, 6, 2, 5]);

    // torch: two calls of randperm on one generator; a negative seed counts by its low 32 bits.
    let mut torch = TorchGenerator::new(TORCH_SEED);
    assert_eq!(torch.randperm(10), [8, 0, 5, 4, 7, 3, 1, 9, 2, 6]);
    assert_eq!(torch.randperm(7), [6, 5, 1, 4, 3, 0, 2]);
    assert_eq!(
        TorchGenerator::new(-1).randperm(9),
        TorchGenerator::new(i64::from(u32::MAX)).randperm(9)
    );

    // numpy: default_rng(42).permutation(10), and the raw numbers of PCG64(42).
    assert_eq!(NumpyGenerator::new(42).permutation(10), [5, 6, 0, 7, 3, 2, 4, 9, 1, 8]);
    let mut raw = NumpyGenerator::new(42);
    assert_eq!(raw.next_u64(), 14_276_969_152_011_380_360);
    assert_eq!(raw.next_u64(), 8_095_878_257_575_067_585);
}

#[test]
fn every_vector_of_the_oracle_matches() {
    let Some(path) = oracle() else { return };
    let oracle: Value = serde_json::from_str(&fs_err::read_to_string(path).unwrap()).unwrap();

    for (name, expected) in oracle["mt19937_raw_u32"].as_object().unwrap() {
        let numbers = name.trim_matches(|c: char| !c.is_ascii_digit());
        let key: Vec<u32> = numbers.split(',').map(|n| n.trim().parse().unwrap()).collect();
        let mut mt = if name.starts_with("init_genrand") {
            Mt19937::from_seed(key[0])
        } else {
            Mt19937::from_key(&key)
        };
        for expected in expected.as_array().unwrap() {
            assert_eq!(u64::from(mt.next_u32()), expected.as_u64().unwrap(), "{name}");
        }
    }

    for case in rows(&oracle, "numpy_choice_no_replace") {
        let mut numpy = NumpyRandom::new(number(case, "seed").try_into().unwrap());
        let calls = case["calls"].as_array().unwrap().iter();
        for (call, expected) in calls.zip(case["result"].as_array().unwrap()) {
            let [n, k] = indices(call)[..] else { panic!("{call}") };
            assert_eq!(numpy.choice(n, k), indices(expected), "{case}");
        }
    }
    for case in rows(&oracle, "numpy_choice_sha256_u32le") {
        let mut numpy = NumpyRandom::new(number(case, "seed").try_into().unwrap());
        check_hash(&numpy.choice(number(case, "n"), number(case, "size")), case, "sha256");
    }

    for case in rows(&oracle, "python_random_shuffle") {
        assert_eq!(python_shuffle(case), indices(&case["result"]), "{case}");
    }
    for case in rows(&oracle, "python_random_shuffle_sha256") {
        check_hash(&python_shuffle(case), case, "sha256");
    }
    let stream = &oracle["python_random_seed42_stream"];
    for (name, n) in [("choice4_x12", 4), ("choice3_x12", 3), ("choice14_x12", 14)] {
        let mut python = PythonRandom::new(42);
        let drawn: Vec<usize> = (0..12).map(|_| python.below(n)).collect();
        assert_eq!(drawn, indices(&stream[name]), "{name}");
    }
    let mut python = PythonRandom::new(42);
    for expected in rows(stream, "random_x4") {
        assert_eq!(python.random().to_bits(), expected.as_f64().unwrap().to_bits());
    }

    for case in rows(&oracle, "torch_randperm") {
        let mut torch = TorchGenerator::new(case["seed"].as_i64().unwrap());
        for (n, expected) in indices(&case["n"]).into_iter().zip(rows(case, "result")) {
            assert_eq!(torch.randperm(n), indices(expected), "{case}");
        }
    }

    for case in rows(&oracle, "numpy_default_rng_permutation") {
        assert_eq!(default_rng(case), indices(&case["result"]), "{case}");
    }
    for case in rows(&oracle, "numpy_default_rng_permutation_sha256") {
        check_hash(&default_rng(case), case, "sha256");
    }
}

fn python_shuffle(case: &Value) -> Vec<usize> {
    let mut items: Vec<usize> = (0..number(case, "n")).collect();
    PythonRandom::new(case["seed"].as_i64().unwrap()).shuffle(&mut items);
    items
}

fn default_rng(case: &Value) -> Vec<usize> {
    NumpyGenerator::new(case["seed"].as_u64().unwrap()).permutation(number(case, "n"))
}

/// Long results stand in the oracle as the SHA-256 of their 32-bit little-endian words.
#[track_caller]
fn check_hash(result: &[usize], case: &Value, key: &str) {
    let bytes: Vec<u8> =
        result.iter().flat_map(|&i| u32::try_from(i).unwrap().to_le_bytes()).collect();
    assert_eq!(shards::hash::sha256(&bytes), case[key].as_str().unwrap(), "{case}");
}

fn rows<'a>(value: &'a Value, key: &str) -> &'a Vec<Value> {
    value[key].as_array().unwrap_or_else(|| panic!("the oracle has a list `{key}`"))
}

fn number(case: &Value, key: &str) -> usize {
    usize::try_from(case[key].as_u64().expect("a number")).expect("a small number")
}

fn indices(list: &Value) -> Vec<usize> {
    let list = list.as_array().expect("a list");
    list.iter().map(|n| usize::try_from(n.as_u64().expect("a number")).expect("small")).collect()
}

/// The oracle stands beside the project; CI must have it.
fn oracle() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/oracle/rng.json");
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "{} is missing", path.display());
    eprintln!("skipped: {} is missing", path.display());
    None
}
