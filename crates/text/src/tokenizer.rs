//! The tokenizer: text in, ids out, and back.
//!
//! # Vocabulary
//! Of a SentencePiece model: its pieces keep their ids; then `<CLS>`, `<SEP>`, `<EOD>`, `<MASK>`, the padding, begin and
//! end pieces (`<PAD>`, `<BOS>`, `<EOS>` where the model has none) and the extra tokens are registered, in this order. A string
//! that is in the vocabulary keeps its id, another gets the next. All of them are special. This is the reference's
//! (Open-Assistant's pretokenizer) numbering: Llama-2 with `<|im_start|>,<|im_end|>` has 32,007 ids.
//!
//! # Encoding
//! A text is cut at its special strings (`special`); each stretch between is encoded on its own, with its own
//! blank in front. Nothing is put around it: no `<s>`, no `</s>`.

use std::ops::Range;
use std::path::{Path, PathBuf};

use shards::Role;

use crate::decode::SentencePieceDecoder;
use crate::ends::{RoleReader, ends};
use crate::error::Error;
use crate::hugging_face::{HuggingFace, HuggingFaceDecoder, Rule};
use crate::model::{Kind, Model};
use crate::part_encoder::{PartEncoder, Parts};
use crate::queue::QueueEncoder;
use crate::special::{Piece, SpecialTokens};
use crate::template::Rendered;
use crate::tokenizer_json::tokenizer_json;

/// A vocabulary and its rules. It does not change; encoders and decoders borrow it.
#[derive(Debug)]
pub struct Tokenizer {
    file: PathBuf,
    engine: Engine,
    special: SpecialTokens,
    vocab_size: u32,
}

#[derive(Debug)]
enum Engine {
    SentencePiece(Box<SentencePiece>),
    HuggingFace(Box<HuggingFace>),
}

/// A model, and what the fast path knows of it, or why it must not be taken.
#[derive(Debug)]
struct SentencePiece {
    model: Model,
    parts: Result<Parts, String>,
}

impl Tokenizer {
    /// A SentencePiece BPE model with byte fallback (Llama's `tokenizer.model`), and extra special tokens.
    pub fn sentencepiece(model_file: &Path, extra: &[String]) -> Result<Self, Error> {
        check_extra(extra)?;
        let model = Model::read(model_file)?;
        let mut vocab_size =
            u32::try_from(model.pieces.len()).expect("the model numbered its pieces with 32 bits");
        let piece = |id: Option<u32>, absent: &str| {
            id.map_or(absent.to_owned(), |id| model.pieces[id as usize].text.clone())
        };
        let tokens = ["<CLS>", "<SEP>", "<EOD>", "<MASK>"].into_iter().map(String::from);
        let tokens = tokens.chain([
            piece(model.pad, "<PAD>"),
            piece(model.bos, "<BOS>"),
            piece(model.eos, "<EOS>"),
        ]);
        let mut special: Vec<(String, u32)> = Vec::new();
        for token in tokens.chain(extra.iter().cloned()) {
            let known = model.ids.get(&token).copied();
            let known =
                known.or_else(|| special.iter().find(|(it, _)| *it == token).map(|&(_, id)| id));
            let id = known.unwrap_or(vocab_size);
            vocab_size = vocab_size.max(id + 1);
            special.push((token, id));
        }
        let special = SpecialTokens::new(special);
        Ok(Self {
            file: model_file.into(),
            engine: Engine::SentencePiece(Box::new(SentencePiece {
                parts: Parts::from_model(&model),
                model,
            })),
            special,
            vocab_size,
        })
    }

    /// A `tokenizer.json`, and extra special tokens, by the rule of the reference's `FalconTokenizer`; see `hugging_face`.
    pub fn hugging_face(tokenizer_json: &Path, extra: &[String]) -> Result<Self, Error> {
        Self::of_json(tokenizer_json, extra, Rule::Falcon)
    }

    /// A `tokenizer.json`, and extra special tokens, as transformers uses it; see `hugging_face`.
    pub fn tokenizer_json(tokenizer_json: &Path, extra: &[String]) -> Result<Self, Error> {
        Self::of_json(tokenizer_json, extra, Rule::Own)
    }

    fn of_json(tokenizer_json: &Path, extra: &[String], rule: Rule) -> Result<Self, Error> {
        check_extra(extra)?;
        let engine = HuggingFace::read(tokenizer_json, extra, rule)?;
        let vocab_size = u32::try_from(engine.tokens.len()).expect("ids are 32 bits wide");
        let special = SpecialTokens::new(engine.special.iter().cloned());
        Ok(Self {
            file: tokenizer_json.into(),
            engine: Engine::HuggingFace(Box::new(engine)),
            special,
            vocab_size,
        })
    }

    /// The file that the vocabulary came from.
    pub fn model_file(&self) -> &Path {
        &self.file
    }

