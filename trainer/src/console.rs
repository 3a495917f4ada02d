//! What happens in a run -> what is said of it on the console.

use tch::Device;

use crate::config::{Offload, Precision};
use crate::evaluate::Prediction;
use crate::run::Run;
use crate::saver::{self, Saved};
use crate::step::Step;

/// A few words about an evaluation.
pub(crate) fn prediction(prediction: &Prediction) -> String {
    let Prediction { loss, perplexity, accuracy, documents, .. } = prediction;
    let accuracy = 100.0 * accuracy;
    format!(
        "loss {loss:.4}, perplexity {perplexity:.2}, accuracy {accuracy:.1} %, {documents} documents"
    )
}

/// One line about a step.
pub(crate) fn step(number: u64, steps: u64, made: &Step) -> String {
    let Step { loss, lr, grad_norm, counts, seconds, .. } = made;
    let speed = counts.tokens as f64 / seconds.total().as_secs_f64();
    let mut line = format!(
        "step {number}/{steps}  loss {loss:.4}  lr {lr:.2e}  grad norm {grad_norm:.3}  {} tokens  {speed:.0} tokens/s",
        counts.tokens
    );
    if made.skipped {
        line += match counts.supervised {
            0 => "  skipped: nothing to learn in it",
            _ => "  skipped: not finite",
        };
    } else if counts.empty > 0 {
        line += &format!("  {} micro-batches with nothing to learn", counts.empty);
    }
    line
}

/// One line about the run.
pub(crate) fn run(run: &Run) -> String {
    let millions = |parameters: i64| parameters as f64 / 1e6;
    let (trained, frozen) = (run.model.numel(), run.model.n_frozen());
    let parameters = match &run.config.lora {
        None => format!("{:.1} M", millions(trained)),
        Some(_) => {
            let all = millions(trained + frozen);
            format!("{:.3} M of {all:.1} M", millions(trained))
        }
    };
    let config = &run.config;
    let device = match run.model.device() {
        Device::Cuda(_) if run.ranks.size() > 1 => "GPUs".to_string(),
        Device::Cuda(number) => format!("GPU {number}"),
        Device::Cpu => "the CPU".to_string(),
        other => format!("{other:?}"),
    };
    let state = match config.offload {
        Offload::None => "",
        Offload::Optimizer => ", optimizer state in CPU memory",
    };
    let precision = match config.precision {
        Precision::Fp32 => "fp32",
        Precision::Bf16 => "bf16",
        Precision::Fp64 => "fp64",
    };
    let zero = u8::from(run.model.zero());
    let mesh = run.model.mesh();
    let stages = match mesh.stages.size() {
        1 => String::new(),
        stages => format!(", {stages} stages"),
    };
    let matrix = match mesh.tensor.size() {
        1 => String::new(),
        tensor => format!(", {tensor} a matrix"),
    };
    let replicas = match mesh.replicas.size() {
        1 => String::new(),
        replicas => format!(" in {replicas} replicas"),
    };
    let ranks = match (run.ranks.size(), stages + &matrix) {
        (1, _) => String::new(),
        (size, how) if how.is_empty() => format!(", {size} ranks at ZeRO {zero}{replicas}"),
        (size, how) => format!(", {size} ranks{how}, at ZeRO {zero}{replicas}"),
    };
    format!(
        "training {parameters} parameters on {device} in {precision}: {} steps of {} documents, {} at a time{ranks}{state}",
        run.steps, config.batch.global, config.batch.micro
    )
}

/// A few words about a checkpoint that is on the disk.
pub(crate) fn saved(saved: &Saved) -> String {
    let Saved { path, bytes, writing, .. } = saved;
    let (size, seconds) = (saver::shown(*bytes), writing.as_secs_f64());
    format!("saved {}: {size} in {seconds:.2} s", path.display())
}

/// The same of one that was written beside training.
pub(crate) fn saved_on_the_way(saved: &Saved) -> String {
    let pause = saved.pause.as_secs_f64();
    format!("{}, while training went on after {pause:.3} s", self::saved(saved))
}
