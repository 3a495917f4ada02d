//! The demo datamix, as `scripts/quickstart` builds it: its counts, and that its bytes are the same every time.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use shards::PairReader;

use crate::workplace::Workplace;

/// A workplace with the demo's data; the output stays out of it.
fn workplace() -> Workplace {
    Workplace::linking(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/demo"))
}

#[track_caller]
fn build(workplace: &Workplace, more: &[&str]) {
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/datamix");
    let configs = configs.to_str().expect("the path is UTF-8");
    let demo = ["--config-dir", configs, "--configs", "demo", "--output_dir", "out"];
    workplace.run(&[&demo, more].concat()).ok();
}

#[test]
fn its_manifest_counts_what_its_shards_hold() {
    let workplace = workplace();
    build(&workplace, &[]);
    let manifest = workplace.manifest();
    let mut oasst = 0;
    for split in manifest["splits"].as_array().expect("a list") {
        let sources = split["sources"].as_array().expect("a list");
        let sum = |key: &str| sources.iter().filter_map(|it| it[key].as_u64()).sum::<u64>();
        let samples: Vec<_> = sources
            .iter()
            .filter_map(|it| Some((it["name"].as_str()?, it["samples"].as_u64()?)))
            .collect();
        // Of the rows that data/README.md counts, 896 and 944, a twentieth validates, rounded up, and of these 20.
        match (split["name"].as_str(), &samples[..]) {
            (Some("train"), [("orca-chat", 851), ("bestofmegacode", 896), ("oasst_export", n)])
            | (Some("val"), [("orca-chat", 20), ("bestofmegacode", 20), ("oasst_export", n)]) => {
                oasst += n
            }
            other => panic!("unexpected counts: {other:?}"),
        }
        assert_eq!(sum("documents"), sum("samples"), "no conversation of the demo is left out");

        let prefix = split["prefix"].as_str().expect("a text");
        let size = |name: &str| workplace.read(&format!("out/{prefix}-{name}")).len() as u64;
        // Two bytes a token; an index has a head of 42 bytes and 12 for each document.
        assert_eq!(size("text.bin"), 2 * sum("tokens"));
        assert_eq!(size("role.bin"), 2 * sum("tokens"));
        assert_eq!(size("text.idx"), 42 + 12 * sum("documents"));
        let reader =
            PairReader::open(&workplace.path().join(format!("out/{prefix}"))).expect("a split");
        let mut lengths: Vec<_> = (0..reader.len()).map(|i| reader.document(i).len()).collect();
        lengths.sort_unstable();
        // The nearest rank, as numpy.percentile(lengths, percent, method="inverted_cdf") has it.
        let rank = |percent: usize| lengths[(lengths.len() * percent).div_ceil(100) - 1];
        let said = &split["lengths"];
        for (key, length) in
            [("min", lengths[0]), ("median", rank(50)), ("p90", rank(90)), ("p99", rank(99))]
        {
            assert_eq!(said[key], length, "{key}");
        }
        let mean = said["mean"].as_f64().expect("a number");
        assert!((mean - reader.n_tokens() as f64 / reader.len() as f64).abs() <= 0.005);
        for bin in said["histogram"].as_array().expect("a list") {
            let [from, to] = ["from", "to"].map(|key| bin[key].as_u64().expect("a number"));
            let n = lengths.iter().filter(|length| (from..to).contains(&(**length as u64))).count();
            assert_eq!(bin["documents"], n, "{bin}");
        }
        let roles = workplace.read(&format!("out/{prefix}-role.bin"));
        let assistant = roles.chunks_exact(2).filter(|role| *role == [2, 0]).count() as u64;
        assert_eq!(assistant, sum("assistant_tokens"));
    }
    assert_eq!(oasst, 1602, "the conversations that data/README.md counts");
    // The ten trees that must not be used; two of them for what their messages are.
    let dropped = json!({
        "another language": 4, "no conversation in the tree": 2, "not accepted in review": 1, "tree not ready for export": 3
    });
    let expected = json!([
        {"name": "orca-chat", "samples": 896, "dropped": {}},
        {"name": "bestofmegacode", "samples": 944, "dropped": {}},
        {"name": "oasst_export", "samples": 1602, "dropped": dropped},
    ]);
    assert_eq!(manifest["sources_read"], expected);
    let inputs = manifest["inputs"].as_array().expect("a list").iter();
    let inputs: Vec<&str> = inputs.filter_map(|it| it["path"].as_str()).collect();
    let expected = [
        "shahules786/orca-best/data/train-00000-of-00001.parquet",
        "shahules786/megacode-best/train.jsonl",
        "oasst/trees.jsonl.gz",
    ];
    assert_eq!(inputs, expected);
    assert_eq!(manifest["tokenizer"]["vocab_size"], Value::from(1536));
}

#[test]
fn it_has_the_same_bytes_every_time_and_on_any_number_of_threads() {
    let files = |threads: &[&str]| -> BTreeMap<String, Vec<u8>> {
        let workplace = workplace();
        build(&workplace, &[&["--write_json"], threads].concat());
        let names = workplace.files("out").into_iter();
        names.map(|name| (name.clone(), workplace.read(&format!("out/{name}")))).collect()
    };
    let once = files(&[]);
    assert_eq!(once.len(), 14, "two splits of six files, the special tokens and the manifest");
    for threads in [&[][..], &["--threads", "1"], &["--threads", "3"]] {
        let again = files(threads);
        assert!(once.keys().eq(again.keys()));
        for (name, bytes) in &once {
            assert!(again[name] == *bytes, "`{name}` differs with {threads:?}");
        }
    }
}
