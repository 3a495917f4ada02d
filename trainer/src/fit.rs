//! A configuration, a base model and shards -> whether they fit together, before anything large is loaded.

use std::path::Path;

use anyhow::Result;
use cli::{BadInput, bail_input};
use shards::hash::FileHash;
use shards::manifest::Manifest;
use tch::Device;

use crate::config::{Config, ParallelConfig};
use crate::llama_config::LlamaConfig;
use crate::origin;
use crate::ranks::Ranks;
use crate::rows;

/// What the configuration names must be there.
pub(crate) fn check_paths(config: &Config) -> Result<()> {
    let base = &config.model.base;
    if !base.is_dir() {
        bail_input!(
            "`model.base` is `{}`, but there is no such folder\n\
             hint: paths in a configuration are relative to the folder in which the program is started",
            base.display()
        );
    }
    rows::check_prefix("data.train", &config.data.train)?;
    config.data.validation.iter().try_for_each(|it| rows::check_prefix("data.validation", it))
}

/// The model must have a position for every place of a row.
pub(crate) fn check_length(config: &Config, base: &LlamaConfig) -> Result<()> {
    let (length, most) = (config.batch.sequence_length, base.max_position_embeddings);
    if i64::try_from(length).is_ok_and(|length| length <= most) {
        return Ok(());
    }
    bail_input!(
        "`batch.sequence_length` is {length}, but `{}` has {most} positions (`max_position_embeddings`)\n\
         hint: set `batch.sequence_length` to {most} or less",
        config.model.base.display(),
    );
}

/// Adapters beside a tied matrix: peft trains embedding and head apart once either of them is trained.
pub(crate) fn check_tied(config: &Config, base: &LlamaConfig, n_stored: i64) -> Result<()> {
    let Some(lora) = &config.lora else { return Ok(()) };
    let trained = !lora.modules_to_save.is_empty() || base.vocab_size > n_stored;
    if !base.tie_word_embeddings || !trained {
        return Ok(());
    }
    bail_input!(
        "embedding and head of `{}` are one matrix (`tie_word_embeddings`), and with `lora` they can only be trained as two\n\
         hint: `trainer convert --untie` makes a base with a head of its own",
        config.model.base.display()
    )
}

/// Rows that did not exist are learned from nothing: adapters cannot do that.
pub(crate) fn check_new_rows(config: &Config, n_stored: i64, n_rows: i64) -> Result<()> {
    let Some(lora) = &config.lora else { return Ok(()) };
    if n_rows == n_stored || (lora.saves("embed_tokens") && lora.saves("lm_head")) {
        return Ok(());
    }
    bail_input!(
        "`model.new_rows` adds {} rows to the {n_stored} of embedding and head, and with `lora` both stay as they are\n\
         hint: train them too, with `lora.modules_to_save: [embed_tokens, lm_head]`",
        n_rows - n_stored
    )
}

/// Ranks that share matrices have equal parts of them.
pub(crate) fn check_tensor(config: &Config, base: &LlamaConfig) -> Result<()> {
    let tensor = config.parallel.tensor;
    let shared = [
        ("attention heads", "num_attention_heads", base.num_attention_heads, ""),
        ("heads of keys and values", "num_key_value_heads", base.num_key_value_heads, ""),
        ("numbers inside the MLP", "intermediate_size", base.intermediate_size, ""),
        (
            "rows of vocabulary",
            "vocab_size",
            base.vocab_size,
            ", or let `model.new_rows` fill the vocabulary up to a multiple",
        ),
    ];
    for (what, key, found, more) in shared {
        if i64::try_from(tensor).is_ok_and(|tensor| found % tensor == 0) {
            continue;
        }
        bail_input!(
            "`parallel.tensor` is {tensor}, but `{}` has {found} {what} (`{key}`), which so many ranks cannot share equally\n\
             hint: set `parallel.tensor` to a divisor of {found}{more}",
            config.model.base.display()
        );
    }
    Ok(())
}

/// Every stage of a pipeline has a block.
pub(crate) fn check_pipeline(config: &Config, base: &LlamaConfig) -> Result<()> {
    let (stages, blocks) = (config.parallel.pipeline, base.num_hidden_layers);
    if i64::try_from(stages).is_ok_and(|stages| stages <= blocks) {
        return Ok(());
    }
    bail_input!(
        "`parallel.pipeline` is {stages}, but `{}` has {blocks} blocks (`num_hidden_layers`), and a stage without one has \
         nothing to do\nhint: set `parallel.pipeline` to {blocks} or less",
        config.model.base.display()
    )
}

