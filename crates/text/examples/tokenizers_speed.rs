//! Times how the `tokenizers` library encodes documents, JSON strings one a line.
//!
//! `cargo run --release -p text --example tokenizers_speed -- tokenizer.json DOCUMENTS`; called by
//! `scripts/encode/bench.py`.

use std::io::{self, Write};
use std::time::Instant;

use anyhow::{anyhow, bail};
use tokenizers::Tokenizer;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [tokenizer, documents] = arguments.as_slice() else {
        bail!("expected `tokenizers_speed TOKENIZER_JSON DOCUMENTS`")
    };
    let tokenizer = Tokenizer::from_file(tokenizer).map_err(|e| anyhow!(e))?;
    let documents = fs_err::read_to_string(documents)?;
    let documents: Vec<String> =
        documents.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let start = Instant::now();
    let mut n_ids = 0;
    for document in &documents {
        // The fast way: no offsets, no special tokens around the text.
        let encoding = tokenizer.encode_fast(document.as_str(), false).map_err(|e| anyhow!(e))?;
        n_ids += encoding.get_ids().len();
    }
    let seconds = start.elapsed().as_secs_f64();
    writeln!(io::stdout(), "{}", serde_json::json!({ "seconds": seconds, "ids": n_ids }))?;
    Ok(())
}