    /// Ids are below this number.
    pub fn vocab_size(&self) -> u32 {
        self.vocab_size
    }

    /// The special tokens and their ids, in the order of registration.
    pub fn special_tokens(&self) -> &[(String, u32)] {
        self.special.tokens()
    }

    /// The id of a special token.
    pub fn special_id(&self, token: &str) -> Option<u32> {
        self.special.id(token)
    }

    /// The special strings in a text, by their places in [`Tokenizer::special_tokens`].
    pub fn special_strings(&self, text: &str) -> impl Iterator<Item = usize> {
        self.special.find(text)
    }

    /// Why [`Encoder::encode_around`] cannot be used; `None` if it can.
    pub fn cannot_encode_around(&self) -> Option<String> {
        let engine = match &self.engine {
            Engine::SentencePiece(engine) => engine,
            Engine::HuggingFace(_) => {
                let library = "a `tokenizer.json` is encoded by the `tokenizers` library";
                return Some(format!("{library}, which takes special tokens out of every text"));
            }
        };
        // Merging makes ordinary pieces only.
        let is_ordinary = |id: u32| {
            let piece = engine.model.pieces.get(id as usize);
            piece.is_some_and(|it| !matches!(it.kind, Kind::Control | Kind::Unknown))
        };
        let (token, id) = self.special.tokens().iter().find(|(_, id)| is_ordinary(*id))?;
        Some(format!("`{token}` is an ordinary piece of the model (id {id}) as well"))
    }

    /// The string of an id, special tokens included; `▁` stands for a blank.
    pub fn id_to_piece(&self, id: u32) -> Option<&str> {
        let piece = match &self.engine {
            Engine::SentencePiece(engine) => {
                engine.model.pieces.get(id as usize).map(|piece| piece.text.as_str())
            }
            Engine::HuggingFace(engine) => engine.tokens.get(id as usize).map(String::as_str),
        };
        piece.or_else(|| self.special.token(id))
    }

    /// The content of a `tokenizer.json` that encodes as this tokenizer does.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.engine {
            Engine::SentencePiece(engine) => tokenizer_json(&engine.model, self.special.tokens()),
            Engine::HuggingFace(engine) => engine.to_json(),
        }
    }

    /// The model's own begin-of-text id.
    pub fn bos_id(&self) -> Option<u32> {
        match &self.engine {
            Engine::SentencePiece(engine) => engine.model.bos,
            Engine::HuggingFace(engine) => engine.bos,
        }
    }

    /// The model's own end-of-text id.
    pub fn eos_id(&self) -> Option<u32> {
        match &self.engine {
            Engine::SentencePiece(engine) => engine.model.eos,
            Engine::HuggingFace(engine) => engine.eos,
        }
    }

    /// The model's own padding id; `<PAD>` where the model has none is [`Tokenizer::special_id`]'s.
    pub fn pad_id(&self) -> Option<u32> {
        match &self.engine {
            Engine::SentencePiece(engine) => engine.model.pad,
            Engine::HuggingFace(engine) => engine.pad,
        }
    }

    /// The id of the unknown piece, which encoding with byte fallback never makes.
    pub fn unk_id(&self) -> Option<u32> {
        match &self.engine {
            Engine::SentencePiece(engine) => Some(engine.model.unknown),
            Engine::HuggingFace(engine) => engine.unknown,
        }
    }

    /// Why texts are encoded whole, at a tenth of the speed, instead of part by part; `None` for the fast path.
    pub fn slow_because(&self) -> Option<&str> {
        match &self.engine {
            Engine::SentencePiece(engine) => engine.parts.as_ref().err().map(String::as_str),
            Engine::HuggingFace(_) => {
                Some("a `tokenizer.json` is encoded by the `tokenizers` library")
            }
        }
    }

    /// An encoder: one per thread, since it owns caches.
    pub fn encoder(&self) -> Encoder<'_> {
        let segments = match &self.engine {
            Engine::SentencePiece(engine) => match &engine.parts {
                Ok(parts) => SegmentEncoder::Parts(
                    &engine.model,
                    Box::new(PartEncoder::new(&engine.model, parts)),
                ),
                Err(_) => SegmentEncoder::Queue(&engine.model, QueueEncoder::new(&engine.model)),
            },
            Engine::HuggingFace(engine) => SegmentEncoder::HuggingFace(engine),
        };
        Encoder { special: &self.special, segments }
    }

    /// The text of ids; see `decode` for what holds.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut decoder = self.decoder();
        let text: String = ids.iter().map(|&id| decoder.push(id)).collect();
        text + &decoder.finish()
    }

    /// A decoder for ids that arrive one by one.
    pub fn decoder(&self) -> Decoder<'_> {
        match &self.engine {
            Engine::SentencePiece(engine) => Decoder(Decoding::SentencePiece(
                SentencePieceDecoder::new(&engine.model, &self.special),
            )),
            Engine::HuggingFace(engine) => {
                Decoder(Decoding::HuggingFace(Box::new(HuggingFaceDecoder::new(engine))))
            }
        }
    }
}

