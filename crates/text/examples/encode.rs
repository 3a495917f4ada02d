//! Encodes JSON strings, one a line on standard input, into JSON lists of ids on standard output.
//!
//! `cargo run --release -p text --example encode -- tokenizer.model '<|im_start|>' '<|im_end|>' < texts > ids`

use std::io::{self, BufRead, Write};
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
    let mut output = io::stdout().lock();
    let mut ids = Vec::new();
    for (line, text) in io::stdin().lock().lines().enumerate() {
        let text: String = serde_json::from_str(&text?)
            .with_context(|| format!("line {}: not a JSON string", line + 1))?;
        ids.clear();
        encoder.encode(&text, &mut ids);
        serde_json::to_writer(&mut output, &ids)?;
        output.write_all(b"\n")?;
    }
    output.flush()?;
    Ok(())
}
