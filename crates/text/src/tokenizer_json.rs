//! A SentencePiece model as a Hugging Face `tokenizer.json` that encodes the same way.
//!
//! The normalizer puts `▁` in front of every stretch between special tokens and for every blank, as SentencePiece does;
//! merges are listed from the best score to the worst. `<unk>` is not among the added tokens: typed in a text it is
//! text, for SentencePiece and for this crate.

use serde_json::{Map, Value, json};

use crate::model::{BLANK, Kind, Model};

/// The content of a `tokenizer.json`, with these special tokens.
pub(crate) fn tokenizer_json(model: &Model, special: &[(String, u32)]) -> Value {
    let vocab: Map<String, Value> =
        (0u32..).zip(&model.pieces).map(|(id, piece)| (piece.text.clone(), json!(id))).collect();
    let merges: Vec<Value> = merges(model).into_iter().map(|(l, r)| json!([l, r])).collect();

    let mut added = special.to_vec();
    added.sort_by_key(|(_, id)| *id);
    let added: Vec<Value> = added
        .into_iter()
        .map(|(content, id)| {
            json!({
                "id": id, "content": content, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true,
            })
        })
        .collect();

    let blank = json!({"type": "Replace", "pattern": {"String": " "}, "content": BLANK});
    let prefix = json!({"type": "Prepend", "prepend": BLANK});
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": BLANK}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if model.dummy_prefix {
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": {
            "type": "Sequence",
            "normalizers": if model.dummy_prefix { vec![prefix, blank] } else { vec![blank] },
        },
        "pre_tokenizer": null,
        "post_processor": null,
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": model.pieces[model.unknown as usize].text,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": true,
            "byte_fallback": true,
            "vocab": vocab,
            "merges": merges,
        },
    })
}

/// Every pair of pieces that is a piece when joined, the best first. The order of equal scores is that of
/// transformers' conversion (`generate_merges`), whose files are what users have.
fn merges(model: &Model) -> Vec<(&str, &str)> {
    let mut merges = Vec::new();
    for piece in model.pieces.iter().filter(|piece| piece.kind == Kind::Normal) {
        let text = piece.text.as_str();
        let mut of_piece: Vec<_> = text
            .char_indices()
            .skip(1)
            .map(|(at, _)| text.split_at(at))
            .filter_map(|(l, r)| Some(((*model.ids.get(l)?, *model.ids.get(r)?), l, r)))
            .collect();
        of_piece.sort_by_key(|(ids, ..)| *ids);
        merges.extend(of_piece.into_iter().map(|(_, l, r)| (piece.score, l, r)));
    }
    let length = |text: &str| text.chars().count();
    merges.sort_by(|a, b| {
        let sizes = |(_, l, r): &(f32, &str, &str)| (length(l), length(r));
        b.0.total_cmp(&a.0).then_with(|| sizes(b).cmp(&sizes(a)))
    });
    merges.into_iter().map(|(_, l, r)| (l, r)).collect()
}
