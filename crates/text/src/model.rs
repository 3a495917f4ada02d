//! A SentencePiece `.model` file, read and checked: pieces, scores, and the settings that decide how a text is encoded.
//!
//! What goes in is a protobuf message; what comes out is a BPE model that this crate encodes exactly as SentencePiece
//! does, or an error that names the setting in the way. Accepted: BPE with byte fallback, a normalizer that changes
//! nothing but blanks (each becomes `▁`, and one may be put in front).

use std::collections::HashMap;
use std::path::Path;

use fs_err as fs;
use prost::Message as _;

use crate::error::Error;

/// SentencePiece's visible blank, U+2581.
pub(crate) const BLANK: &str = "▁";

/// What a piece is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum Kind {
    /// Made by merges.
    Normal = 1,
    /// What no piece covers; one per model.
    Unknown = 2,
    /// Never made from text: `<s>`.
    Control = 3,
    /// Taken out of the text before any merge.
    UserDefined = 4,
    /// May stand between merges, but not in the result.
    Unused = 5,
    /// One byte of a character that is no piece: `<0x0A>`.
    Byte = 6,
}

/// A vocabulary entry; its id is its place in [`Model::pieces`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Piece {
    pub(crate) text: String,
    /// Of two possible merges the one into the higher score comes first.
    pub(crate) score: f32,
    pub(crate) kind: Kind,
}

/// A BPE model with byte fallback.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) pieces: Vec<Piece>,
    /// The id of each piece, of whatever kind.
    pub(crate) ids: HashMap<String, u32>,
    /// The ids of `<0x00>` to `<0xFF>`.
    pub(crate) byte_ids: [u32; 256],
    /// Whether a text that is not empty gets a blank in front.
    pub(crate) dummy_prefix: bool,
    pub(crate) unknown: u32,
    pub(crate) pad: Option<u32>,
    pub(crate) bos: Option<u32>,
    pub(crate) eos: Option<u32>,
}

impl Model {
    /// Reads and checks a model file.
    pub(crate) fn read(file: &Path) -> Result<Self, Error> {
        let bytes = fs::read(file)?;
        let not_one = |what: String| Error::NotSentencePiece { file: file.into(), what };
        if bytes.is_empty() {
            return Err(not_one("the file is empty".into()));
        }
        let proto = ModelProto::decode(bytes.as_slice()).map_err(|e| not_one(e.to_string()))?;
        Self::checked(file, &proto)
    }

    fn checked(file: &Path, proto: &ModelProto) -> Result<Self, Error> {
        let trainer = proto.trainer.clone().unwrap_or_default();
        let normalizer = proto.normalizer.clone().unwrap_or_default();
        check_settings(file, &trainer, &normalizer)?;
        let malformed =
            |what: String, expected| Error::Malformed { file: file.into(), what, expected };

        let mut pieces = Vec::with_capacity(proto.pieces.len());
        let mut ids = HashMap::with_capacity(proto.pieces.len());
        for (id, piece) in (0u32..).zip(&proto.pieces) {
            let kind = Kind::try_from(piece.kind()).map_err(|_| {
                malformed(format!("piece {id} has type {}", piece.kind()), "a type from 1 to 6")
            })?;
            let text = piece.text().to_owned();
            let score = piece.score() + 0.0; // -0 becomes 0, so that equal scores compare equal
            if text.is_empty() || score.is_nan() {
                return Err(malformed(
                    format!("piece {id} is `{text}` with score {score}"),
                    "a text and a number",
                ));
            }
            if let Some(first) = ids.insert(text.clone(), id) {
                return Err(malformed(
                    format!("pieces {first} and {id} are both `{text}`"),
                    "distinct pieces",
                ));
            }
            pieces.push(Piece { text, score, kind });
        }

        let mut of_kind =
            (0u32..).zip(&pieces).filter(|(_, it)| it.kind == Kind::Unknown).map(|(id, _)| id);
        let (Some(unknown), None) = (of_kind.next(), of_kind.next()) else {
            return Err(malformed("not one piece of type unknown".into(), "exactly one"));
        };
        let of_kind = |text: &str, kind| {
            ids.get(text).copied().filter(|&id| pieces[id as usize].kind == kind)
        };
        let mut byte_ids = [0; 256];
        for (byte, id) in byte_ids.iter_mut().enumerate() {
            let text = format!("<0x{byte:02X}>");
            *id = of_kind(&text, Kind::Byte).ok_or_else(|| {
                malformed(format!("byte piece `{text}` is missing"), "all 256 byte pieces")
            })?;
        }
        // As in SentencePiece, a model has an end of text if the piece of that name is a control piece.
        let control = |name: &Option<String>, default| {
            of_kind(name.as_deref().unwrap_or(default), Kind::Control)
        };
        let (pad, bos, eos) = (
            control(&trainer.pad_piece, "<pad>"),
            control(&trainer.bos_piece, "<s>"),
            control(&trainer.eos_piece, "</s>"),
        );
        let dummy_prefix = normalizer.add_dummy_prefix();
        Ok(Self { pieces, ids, byte_ids, dummy_prefix, unknown, pad, bos, eos })
    }
}

