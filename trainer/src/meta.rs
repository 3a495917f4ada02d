//! Meta's own files of a Llama -> its shape, and its tensors by Hugging Face's names.
//!
//! A folder as Meta gives it has `params.json` and `consolidated.00.pth`, `consolidated.01.pth`, ...: one file for each
//! part of a model-parallel run. What is multiplied by its outputs' part (`wq`, `wk`, `wv`, `w1`, `w3`, `output`) is cut
//! into rows, what is multiplied by its inputs' (`wo`, `w2`) into columns, and norms are in every file. The embedding is
//! cut into columns up to Llama 2 and CodeLlama, and into rows since Llama 3; its shape says which.
//!
//! Meta's rotation turns neighbours of a head, the numbers `2i` and `2i + 1`; Hugging Face's turns `i` and `i + k/2`. So
//! the rows of `wq` and `wk` change places within each head: `view(h, k/2, 2, d).transpose(1, 2)` in transformers' own
//! conversion. Nothing is read for all this: a tensor is put together of rows where they lie.
//!
//! Legend: `h` heads, `k` head size, `d` hidden size.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use fs_err as fs;
use serde::Deserialize;

use crate::hf_tokenizer;
use crate::llama_config::{LlamaConfig, RopeScaling};
use crate::stored::{Stored, Strip};
use crate::units::{ParamSpec, unit_specs};

const PARAMS: &str = "params.json";
const EMBEDDING: &str = "tok_embeddings.weight";
const OUTPUT: &str = "output.weight";

/// A model as Meta gives it.
#[derive(Debug)]
pub struct Meta {
    /// Its shape.
    pub config: LlamaConfig,
    /// Its tensors, by Hugging Face's names.
    pub stored: Stored,
    /// What `params.json` does not say, and is taken to be as it was in Meta's releases.
    pub remark: String,
}

/// `params.json`. What follows from the tensors' shapes is not needed from here.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    dim: i64,
    n_layers: i64,
    n_heads: i64,
    n_kv_heads: Option<i64>,
    norm_eps: f64,
    rope_theta: Option<f64>,
    #[serde(default)]
    use_scaled_rope: bool,
    #[serde(rename = "vocab_size")]
    _vocab_size: Option<i64>,
    #[serde(rename = "multiple_of")]
    _multiple_of: Option<i64>,
    #[serde(rename = "ffn_dim_multiplier")]
    _ffn_dim_multiplier: Option<f64>,
}

/// How a tensor is cut into parts.
#[derive(Clone, Copy)]
enum Cut {
    Rows,
    /// Rows of heads that RoPE turns.
    RowsOfHeads,
    Columns,
    Nothing,
}

/// Whether a folder is one of Meta's.
pub fn is_meta(folder: &Path) -> bool {
    folder.join(PARAMS).is_file() && folder.join("consolidated.00.pth").is_file()
}

impl Meta {
    /// Opens a folder.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(PARAMS);
        let params: Params = serde_json::from_str(&fs::read_to_string(&path)?)
            .with_context(|| path.display().to_string())?;
        if params.use_scaled_rope {
            bail!(
                "`{}` has `use_scaled_rope`, and does not say by which factor\n\
                 hint: take this model as a Hugging Face folder, whose `config.json` does",
                path.display()
            );
        }
        let files = files(folder)?;
        let parts: Vec<Stored> = files
            .iter()
            .map(|file| Stored::open_files(std::slice::from_ref(file)))
            .collect::<Result<_>>()?;
        let (config, remark) = config(folder, &params, &parts)?;
        let stored = join(&config, &parts).with_context(|| folder.display().to_string())?;
        Ok(Self { config, stored, remark })
    }
}

/// The files with parts, in order.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with("consolidated.") && name.ends_with(".pth") {
            names.insert(name);
        }
    }
    let expected = (0..names.len()).map(|part| format!("consolidated.{part:02}.pth"));
    match expected.zip(&names).find(|(expected, name)| expected != *name) {
        Some((missing, _)) => bail!("`{}` is missing", folder.join(missing).display()),
        None => Ok(names.iter().map(|name| folder.join(name)).collect()),
    }
}

