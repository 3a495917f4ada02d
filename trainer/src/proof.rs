//! An exported folder and the trained model -> that they are the same, or what differs.
//!
//! The folder is opened by another path than the one that wrote it: its files by the `safetensors` library alone, and
//! what a number becomes in bfloat16 is computed by the `half` library. Then the folder is opened as any base model is,
//! `config.json` and all, and answers fixed prompts: its logits must be those of the trained model.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use fs_err as fs;
use memmap2::Mmap;
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde::Serialize;
use shards::hash::{HashingWriter, sha256};
use tch::{Kind, Tensor};
use text::Tokenizer;

use crate::llama_config::LlamaConfig;
use crate::stored::Stored;
use crate::streamed;
use crate::weights::{self, Source};

/// What was compared, and came out the same.
#[derive(Debug, Serialize)]
pub struct Proof {
    /// SHA-256 of each tensor's bytes, equal in the trained model and in the files.
    pub tensors: Vec<TensorHash>,
    /// How the logits compare.
    pub logits: Logits,
}

/// A tensor that is the trained one.
#[derive(Debug, Serialize)]
pub struct TensorHash {
    name: String,
    shape: Vec<i64>,
    sha256: String,
}

/// The logits of fixed prompts, of the trained model and of the folder.
#[derive(Debug, Serialize)]
pub struct Logits {
    /// The prompts' token ids.
    prompts: Vec<Vec<i64>>,
    /// The largest difference between the folder and the trained model rounded to the folder's kind of number. Above
    /// [`TOLERANCE`] the export has failed.
    largest_difference: f64,
    /// The largest difference to the trained model as it is, in `f32`: what the rounding costs.
    largest_difference_to_f32: f64,
    /// At how many of the prompts' tokens both predict the same next one.
    same_prediction: String,
}

/// The same numbers in the same order give the same logits; a trimmed vocabulary makes the head's product another
/// shape, and then `f32` sums of some thousand products may differ in the last bits, relative to the largest logit.
pub const TOLERANCE: f64 = 1e-4;