fn check_settings(
    file: &Path,
    trainer: &TrainerSpec,
    normalizer: &NormalizerSpec,
) -> Result<(), Error> {
    const JSON: &str = "convert the model to a `tokenizer.json` (transformers does) and give that";
    let refuse = |what: String, expected| {
        Err(Error::Unsupported { file: file.into(), what, expected, hint: JSON })
    };
    match trainer.model_type() {
        2 => {}
        1 => return refuse("the model is a unigram model".into(), "BPE"),
        other => return refuse(format!("the model has model_type {other}"), "BPE (2)"),
    }
    if !trainer.byte_fallback() {
        return refuse("the model has no byte fallback".into(), "`byte_fallback: true`");
    }
    if trainer.treat_whitespace_as_suffix() {
        return refuse(
            "blanks stand at the ends of words".into(),
            "`treat_whitespace_as_suffix: false`",
        );
    }
    if !normalizer.precompiled_charsmap().is_empty() {
        return refuse(format!("the normalizer is `{}`", normalizer.name()), "`identity`");
    }
    if normalizer.remove_extra_whitespaces() {
        return refuse("the normalizer removes blanks".into(), "`remove_extra_whitespaces: false`");
    }
    if !normalizer.escape_whitespaces() {
        return refuse("blanks stay blanks".into(), "`escape_whitespaces: true`");
    }
    Ok(())
}

