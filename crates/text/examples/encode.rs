//! Encodes texts, a JSON list on standard input, into ids on standard output: 32 bits each, little-endian, 2^32 - 1 after
//! each text.
//!
//! `cargo run --release -p text --example encode -- tokenizer.model '<|im_start|>' '<|im_end|>' < texts > ids`; called
//! by `scripts/encode/fuzz.py`.

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, bail};
use text::Tokenizer;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, extra @ ..] = arguments.as_slice() else {
        bail!("expected `encode MODEL [EXTRA_TOKEN]...`")
    };
    let tokenizer = Tokenizer::sentencepiece(Path::new(model), extra)?;
    let mut encoder = tokenizer.encoder();
    let input = io::read_to_string(io::stdin())?;
    let texts: Vec<String> = serde_json::from_str(&input).context("not a JSON list of strings")?;
    let mut ids = Vec::new();
    for text in &texts {
        encoder.encode(text, &mut ids);
        ids.push(u32::MAX);
    }
    let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    io::stdout().lock().write_all(&bytes)?;
    Ok(())
}
