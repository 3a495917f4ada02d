//! A configuration and its shards -> what of them counts, which documents are used, for how many steps, in which order.

use std::path::Path;

use anyhow::Result;
use cli::{BadInput, bail_input};
use shards::manifest::Manifest;

use crate::config::{Config, TooLongRule};
use crate::hf_tokenizer;
use crate::learning::{Learning, LeftOut};
use crate::order::{Order, boundaries};
use crate::rows::{Rows, TooLong};

/// Which tokens count, and how much.
pub(crate) fn learning(config: &Config) -> Result<Learning> {
    let weights = config.loss.role_weights();
    let (header, end) = (!config.loss.header, !config.loss.end_token);
    if !header && !end {
        return Ok(Learning { weights, left_out: None });
    }
    let key = if header { "loss.header" } else { "loss.end_token" };
    let base = &config.model.base;
    let manifest = Manifest::of_shards(&config.data.train).bad_input()?;
    let (Some(manifest), Some(file)) = (manifest, hf_tokenizer::file(base)) else {
        bail_input!(
            "`{key}: false` needs to know which tokens open and close a turn, from the manifest beside `{}` and the \
             tokenizer in `{}`\nhint: put what is missing there, or leave `{key}` out",
            config.data.train.display(),
            base.display()
        );
    };
    let tokenizer =
        text::Tokenizer::reopen(&file, &manifest.tokenizer.special_tokens).bad_input()?;
    let marker = |token: &str| match tokenizer.special_id(token) {
        Some(id) => Ok(id),
        None => bail_input!(
            "`{key}: false` needs the token `{token}`, but `{}` was made without it\nhint: leave `{key}` out",
            config.data.train.display()
        ),
    };
    let left_out = LeftOut {
        turn_start: marker(text::chatml::TURN_START)?,
        turn_end: marker(text::chatml::TURN_END)?,
        newline: (0..tokenizer.vocab_size())
            .map(|id| tokenizer.decode(&[id]).contains('\n'))
            .collect(),
        header,
        end,
    };
    Ok(Learning { weights, left_out: Some(left_out) })
}

/// The documents that are used, in their order; what becomes of those that are too long is said.
pub(crate) fn usable(
    prefix: &Path,
    rows: &Rows,
    rule: TooLongRule,
    remarks: &mut Vec<String>,
) -> Result<Vec<usize>> {
    let TooLong { documents: long, cut, longest } = rows.too_long();
    let (all, shown) = (rows.len(), prefix.display());
    let mut usable: Vec<usize> = (0..all).collect();
    let Some(first) = long.first() else { return Ok(usable) };
    let most = rows.sequence_length() + 1;
    match rule {
        TooLongRule::Truncate => remarks.push(format!(
            "{shown}: {} of {all} documents are longer than {most} tokens and are truncated: {} tokens are cut off, {} \
             of which would have been learned",
            long.len(),
            cut.tokens,
            cut.supervised
        )),
        TooLongRule::Drop => {
            remarks.push(format!(
                "{shown}: {} of {all} documents are longer than {most} tokens and are dropped",
                long.len()
            ));
            let mut long = long.iter().peekable();
            usable.retain(|document| long.next_if_eq(&document).is_none());
        }
        TooLongRule::Error => bail_input!(
            "{shown}: {} of {all} documents are longer than {most} tokens, the first is document {first}, the longest \
             has {longest}\n\
             hint: raise `batch.sequence_length` to {}, or let them be cut or left out with `data.too_long: truncate` \
             or `drop`",
            long.len(),
            longest - 1
        ),
    }
    Ok(usable)
}

/// The order of all samples of a run is held in memory, 8 bytes each.
const MOST_SAMPLES: u128 = 1 << 32;

/// How many steps the run makes; at least one.
pub(crate) fn steps(config: &Config, n_documents: usize) -> Result<u64> {
    let n_train = config.data.split.map_or(n_documents, |split| boundaries(n_documents, split)[1]);
    if n_train == 0 {
        bail_input!("`{}` has no documents to train on", config.data.train.display());
    }
    let global = config.batch.global;
    let steps = match (config.steps, config.epochs) {
        (Some(steps), _) => steps,
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "rounded down on purpose"
        )]
        (None, epochs) => (epochs.unwrap_or(1.0) * n_train as f64 / global as f64) as u64,
    };
    if steps == 0 {
        let epochs = config.epochs.unwrap_or(1.0);
        bail_input!(
            "`epochs` is {epochs}, and {epochs} times {n_train} documents do not fill one global batch of {global}\n\
             hint: raise `epochs`, or lower `batch.global`"
        );
    }
    let samples = u128::from(steps) * global as u128;
    if samples > MOST_SAMPLES {
        bail_input!(
            "{steps} steps of {global} documents draw {samples} samples, more than the {MOST_SAMPLES} that can be planned\n\
             hint: lower `steps`, `epochs` or `batch.global`"
        );
    }
    let decay = config.schedule.decay_steps.unwrap_or(steps);
    if config.schedule.warmup_steps > decay {
        bail_input!(
            "`schedule.warmup_steps` is {}, but the schedule ends after {decay} steps\n\
             hint: a warm-up is usually 1 to 10 % of the run",
            config.schedule.warmup_steps,
        );
    }
    let room = decay - config.schedule.warmup_steps;
    match config.schedule.cooldown_steps {
        Some(cooldown) if cooldown > room => bail_input!(
            "`schedule.cooldown_steps` is {cooldown}, but between the warm-up and the end of the schedule are {room} steps\n\
             hint: a tenth of the run is usual"
        ),
        _ => Ok(steps),
    }
}

/// The documents of the whole run. Evaluations draw as Megatron-LM plans them: one more than fit between the steps.
pub(crate) fn order(config: &Config, n_documents: usize, steps: u64) -> Order {
    let global = config.batch.global;
    let n_samples =
        |batches: u64| usize::try_from(batches).unwrap_or(usize::MAX).saturating_mul(global);
    let n_validation = config.evaluate.as_ref().map_or(0, |evaluate| {
        n_samples((steps / evaluate.every + 1) * evaluate.batches.unwrap_or(0) as u64)
    });
    Order::new(n_documents, config.data.split, config.seed, n_samples(steps), n_validation)
}