/// Compares `folder` with what was trained: the tensors that should be in it, in `f32`.
pub fn prove(
    folder: &Path,
    trained: &[Source<'_>],
    config: &LlamaConfig,
    kind: Kind,
    tokenizer: Option<&Tokenizer>,
) -> Result<Proof> {
    let tensors = compare_tensors(folder, trained, kind)?;
    if let Some(tokenizer) = tokenizer {
        compare_tokenizers(folder, config, tokenizer)?;
    }
    let logits = compare_logits(folder, trained, config, kind, tokenizer)?;
    Ok(Proof { tensors, logits })
}

fn compare_tensors(folder: &Path, trained: &[Source<'_>], kind: Kind) -> Result<Vec<TensorHash>> {
    let maps = map_files(folder)?;
    let files: Vec<SafeTensors<'_>> =
        maps.iter().map(|map| SafeTensors::deserialize(map)).collect::<Result<_, _>>()?;
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for (i, file) in files.iter().enumerate() {
        found.extend(file.names().into_iter().map(|name| (name.to_string(), i)));
    }
    let (in_files, expected) = (files.iter().map(SafeTensors::len).sum::<usize>(), trained.len());
    if in_files != expected || found.len() != expected {
        bail!("the folder has {in_files} tensors, expected {expected}");
    }
    let dtype = if kind == Kind::BFloat16 { Dtype::BF16 } else { Dtype::F32 };
    let mut hashes = Vec::with_capacity(trained.len());
    for source in trained {
        cli::interrupt::check()?;
        let name = &source.name;
        let file = *found.get(name).with_context(|| format!("`{name}` is not in the folder"))?;
        let tensor = files[file].tensor(name)?;
        let shape: Vec<i64> =
            tensor.shape().iter().map(|&size| i64::try_from(size)).collect::<Result<_, _>>()?;
        if tensor.dtype() != dtype || shape != source.shape {
            bail!(
                "`{name}` is {:?} {shape:?} in the folder, expected {dtype:?} {:?}",
                tensor.dtype(),
                source.shape
            );
        }
        let hash = sha256(tensor.data());
        if hash != expected_hash(source, kind)? {
            bail!("`{name}` was read back otherwise than it was trained");
        }
        hashes.push(TensorHash { name: name.clone(), shape, sha256: hash });
    }
    Ok(hashes)
}

/// The files that the folder's own index names, or its only one.
fn map_files(folder: &Path) -> Result<Vec<Mmap>> {
    let index = folder.join(crate::stored::INDEX);
    let mut names = vec![crate::stored::SINGLE.to_string()];
    if index.exists() {
        let index: serde_json::Value = serde_json::from_str(&fs::read_to_string(&index)?)?;
        let map = index["weight_map"].as_object().context("an index without `weight_map`")?;
        names = map.values().filter_map(|name| name.as_str().map(String::from)).collect();
        names.sort();
        names.dedup();
    }
    let map = |name: String| -> Result<Mmap> {
        let file = fs::File::open(folder.join(name))?;
        #[expect(unsafe_code, reason = "mapping a file is unsafe in Rust's terms")]
        // SAFETY: the mapping is only read, and nobody else knows the folder yet.
        Ok(unsafe { Mmap::map(file.file()) }?)
    };
    names.into_iter().map(map).collect()
}

/// The hash of the trained numbers in the folder's kind, rounded by another library than the one that wrote them.
fn expected_hash(source: &Source<'_>, kind: Kind) -> Result<String> {
    let mut hash = HashingWriter::new(std::io::sink());
    for rows in weights::row_ranges(&source.shape) {
        let numbers: Vec<f32> = source.rows(rows)?.to_kind(Kind::Float).view(-1).try_into()?;
        let bytes: Vec<u8> = if kind == Kind::BFloat16 {
            numbers.iter().flat_map(|&it| half::bf16::from_f32(it).to_le_bytes()).collect()
        } else {
            numbers.iter().flat_map(|it| it.to_le_bytes()).collect()
        };
        hash.write_all(&bytes)?;
    }
    Ok(hash.finish("").1.sha256)
}

/// Every tokenizer file in the folder gives the ids that were trained.
fn compare_tokenizers(folder: &Path, config: &LlamaConfig, trained: &Tokenizer) -> Result<()> {
    let special = trained.special_tokens();
    for name in ["tokenizer.model", "tokenizer.json"] {
        let file = folder.join(name);
        if !file.exists() {
            continue;
        }
        let extra: Vec<String> = special.iter().map(|(token, _)| token.clone()).collect();
        let read = Tokenizer::open(&file, &extra)?;
        for (token, id) in special {
            let found = read.special_id(token);
            if found != Some(*id) {
                bail!("`{name}` gives `{token}` the id {found:?}, and it was trained with {id}");
            }
        }
        if prompts(config, Some(&read)) != prompts(config, Some(trained)) {
            bail!("`{name}` gives other ids than those that were trained");
        }
    }
    Ok(())
}

fn compare_logits(
    folder: &Path,
    trained: &[Source<'_>],
    config: &LlamaConfig,
    kind: Kind,
    tokenizer: Option<&Tokenizer>,
) -> Result<Logits> {
    let prompts = prompts(config, tokenizer);
    let by_name: BTreeMap<&str, &Source<'_>> =
        trained.iter().map(|source| (source.name.as_str(), source)).collect();
    let source = |name: &str| {
        by_name.get(name).copied().with_context(|| format!("`{name}` was not trained"))
    };
    let exact = streamed::logits(config, &prompts, |name, rows| source(name)?.rows(rows))?;
    let rounded = if kind == Kind::Float {
        exact.iter().map(Tensor::shallow_clone).collect()
    } else {
        streamed::logits(config, &prompts, |name, rows| {
            Ok(source(name)?.rows(rows)?.to_kind(kind))
        })?
    };

    let stored = Stored::open_folder(folder)?;
    let read = LlamaConfig::read(folder)?;
    let found = streamed::logits(&read, &prompts, |name, rows| stored.rows(name, rows))?;

    let largest = |a: &[Tensor], b: &[Tensor]| {
        let differences = a.iter().zip(b).map(|(a, b)| {
            let scale = b.abs().max().double_value(&[]).max(1.0);
            (a - b).abs().max().double_value(&[]) / scale
        });
        differences.fold(0.0, f64::max)
    };
    let largest_difference = largest(&found, &rounded);
    if largest_difference > TOLERANCE || largest_difference.is_nan() {
        bail!(
            "the folder answers otherwise than the trained model: its logits differ by {largest_difference:.2e}, \
             and at most {TOLERANCE:.0e} is rounding"
        );
    }
    let (mut same, mut all) = (0, 0);
    for (found, exact) in found.iter().zip(&exact) {
        same +=
            found.argmax(-1, false).eq_tensor(&exact.argmax(-1, false)).sum(None).int64_value(&[]);
        all += found.size()[0];
    }
    Ok(Logits {
        largest_difference,
        largest_difference_to_f32: largest(&found, &exact),
        same_prediction: format!("{same} of {all}"),
        prompts,
    })
}

/// Prompts for any model: with a tokenizer they are conversations, else ids all over the vocabulary.
fn prompts(config: &LlamaConfig, tokenizer: Option<&Tokenizer>) -> Vec<Vec<i64>> {
    const LONGEST: usize = 48;
    let texts = [
        "<|im_start|>user\nWrite a function that adds two numbers.<|im_end|>\n<|im_start|>assistant\n",
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nWas ist die Hauptstadt von Peru? 秘鲁",
        "def add(a, b):\n    return a + b\n\n\nprint(add(1, 2))  # 3",
    ];
    let most = usize::try_from(config.max_position_embeddings).unwrap_or(LONGEST).min(LONGEST);
    match tokenizer {
        Some(tokenizer) => {
            let prompt = |text: &&str| {
                let mut ids = Vec::new();
                tokenizer.encoder().encode(text, &mut ids);
                ids.into_iter().map(i64::from).take(most).collect()
            };
            texts.iter().map(prompt).collect()
        }
        None => {
            let ids = (0..16).map(|i| (i * 7919 + 1) % config.vocab_size).take(most);
            vec![ids.collect()]
        }
    }
}
