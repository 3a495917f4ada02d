//! A tokenizer's file and the special tokens that shards or a model name -> the tokenizer that made them.

use std::path::Path;

use crate::error::Error;
use crate::tokenizer::Tokenizer;

impl Tokenizer {
    /// Opens a file of either kind, `*.json` or a SentencePiece model, with extra special tokens.
    pub fn open(file: &Path, extra: &[String]) -> Result<Self, Error> {
        let is_json = file.extension().is_some_and(|extension| extension == "json");
        if is_json { Self::hugging_face(file, extra) } else { Self::sentencepiece(file, extra) }
    }

    /// Opens a file so that exactly these special tokens have exactly these ids, or says which one has not.
    pub fn reopen(file: &Path, special: &[(String, u32)]) -> Result<Self, Error> {
        // What the tokenizer registers by itself comes first; the others were asked for by the datamix.
        let own = Self::open(file, &[])?;
        let extra: Vec<String> = special
            .iter()
            .filter(|(token, _)| own.special_id(token).is_none())
            .map(|(token, _)| token.clone())
            .collect();
        let tokenizer = Self::open(file, &extra)?;
        for (token, id) in special {
            let found = tokenizer.special_id(token);
            if found != Some(*id) {
                let (file, token) = (file.into(), token.clone());
                return Err(Error::OtherId { file, token, found, expected: *id });
            }
        }
        Ok(tokenizer)
    }
}
