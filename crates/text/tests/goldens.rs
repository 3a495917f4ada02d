//! Ids that SentencePiece and the reference gave, for the tokenizers in `../shared`.

use std::path::PathBuf;

use text::Tokenizer;

mod shared;

const CHATML: [&str; 2] = ["<|im_start|>", "<|im_end|>"];

fn tokenizer(folder: &str, extra: &[&str]) -> Option<Tokenizer> {
    let model: PathBuf = shared::path(&format!("tokenizers/{folder}/tokenizer.model"))?;
    let extra: Vec<String> = extra.iter().map(ToString::to_string).collect();
    Some(Tokenizer::sentencepiece(&model, &extra).expect("the model is sound"))
}

/// Encodes with Llama-2's tokenizer, compares, and decodes again.
fn check(text: &str, expected: &[u32]) {
    let Some(tokenizer) = tokenizer("llama2", &CHATML) else { return };
    let mut ids = Vec::new();
    tokenizer.encoder().encode(text, &mut ids);
    assert_eq!(ids, expected, "of {text:?}");
    assert_eq!(tokenizer.decode(&ids), text.replace('\u{2581}', " "));
}

#[test]
fn a_stretch_between_special_tokens_has_its_own_blank_in_front() {
    check("", &[]);
    check("a<s>b", &[263, 1, 289]);
    check("</s></s>", &[2, 2]);
    check("<|im_start|>user\nhi<|im_end|>\n", &[32005, 1404, 13, 2918, 32006, 29871, 13]);
    check("<|im_start|>user\n<|im_end|>\n", &[32005, 1404, 13, 32006, 29871, 13]);
    check("<|im_start|>system\n  <|im_end|>\n", &[32005, 1788, 13, 259, 32006, 29871, 13]);
    check(
        "<|im_start|>assistant\n<PAD> x<|im_end|>\n",
        &[32005, 20255, 13, 32004, 29871, 921, 32006, 29871, 13],
    );
}

#[test]
fn blanks_bytes_and_unknown_characters_are_sentencepieces() {
    check("<unk>", &[529, 2960, 29958]);
    check(" ", &[259]);
    check("\n\n", &[29871, 13, 13]);
    check("é🙂\u{2028}", &[904, 243, 162, 156, 133, 31353]);
    check("a\u{2581}b", &[263, 289]);
    check("a\0b", &[263, 3, 29890]);
}

#[test]
fn the_known_answers_are_met() {
    let (Some(texts), Some(answers)) = (
        shared::path("tokenizers/llama2/known-answers.inp"),
        shared::path("tokenizers/llama2/known-answers.out"),
    ) else {
        return;
    };
    let texts = fs_err::read_to_string(texts).expect("the known answers can be read");
    let answers = fs_err::read_to_string(answers).expect("the known answers can be read");
    let texts: Vec<&str> = texts.split("\n__ggml_vocab_test__\n").collect();
    let answers: Vec<&str> = answers.lines().collect();
    assert!(answers.len() > 40 && texts.len() >= answers.len());
    for (text, answer) in texts.iter().zip(answers) {
        let ids: Vec<u32> =
            answer.split_whitespace().map(|id| id.parse().expect("an id")).collect();
        check(text, &ids);
    }
}