/// What the shards' manifests say of their tokens.
pub(crate) struct Fit {
    /// What rows are filled up with.
    pub(crate) pad_id: i64,
    /// How many tokens there are; none without a manifest.
    pub(crate) vocab_size: Option<i64>,
    /// The shards' files, which are those of their manifests.
    pub(crate) shards: Vec<FileHash>,
}

/// Checks the shards' manifests against the shards and the base model.
pub(crate) fn check_manifests(
    config: &Config,
    base: &LlamaConfig,
    remarks: &mut Vec<String>,
) -> Result<Fit> {
    let mut pad_id = None;
    let mut most_tokens = None;
    let prefixes = [Some(&config.data.train), config.data.validation.as_ref()];
    let shards = origin::shards(prefixes.into_iter().flatten()).bad_input()?;
    for prefix in prefixes.into_iter().flatten() {
        let Some(manifest) = Manifest::of_shards(prefix).bad_input()? else {
            remarks.push(format!(
                "{}: no manifest beside these shards names them: nothing says whether their files are whole and which tokenizer \
                 made them, and every row of the head takes part in the loss, as with `compat.padded_logits`",
                prefix.display()
            ));
            continue;
        };
        let vocab_size = i64::from(manifest.tokenizer.vocab_size);
        if vocab_size > base.vocab_size {
            bail_input!(
                "`{}` was made with a vocabulary of {vocab_size}, but `{}` has {}\n\
                 hint: take the base model that belongs to the tokenizer, or let it grow with `model.new_rows`",
                prefix.display(),
                config.model.base.display(),
                base.vocab_size,
            );
        }
        most_tokens = most_tokens.max(Some(vocab_size));
        check_files(prefix, &manifest, &shards)?;
        check_tokenizer(prefix, &manifest, &config.model.base, remarks)?;
        let pad = manifest.tokenizer.special_tokens.iter().find(|(name, _)| name == "<PAD>");
        pad_id = pad_id.or(pad.map(|(_, id)| *id));
    }
    let pad_id = i64::from(config.data.pad_id.or(pad_id).unwrap_or(0));
    if pad_id >= base.vocab_size {
        bail_input!(
            "`data.pad_id` is {pad_id}, but the base model's vocabulary has {}",
            base.vocab_size
        );
    }
    Ok(Fit { pad_id, vocab_size: most_tokens, shards })
}

/// A base that brings a tokenizer of the shards' kind must bring the same one.
fn check_tokenizer(
    prefix: &Path,
    manifest: &Manifest,
    base: &Path,
    remarks: &mut Vec<String>,
) -> Result<()> {
    let shards = &manifest.tokenizer.file;
    let Some(name) = Path::new(&shards.path).extension() else { return Ok(()) };
    let theirs = base.join("tokenizer").with_extension(name);
    if !theirs.exists() {
        remarks.push(format!(
            "`{}` is not there: the tokenizer that made `{}` cannot be compared with the base model's",
            theirs.display(),
            prefix.display()
        ));
        return Ok(());
    }
    let found = shards::hash::sha256_file(&theirs)?;
    if found != shards.sha256 {
        bail_input!(
            "`{}` was made with the tokenizer `{}` (SHA-256 {}), but the base model's `{}` is another one ({found})\n\
             hint: make the shards with the base model's tokenizer, or take the base model that belongs to the shards",
            prefix.display(),
            shards.path,
            shards.sha256,
            theirs.display(),
        );
    }
    Ok(())
}

/// The shard's files must be those that the manifest beside them describes.
fn check_files(prefix: &Path, manifest: &Manifest, shards: &[FileHash]) -> Result<()> {
    for found in shards {
        let path = Path::new(&found.path);
        let described = manifest.outputs.iter().find(|it| prefix.with_file_name(&it.path) == path);
        let Some(expected) = described else { continue };
        if (found.bytes, &found.sha256) != (expected.bytes, &expected.sha256) {
            let (what, found, expected) = if found.bytes == expected.bytes {
                ("the SHA-256", found.sha256.clone(), expected.sha256.clone())
            } else {
                ("the length", found.bytes.to_string(), expected.bytes.to_string())
            };
            bail_input!(
                "`{}` has {what} {found}, but `manifest.json` beside it says {expected}\n\
                 hint: the file was changed or is of another build: copy the whole folder again, or make it anew with \
                 `pretokenizer build`",
                path.display()
            );
        }
    }
    Ok(())
}

