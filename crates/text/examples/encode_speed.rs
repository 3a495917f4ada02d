//! Times the encoding of documents, JSON strings one a line, and prints the digest of their ids.
//!
//! `cargo run --release -p text --example encode_speed -- tokenizer.model DOCUMENTS [EXTRA_TOKEN]...`; called by
//! `scripts/encode/bench.py`, which compares speed and digest with SentencePiece's.

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;
use sha2::{Digest, Sha256};
use text::{Encoder, Tokenizer};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, documents, extra @ ..] = arguments.as_slice() else {
        bail!("expected `encode_speed MODEL DOCUMENTS [EXTRA_TOKEN]...`")
    };
    let documents = fs_err::read_to_string(documents)?;
    let documents: Vec<String> =
        documents.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let start = Instant::now();
    let tokenizer = Tokenizer::sentencepiece(Path::new(model), extra)?;
    let load = start.elapsed();
    let start = Instant::now();
    let mut encoder = tokenizer.encoder();
    let prepare = start.elapsed();
    let mut digest = Sha256::new();
    let cold = encode_all(&mut encoder, &documents, |ids| {
        ids.iter().chain([&u32::MAX]).for_each(|id| digest.update(id.to_le_bytes()));
    });
    let warm = encode_all(&mut encoder, &documents, |_| {});
    let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let seconds = |it: Duration| it.as_secs_f64();
    // The most memory that the process took, documents and all; Linux only.
    let status = fs_err::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB"));
    let peak: Option<u64> = peak.and_then(|peak| peak.trim().parse().ok());
    let report = serde_json::json!({
        "load_seconds": seconds(load), "encoder_seconds": seconds(prepare),
        "cold_seconds": seconds(cold), "warm_seconds": seconds(warm), "sha256": digest,
        "peak_kib": peak,
    });
    writeln!(io::stdout(), "{report}")?;
    Ok(())
}

/// The time that encoding takes, without what is done with each document's ids.
fn encode_all(
    encoder: &mut Encoder<'_>,
    documents: &[String],
    mut each: impl FnMut(&[u32]),
) -> Duration {
    let mut total = Duration::ZERO;
    let mut ids = Vec::new();
    for document in documents {
        ids.clear();
        let start = Instant::now();
        encoder.encode(document, &mut ids);
        total += start.elapsed();
        each(&ids);
    }
    total
}
