//! All of `../shared/data` encodes as SentencePiece does; the digests come from `scripts/encode/expected.py`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use text::Tokenizer;

mod shared;

/// What SentencePiece made of a file.
#[derive(Debug, Deserialize, PartialEq)]
struct Encoded {
    documents: usize,
    ids: usize,
    sha256: String,
}

#[test]
fn all_shared_data_encodes_as_sentencepiece_does() {
    let Some(data) = shared::path("data") else { return };
    let expected: BTreeMap<String, BTreeMap<String, Encoded>> =
        serde_json::from_str(include_str!("expected-ids.json")).expect("our own file is sound");
    assert_eq!(expected.keys().collect::<Vec<_>>(), ["codellama", "llama2"]);
    for (tokenizer, files) in expected {
        let model = shared::path(&format!("tokenizers/{tokenizer}/tokenizer.model"));
        let model = model.expect("the tokenizers are beside the data");
        let extra = ["<|im_start|>", "<|im_end|>"].map(String::from);
        let tokenizer = Tokenizer::sentencepiece(&model, &extra).expect("the model is sound");
        assert_eq!(tokenizer.slow_because(), None);
        assert!(files.len() > 10);
        for (file, expected) in files {
            assert_eq!(encode(&tokenizer, &texts(&data.join(&file))), expected, "{file}");
        }
    }
}

/// The documents of a file, as `corpora.texts` in the script finds them.
fn texts(file: &Path) -> Vec<String> {
    let name = file.to_string_lossy();
    let bytes = fs_err::read(file).expect("the data can be read");
    if name.ends_with(".zip") {
        return members(bytes);
    }
    let mut text = String::new();
    if name.ends_with(".gz") {
        GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).expect("sound gzip");
    } else {
        text = String::from_utf8(bytes).expect("text");
    }
    let values = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    let mut texts = Vec::new();
    values.for_each(|value| strings(value.expect("JSON"), &mut texts));
    texts
}

fn members(archive: Vec<u8>) -> Vec<String> {
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(archive)).expect("an archive");
    let mut names: Vec<String> =
        archive.file_names().filter(|it| !it.ends_with('/')).map(String::from).collect();
    names.sort();
    let mut text = |name: &String| {
        let mut bytes = Vec::new();
        archive.by_name(name).expect("a member").read_to_end(&mut bytes).expect("a sound member");
        String::from_utf8_lossy(&bytes).into_owned()
    };
    names.iter().map(&mut text).collect()
}

fn strings(value: Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text),
        Value::Array(items) => items.into_iter().for_each(|item| strings(item, texts)),
        Value::Object(items) => items.into_iter().for_each(|(_, item)| strings(item, texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn encode(tokenizer: &Tokenizer, texts: &[String]) -> Encoded {
    let mut encoder = tokenizer.encoder();
    let mut digest = Sha256::new();
    let (mut ids, mut n_ids) = (Vec::new(), 0);
    for text in texts {
        ids.clear();
        encoder.encode(text, &mut ids);
        n_ids += ids.len();
        assert_eq!(tokenizer.decode(&ids), text.replace('\u{2581}', " "));
        ids.iter().chain([&u32::MAX]).for_each(|id| digest.update(id.to_le_bytes()));
    }
    let sha256 = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Encoded { documents: texts.len(), ids: n_ids, sha256 }
}