/// So many ranks, which are called `named`, must be what a layout takes. Says how many of them see the same documents.
pub(crate) fn check_layout(size: usize, named: &str, parallel: &ParallelConfig) -> Result<usize> {
    let &ParallelConfig { pipeline, tensor, replicate, .. } = parallel;
    let keys = [("pipeline", pipeline), ("tensor", tensor), ("replicate", replicate)];
    let keys = keys.iter().filter(|(_, value)| *value > 1);
    let names: Vec<String> = keys.clone().map(|(key, _)| format!("`parallel.{key}`")).collect();
    let values: Vec<String> = keys.map(|(_, value)| value.to_string()).collect();
    let (names, values) = (names.join(" times "), values.join(" times "));
    let least = pipeline * tensor * if replicate > 1 { 2 * replicate } else { 1 };
    if !size.is_multiple_of(pipeline * tensor * replicate) {
        let hint = match size {
            1 => format!("start so many with `trainer launch --nproc {least} -- train ...`"),
            _ => format!("take a multiple of {least} ranks, or lower {names}"),
        };
        bail_input!("{names} is {values}, which does not divide {named}, {size}\nhint: {hint}");
    }
    if replicate > 1 && size < least {
        bail_input!(
            "{names} is {values}, which leaves one rank of {named}, {size}, for each replica: nothing would be sharded\n\
             hint: take {least} ranks or more, or leave `parallel.replicate` out: with `parallel.zero: 0` each rank is a replica"
        );
    }
    Ok(pipeline * tensor)
}

/// What ranks and configuration can have against each other.
pub(crate) fn check_ranks(ranks: &Ranks, config: &Config) -> Result<()> {
    let (size, micro_batches) = (ranks.size(), config.micro_batches());
    let together = check_layout(size, "the number of ranks", &config.parallel)?;
    let takes_turns = size / together;
    if takes_turns > micro_batches {
        let what = match together {
            1 => format!("{size} ranks"),
            _ => format!("{takes_turns} groups of {together} ranks"),
        };
        bail_input!(
            "there are {what}, but an update has {micro_batches} micro-batches (`batch.global` {} by \
             `batch.micro` {})\nhint: start fewer ranks, or lower `batch.micro`",
            config.batch.global,
            config.batch.micro
        );
    }
    Ok(())
}

/// Several ranks compute on GPUs, all of them, or on CPUs; and GPUs can be connected. All come here.
pub(crate) fn check_device(ranks: &Ranks, device: Device) -> Result<()> {
    let lowest = |has: bool| -> Result<Option<usize>> {
        Ok(ranks.first(has.then(String::new))?.map(|(rank, _)| rank))
    };
    let on_gpus = alike(lowest(device.is_cuda())?, lowest(!device.is_cuda())?)?;
    let connected = if on_gpus && ranks.size() > 1 { torch_ext::nccl::load() } else { Ok(()) };
    ranks.agree(connected.map_err(anyhow::Error::from).bad_input())
}

/// Whether all compute on GPUs, by the lowest ranks that do and that do not.
fn alike(on_gpu: Option<usize>, on_cpu: Option<usize>) -> Result<bool> {
    let (Some(on_gpu), Some(on_cpu)) = (on_gpu, on_cpu) else { return Ok(on_gpu.is_some()) };
    bail_input!(
        "rank {on_gpu} has a GPU and rank {on_cpu} has none: they cannot train together\n\
         hint: `device: cuda` says why it has none; with `device: cpu` all compute on CPUs"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_with_a_gpu_and_ranks_without_one_do_not_train_together() {
        assert!(alike(Some(0), None).unwrap());
        assert!(!alike(None, Some(0)).unwrap());
        assert_eq!(
            alike(Some(2), Some(0)).unwrap_err().to_string(),
            "rank 2 has a GPU and rank 0 has none: they cannot train together\n\
             hint: `device: cuda` says why it has none; with `device: cpu` all compute on CPUs"
        );
    }
}
