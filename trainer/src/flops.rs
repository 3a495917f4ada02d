//! A model and its documents' lengths -> floating-point operations of a training step.
//!
//! *Model FLOPs*, as in the PaLM paper's appendix B and in the throughput tables of Megatron-LM and LLM Foundry: what
//! the mathematics needs, whatever a program computes twice or pads. A forward and backward pass take 6 operations per
//! token and parameter of a matrix it is multiplied with (the embedding is looked up, so it does not count; the head
//! does): 2 forward, 2 for the gradient of what went in and 2 for that of the matrix, which a frozen one does not need. There
//! are 12 more per layer, query channel and token that it attends over. The convention counts all tokens of a document
//! as attended over, also those that causality hides.

use crate::config::LoraConfig;
use crate::llama_config::LlamaConfig;
use crate::params::lora::Split;
use crate::units::unit_specs;

/// How much a model computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelFlops {
    /// Parameters that a token is multiplied with.
    multiplied: i64,
    /// Those of them that are trained.
    trained: i64,
    /// Layers times query channels.
    channels: i64,
}

impl ModelFlops {
    /// Of a model of this shape, all or adapters of which are trained.
    pub fn of(config: &LlamaConfig, lora: Option<&LoraConfig>) -> Self {
        // A tied matrix is looked up, and multiplied with.
        let looked_up = usize::from(!config.tie_word_embeddings);
        let units = unit_specs(config).into_iter().skip(looked_up);
        let (mut trained, mut frozen) = (0, 0);
        for unit in units.map(|unit| Split::of(unit, lora)) {
            trained += unit.trained.numel();
            frozen += unit.frozen.numel();
        }
        let channels = config.num_hidden_layers * config.num_attention_heads * config.head_dim;
        Self { multiplied: trained + frozen, trained, channels }
    }

    /// Of a forward and backward pass over documents with so many tokens in all, whose squared lengths add up to this.
    pub fn of_step(self, tokens: u64, squared_lengths: u64) -> f64 {
        self.of_tokens(tokens as f64, squared_lengths as f64)
    }

    /// The same of numbers that are not whole, since they are of a share of the documents.
    pub fn of_tokens(self, tokens: f64, squared_lengths: f64) -> f64 {
        (4.0 * self.multiplied as f64 + 2.0 * self.trained as f64) * tokens
            + 12.0 * self.channels as f64 * squared_lengths
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::Preset;

    /// A CodeLlama's model FLOPs per token against its throughput at 100 % of a GPU's peak, in the table of published
    /// throughputs that Megatron-LM's and LLM Foundry's figures were brought to (312 * 10^12 a second for an A100).
    #[track_caller]
    fn check(config: &LlamaConfig, length: u64, tokens_per_second: f64) {
        let per_token =
            ModelFlops::of(config, None).of_step(length, length * length) / length as f64;
        let found = 312e12 / per_token;
        // The table has whole tokens.
        assert!((found - tokens_per_second).abs() < 0.6, "{found} is not {tokens_per_second}");
    }

    #[test]
    fn a_whole_gpu_gives_the_published_tokens_per_second() {
        check(&Preset::Codellama13b.shape(), 4096, 3579.0);
        check(&Preset::Codellama13b.shape(), 16384, 2658.0);
        check(&Preset::Codellama7b.shape(), 4096, 6770.0);
        let of_34b = LlamaConfig { vocab_size: 32000, ..Preset::Codellama34b.shape() };
        check(&of_34b, 4096, 1417.0);
    }

    #[test]
    fn a_tied_head_is_computed_as_any_other() {
        let shape = Preset::Codellama7b.shape();
        let tied = LlamaConfig { tie_word_embeddings: true, ..shape.clone() };
        assert_eq!(ModelFlops::of(&tied, None), ModelFlops::of(&shape, None));
    }
}