fn config(folder: &Path, params: &Params, parts: &[Stored]) -> Result<(LlamaConfig, String)> {
    let rows = |name: &str| -> Result<i64> {
        let rows = |part: &Stored| Some(*part.shape(name)?.first()?);
        let all: Option<i64> = parts.iter().map(rows).sum();
        all.with_context(|| format!("`{name}` is missing in `{}`", folder.display()))
    };
    let theta = params.rope_theta.unwrap_or(10_000.0);
    // Of Llama 3, of CodeLlama, of Llama 2. Exact: they are written so in `params.json`.
    let (longest, of) = match theta {
        500_000.0 => (8192, "Llama 3"),
        1_000_000.0 => (16_384, "CodeLlama"),
        _ => (4096, "Llama 2"),
    };
    let tied = parts[0].shape(OUTPUT).is_none();
    let vocab_size = match parts[0].shape(EMBEDDING) {
        // Cut into columns: each part has all rows.
        Some(&[rows, width]) if width != params.dim => rows,
        _ => rows(EMBEDDING)?,
    };
    let tokenizer = hf_tokenizer::open_folder(folder).ok();
    let config = LlamaConfig {
        vocab_size,
        hidden_size: params.dim,
        intermediate_size: rows("layers.0.feed_forward.w1.weight")?,
        num_hidden_layers: params.n_layers,
        num_attention_heads: params.n_heads,
        num_key_value_heads: params.n_kv_heads.unwrap_or(params.n_heads),
        head_dim: params.dim / params.n_heads.max(1),
        max_position_embeddings: longest,
        rms_norm_eps: params.norm_eps,
        rope_theta: theta,
        rope_scaling: RopeScaling::Default,
        tie_word_embeddings: tied,
        initializer_range: 0.02,
        bos_token_id: tokenizer.as_ref().and_then(text::Tokenizer::bos_id),
        eos_token_ids: tokenizer.as_ref().and_then(text::Tokenizer::eos_id).into_iter().collect(),
    };
    config.check()?;
    let mut remark = format!(
        "`{PARAMS}` does not say how long texts may be: `max_position_embeddings` is {longest}, as {of} has it"
    );
    if tokenizer.is_none() {
        remark += &format!(
            "\nwarning: `{}` has no SentencePiece `tokenizer.model`, so the tokens that begin and end a text are not known\n\
             hint: copy it there from where Meta's download put it, and convert again",
            folder.display()
        );
    }
    Ok((config, remark))
}

/// Puts every tensor of a model together.
fn join(config: &LlamaConfig, parts: &[Stored]) -> Result<Stored> {
    let mut joined = Stored::default();
    let mut used = BTreeSet::new();
    for spec in unit_specs(config).into_iter().flat_map(|unit| unit.params) {
        let (name, cut) = of_meta(&spec, config, &parts[0])?;
        let strips = strips(&name, cut, config, parts)?;
        joined.compose(&spec.name, spec.shape, &strips)?;
        used.insert(name);
    }
    let names = parts.iter().flat_map(Stored::names);
    // RoPE's frequencies follow from the configuration.
    let mut left = names.filter(|name| !used.contains(*name) && !name.ends_with("rope.freqs"));
    match left.next() {
        Some(name) => bail!("`{name}` is no tensor of a Llama of this shape"),
        None => Ok(joined),
    }
}

/// Meta's name of a parameter, and how it is cut.
fn of_meta(spec: &ParamSpec, config: &LlamaConfig, first: &Stored) -> Result<(String, Cut)> {
    let name = spec.name.strip_suffix(".weight").unwrap_or(&spec.name);
    let (layer, inside) = match name.strip_prefix("model.layers.").and_then(|it| it.split_once('.'))
    {
        Some((layer, inside)) => (format!("layers.{layer}."), inside),
        None => (String::new(), name),
    };
    let (name, cut) = match inside {
        "model.embed_tokens" => {
            let width = first.shape(EMBEDDING).and_then(|shape| shape.get(1)).copied();
            let whole = width == Some(config.hidden_size);
            ("tok_embeddings", if whole { Cut::Rows } else { Cut::Columns })
        }
        "lm_head" => ("output", Cut::Rows),
        "model.norm" => ("norm", Cut::Nothing),
        "self_attn.q_proj" => ("attention.wq", Cut::RowsOfHeads),
        "self_attn.k_proj" => ("attention.wk", Cut::RowsOfHeads),
        "self_attn.v_proj" => ("attention.wv", Cut::Rows),
        "self_attn.o_proj" => ("attention.wo", Cut::Columns),
        "mlp.gate_proj" => ("feed_forward.w1", Cut::Rows),
        "mlp.down_proj" => ("feed_forward.w2", Cut::Columns),
        "mlp.up_proj" => ("feed_forward.w3", Cut::Rows),
        "input_layernorm" => ("attention_norm", Cut::Nothing),
        "post_attention_layernorm" => ("ffn_norm", Cut::Nothing),
        other => bail!("`{other}` has no name in Meta's files"),
    };
    Ok((format!("{layer}{name}.weight"), cut))
}

/// Which rows of which parts make a tensor.
fn strips<'a>(
    name: &'a str,
    cut: Cut,
    config: &LlamaConfig,
    parts: &'a [Stored],
) -> Result<Vec<Strip<'a>>> {
    let mut strips = Vec::new();
    let (mut row, mut column) = (0, 0);
    for part in parts {
        let shape = part.shape(name);
        let shape = shape.with_context(|| format!("`{name}` is missing in one of the parts"))?;
        let rows = shape.first().copied().unwrap_or(0);
        let strip = |first, step, n, offset| Strip { from: part, name, first, step, n, offset };
        match cut {
            Cut::Nothing => return Ok(vec![strip(0, 1, rows, vec![0])]),
            Cut::Rows => strips.push(strip(0, 1, rows, vec![row, 0])),
            Cut::Columns => strips.push(strip(0, 1, rows, vec![0, column])),
            Cut::RowsOfHeads => {
                let (size, half) = (config.head_dim, config.head_dim / 2);
                if rows % size != 0 {
                    bail!("`{name}` has {rows} rows in a part, and a head has {size}");
                }
                for head in 0..rows / size {
                    for turned in 0..2 {
                        let to = row + head * size + turned * half;
                        strips.push(strip(head * size + turned, 2, half, vec![to, 0]));
                    }
                }
            }
        }
        row += rows;
        column += shape.get(1).copied().unwrap_or(0);
    }
    Ok(strips)
}