/// The fields that matter of SentencePiece's `sentencepiece_model.proto`, with its numbers and defaults.
#[derive(Clone, PartialEq, prost::Message)]
struct ModelProto {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<PieceProto>,
    #[prost(message, optional, tag = "2")]
    trainer: Option<TrainerSpec>,
    #[prost(message, optional, tag = "3")]
    normalizer: Option<NormalizerSpec>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PieceProto {
    #[prost(string, optional, tag = "1")]
    text: Option<String>,
    #[prost(float, optional, tag = "2")]
    score: Option<f32>,
    #[prost(int32, optional, tag = "3", default = "1")]
    kind: Option<i32>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TrainerSpec {
    #[prost(int32, optional, tag = "3", default = "1")]
    model_type: Option<i32>,
    #[prost(bool, optional, tag = "24", default = "false")]
    treat_whitespace_as_suffix: Option<bool>,
    #[prost(bool, optional, tag = "35", default = "false")]
    byte_fallback: Option<bool>,
    #[prost(string, optional, tag = "46")]
    bos_piece: Option<String>,
    #[prost(string, optional, tag = "47")]
    eos_piece: Option<String>,
    #[prost(string, optional, tag = "48")]
    pad_piece: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct NormalizerSpec {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
    #[prost(bytes = "vec", optional, tag = "2")]
    precompiled_charsmap: Option<Vec<u8>>,
    #[prost(bool, optional, tag = "3", default = "true")]
    add_dummy_prefix: Option<bool>,
    #[prost(bool, optional, tag = "4", default = "true")]
    remove_extra_whitespaces: Option<bool>,
    #[prost(bool, optional, tag = "5", default = "true")]
    escape_whitespaces: Option<bool>,
}

#[cfg(test)]
impl Model {
    /// A model of these pieces with their scores; the unknown piece and the byte pieces come before them.
    pub(crate) fn of(pieces: &[(String, f32)]) -> Self {
        let piece = |text: &str, score, kind: Kind| PieceProto {
            text: Some(text.into()),
            score: Some(score),
            kind: Some(kind as i32),
        };
        let mut proto = ModelProto {
            pieces: vec![piece("<unk>", 0.0, Kind::Unknown)],
            ..ModelProto::default()
        };
        proto
            .pieces
            .extend((0..256).map(|byte| piece(&format!("<0x{byte:02X}>"), 0.0, Kind::Byte)));
        proto.pieces.extend(pieces.iter().map(|(text, score)| piece(text, *score, Kind::Normal)));
        proto.trainer = Some(TrainerSpec {
            model_type: Some(2),
            byte_fallback: Some(true),
            ..TrainerSpec::default()
        });
        proto.normalizer = Some(NormalizerSpec {
            remove_extra_whitespaces: Some(false),
            ..NormalizerSpec::default()
        });
        Self::checked(Path::new("of.model"), &proto).expect("distinct pieces make a sound model")
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    /// The message about a model whose settings were changed.
    fn check(change: impl FnOnce(&mut ModelProto), expected: Expect) {
        let piece = |text: String, kind: Kind| PieceProto {
            text: Some(text),
            score: None,
            kind: Some(kind as i32),
        };
        let mut proto = ModelProto {
            pieces: vec![piece("<unk>".into(), Kind::Unknown)],
            ..ModelProto::default()
        };
        proto.pieces.extend((0..256).map(|byte| piece(format!("<0x{byte:02X}>"), Kind::Byte)));
        proto.trainer = Some(TrainerSpec {
            model_type: Some(2),
            byte_fallback: Some(true),
            ..TrainerSpec::default()
        });
        proto.normalizer = Some(NormalizerSpec {
            remove_extra_whitespaces: Some(false),
            ..NormalizerSpec::default()
        });
        change(&mut proto);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("t.model");
        shards::atomic::write(&file, &proto.encode_to_vec()).unwrap();
        let error = Model::read(&file).unwrap_err().to_string();
        expected.assert_eq(&error.replace(&*file.to_string_lossy(), "t.model"));
    }

    fn normalizer(proto: &mut ModelProto) -> &mut NormalizerSpec {
        proto.normalizer.as_mut().unwrap()
    }

    #[test]
    fn settings_that_cannot_be_encoded_exactly_are_refused() {
        check(
            |it| it.trainer.as_mut().unwrap().model_type = Some(1),
            expect![[r#"
            t.model: the model is a unigram model, expected BPE
            hint: convert the model to a `tokenizer.json` (transformers does) and give that"#]],
        );
        check(
            |it| it.trainer.as_mut().unwrap().byte_fallback = None,
            expect![[r#"
            t.model: the model has no byte fallback, expected `byte_fallback: true`
            hint: convert the model to a `tokenizer.json` (transformers does) and give that"#]],
        );
        check(
            |it| it.trainer.as_mut().unwrap().treat_whitespace_as_suffix = Some(true),
            expect![[r#"
                t.model: blanks stand at the ends of words, expected `treat_whitespace_as_suffix: false`
                hint: convert the model to a `tokenizer.json` (transformers does) and give that"#]],
        );
        check(
            |it| {
                normalizer(it).name = Some("nmt_nfkc".into());
                normalizer(it).precompiled_charsmap = Some(vec![1]);
            },
            expect![[r#"
                t.model: the normalizer is `nmt_nfkc`, expected `identity`
                hint: convert the model to a `tokenizer.json` (transformers does) and give that"#]],
        );
        check(
            |it| normalizer(it).remove_extra_whitespaces = None,
            expect![[r#"
            t.model: the normalizer removes blanks, expected `remove_extra_whitespaces: false`
            hint: convert the model to a `tokenizer.json` (transformers does) and give that"#]],
        );
        check(
            |it| normalizer(it).escape_whitespaces = Some(false),
            expect![[r#"
            t.model: blanks stay blanks, expected `escape_whitespaces: true`
            hint: convert the model to a `tokenizer.json` (transformers does) and give that"#]],
        );
    }

    #[test]
    fn a_model_that_contradicts_itself_is_refused() {
        check(
            |it| drop(it.pieces.pop()),
            expect!["t.model: byte piece `<0xFF>` is missing, expected all 256 byte pieces"],
        );
        check(
            |it| drop(it.pieces.remove(0)),
            expect!["t.model: not one piece of type unknown, expected exactly one"],
        );
        check(
            |it| it.pieces.push(it.pieces[7].clone()),
            expect!["t.model: pieces 7 and 257 are both `<0x06>`, expected distinct pieces"],
        );
        check(
            |it| it.pieces[0].kind = Some(9),
            expect!["t.model: piece 0 has type 9, expected a type from 1 to 6"],
        );
        check(
            |it| it.pieces[0].text = None,
            expect!["t.model: piece 0 is `` with score 0, expected a text and a number"],
        );
    }

    #[test]
    fn what_is_no_model_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("t.model");
        shards::atomic::write(&file, b"version https://git-lfs.github.com/spec/v1\n").unwrap();
        let error = Model::read(&file).unwrap_err().to_string();
        expect![[r#"
            t.model: no whole SentencePiece model (failed to decode Protobuf message: invalid wire type value: 6)
            hint: give the `tokenizer.model` of the base model; if it was fetched with git, is it more than a git-lfs pointer?"#]].assert_eq(&error.replace(&*file.to_string_lossy(), "t.model"));
        shards::atomic::write(&file, b"").unwrap();
        let error = Model::read(&file).unwrap_err().to_string();
        assert!(error.contains("no whole SentencePiece model (the file is empty)"), "{error}");
        assert!(
            Model::read(&folder.path().join("absent.model"))
                .unwrap_err()
                .to_string()
                .contains("absent.model")
        );
    }
}