/// Encodes text after text.
#[derive(Debug)]
pub struct Encoder<'t> {
    special: &'t SpecialTokens,
    segments: SegmentEncoder<'t>,
}

/// What encodes a text without special strings.
#[derive(Debug)]
enum SegmentEncoder<'t> {
    Parts(&'t Model, Box<PartEncoder<'t>>),
    Queue(&'t Model, QueueEncoder<'t>),
    HuggingFace(&'t HuggingFace),
}

impl Encoder<'_> {
    /// Appends the ids of a text.
    pub fn encode(&mut self, text: &str, ids: &mut Vec<u32>) {
        if let SegmentEncoder::HuggingFace(engine) = &self.segments
            && engine.rule == Rule::Own
        {
            return engine.encode(text, ids);
        }
        self.encode_stretches(text, 0..0, ids);
    }

    /// Appends the ids of a text in which nothing that reaches into these bytes is special: what stands there, and next to
    /// it as far as the nearest special strings, has the ids that SentencePiece gives to it.
    ///
    /// # Panics
    ///
    /// If [`Tokenizer::cannot_encode_around`] says why, for a `tokenizer.json`.
    pub fn encode_around(&mut self, text: &str, plain: Range<usize>, ids: &mut Vec<u32>) {
        let is_library = matches!(self.segments, SegmentEncoder::HuggingFace(_));
        assert!(!is_library, "the `tokenizers` library cannot do this");
        self.encode_stretches(text, plain, ids);
    }

    fn encode_stretches(&mut self, text: &str, plain: Range<usize>, ids: &mut Vec<u32>) {
        self.special.split_around(text, plain, |piece| match piece {
            Piece::Special(id) => ids.push(id),
            Piece::Text(text) => match &mut self.segments {
                SegmentEncoder::Parts(_, encoder) => encoder.encode(text, ids),
                SegmentEncoder::Queue(_, encoder) => encoder.encode(text, ids),
                SegmentEncoder::HuggingFace(engine) => engine.encode(text, ids),
            },
        });
    }

    /// Appends the ids of a text, and whose each of them is.
    ///
    /// The ids are those of the text as a whole; see `ends` for an id that stands in two spans.
    pub fn encode_rendered(
        &mut self,
        rendered: &Rendered,
        ids: &mut Vec<u32>,
        roles: &mut Vec<Role>,
    ) {
        let mut role = RoleReader::new(&rendered.spans);
        if let SegmentEncoder::HuggingFace(engine) = &self.segments {
            for (id, start, end) in engine.encode_with_offsets(&rendered.text) {
                ids.push(id);
                roles.push(role.role_to(start, end));
            }
            return;
        }
        let mut place = 0;
        self.special.split(&rendered.text, |piece| match piece {
            Piece::Special(id) => {
                let length = self.special.token(id).map_or(0, str::len);
                ids.push(id);
                roles.push(role.role_to(place, place + length));
                place += length;
            }
            Piece::Text(text) => {
                let n_before = ids.len();
                let model = match &mut self.segments {
                    SegmentEncoder::Parts(model, encoder) => {
                        encoder.encode(text, ids);
                        *model
                    }
                    SegmentEncoder::Queue(model, encoder) => {
                        encoder.encode(text, ids);
                        *model
                    }
                    SegmentEncoder::HuggingFace(_) => unreachable!("it was encoded above"),
                };
                let mut start = place;
                for end in ends(model, text, &ids[n_before..]) {
                    roles.push(role.role_to(start, place + end));
                    start = place + end;
                }
                place += text.len();
            }
        });
    }
}

/// Decodes ids one by one, as they are sampled.
#[derive(Debug)]
pub struct Decoder<'t>(Decoding<'t>);

#[derive(Debug)]
enum Decoding<'t> {
    SentencePiece(SentencePieceDecoder<'t>),
    HuggingFace(Box<HuggingFaceDecoder<'t>>),
}

impl Decoder<'_> {
    /// The text that became final with this id; empty while a character is incomplete.
    pub fn push(&mut self, id: u32) -> String {
        match &mut self.0 {
            Decoding::SentencePiece(decoder) => decoder.push(id),
            Decoding::HuggingFace(decoder) => decoder.push(id),
        }
    }

    /// What is left when no more ids come: an incomplete character, as U+FFFD.
    pub fn finish(mut self) -> String {
        match &mut self.0 {
            Decoding::SentencePiece(decoder) => decoder.finish(),
            Decoding::HuggingFace(decoder) => decoder.finish(),
        }
    }
}

/// The reference would search for an empty token forever.
fn check_extra(extra: &[String]) -> Result<(), Error> {
    match extra.iter().position(String::is_empty) {
        Some(index) => Err(Error::EmptySpecialToken { index }),
        None => Ok(()),
    }
}