#[test]
fn a_model_with_a_long_piece_is_encoded_slowly_and_right() {
    let Some(llama) = shared::path("tokenizers/llama2/tokenizer.model") else { return };
    let mut model = fs_err::read(llama).expect("the model can be read");
    for n in [32, 64, 128] {
        // Message by message, protobuf is only joined: a piece (1) of a text (1) and a score (5 in 21).
        let score = (-1e6_f32).to_le_bytes();
        let text = "=".repeat(n);
        let text = [&[0x0a][..], &varint(n), text.as_bytes()].concat();
        let piece = [&text[..], &[0x15], &score].concat();
        model.extend([&[0x0a][..], &varint(piece.len()), &piece].concat());
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tokenizer.model");
    fs_err::write(&file, model).expect("the model can be written");
    let tokenizer = Tokenizer::sentencepiece(&file, &[]).expect("the model is sound");
    assert_eq!(tokenizer.slow_because(), Some("a piece has 128 bytes, more than 127"));
    let mut ids = Vec::new();
    tokenizer.encoder().encode(&format!("a = b {} x", "=".repeat(260)), &mut ids);
    // sentencepiece.SentencePieceProcessor(model_proto=model).encode("a = b " + "=" * 260 + " x")
    assert_eq!(ids, [263, 353, 289, 1275, 32002, 32002, 1360, 921]);
}

/// A number below 2^14 as protobuf writes it.
fn varint(n: usize) -> Vec<u8> {
    let [low, high] = [n & 0x7f, n >> 7].map(|it| u8::try_from(it).expect("seven bits"));
    if high == 0 { vec![low] } else { vec![low | 0x80, high] }
}

#[test]
fn special_tokens_are_numbered_behind_the_pieces() {
    let Some(llama) = tokenizer("llama2", &CHATML) else { return };
    let expected = [
        ("<CLS>", 32000),
        ("<SEP>", 32001),
        ("<EOD>", 32002),
        ("<MASK>", 32003),
        ("<PAD>", 32004),
        ("<s>", 1),
        ("</s>", 2),
        ("<|im_start|>", 32005),
        ("<|im_end|>", 32006),
    ];
    let found: Vec<_> = llama.special_tokens().iter().map(|(it, id)| (it.as_str(), *id)).collect();
    assert_eq!(found, expected);
    assert_eq!((llama.vocab_size(), llama.bos_id(), llama.eos_id()), (32007, Some(1), Some(2)));
    assert_eq!((llama.pad_id(), llama.unk_id()), (None, Some(0)));
    assert_eq!(
        (llama.id_to_piece(32006), llama.id_to_piece(29871)),
        (Some("<|im_end|>"), Some("▁"))
    );

    let Some(code_llama) = tokenizer("codellama", &CHATML) else { return };
    assert_eq!(
        (code_llama.special_id("<|im_end|>"), code_llama.vocab_size()),
        (Some(32022), 32023)
    );
}

#[test]
fn sampled_bytes_wait_for_the_rest_of_their_character() {
    let Some(tokenizer) = tokenizer("llama2", &CHATML) else { return };
    // U+1F642 as bytes, then a lone continuation byte, then the start of a character that never ends.
    let ids = [243, 162, 156, 133, 133, 29874, 32006, 1404, 243];
    let mut decoder = tokenizer.decoder();
    let mut texts: Vec<String> = ids.iter().map(|&id| decoder.push(id)).collect();
    texts.push(decoder.finish());
    assert_eq!(texts, ["", "", "", "🙂", "\u{fffd}", "a", "<|im_end|>", "user", "", "\u{fffd}"]);
    assert_eq!(tokenizer.decode(&ids), texts.concat());
}

#[test]
fn a_tokenizer_json_gives_the_same_ids_for_plain_text() {
    let (Some(json), Some(model)) =
        (shared::path("tokenizers/llama2/tokenizer.json"), tokenizer("llama2", &[]))
    else {
        return;
    };
    let json = Tokenizer::hugging_face(&json, &["<|im_start|>".into()]).expect("a sound tokenizer");
    assert_eq!(json.special_tokens(), [("<|im_start|>".to_owned(), 32000)]);
    assert_eq!(json.vocab_size(), 32001);
    let text = "Hello, wörld 🙂\n\n  def f(x):";
    let (mut ids, mut expected) = (Vec::new(), Vec::new());
    json.encoder().encode(text, &mut ids);
    model.encoder().encode(text, &mut expected);
    assert_eq!(ids, expected);
    assert_eq!(json.decode(&ids), text);
}
