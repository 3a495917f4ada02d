//! Logits -> the distribution that the next token is drawn from, by transformers' definitions and in its order:
//! repetition penalty, tokens that must not end the answer yet, temperature, top-k, top-p.
//!
//! Legend: `v` vocabulary.

use anyhow::{Context, Result};
use tch::{Device, Kind, Tensor};

/// How the next token is chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Warp {
    /// 0 takes the most probable token; above, logits are divided by it and a token is drawn.
    pub temperature: f64,
    /// Draw only among so many most probable tokens; 0 for all.
    pub top_k: i64,
    /// Draw only among the most probable tokens that together have this probability.
    pub top_p: f64,
    /// Above 1, tokens that stand in the prompt or the answer already are less probable; 1 for none of that.
    pub repetition_penalty: f64,
    /// The answer is not ended before so many tokens.
    pub min_new_tokens: usize,
}

impl Default for Warp {
    fn default() -> Self {
        Self { temperature: 0.0, top_k: 0, top_p: 1.0, repetition_penalty: 1.0, min_new_tokens: 0 }
    }
}

impl Warp {
    /// The logits as they count, `-inf` for what is not drawn.
    ///
    /// `before` are the prompt and the answer so far, of which `n_new` are new; `ends` end it.
    ///
    /// # Shapes
    /// `logits_v` -> `scores_v`, in `f32`
    pub fn scores(&self, logits_v: &Tensor, before: &[u32], n_new: usize, ends: &[u32]) -> Tensor {
        let _no_grad = tch::no_grad_guard();
        let mut scores_v = logits_v.to_device(Device::Cpu).to_kind(Kind::Float).copy();
        let ids = |ids: &[u32]| {
            let ids: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
            Tensor::from_slice(&ids)
        };
        if self.repetition_penalty != 1.0 && !before.is_empty() {
            let (penalty, ids) = (self.repetition_penalty, ids(before));
            let seen = scores_v.gather(0, &ids, false);
            let seen = (&seen * penalty).where_self(&seen.lt(0.0), &(&seen / penalty));
            scores_v = scores_v.scatter(0, &ids, &seen);
        }
        if n_new < self.min_new_tokens && !ends.is_empty() {
            let _ = scores_v.index_fill_(0, &ids(ends), f64::NEG_INFINITY);
        }
        if self.temperature == 0.0 {
            return scores_v;
        }
        scores_v /= self.temperature;
        if self.top_k > 0 {
            let (top, _) = scores_v.topk(self.top_k.min(scores_v.size()[0]), 0, true, true);
            // Those that are as probable as the last of them stay too.
            scores_v = scores_v.masked_fill(&scores_v.lt_tensor(&top.get(-1)), f64::NEG_INFINITY);
        }
        if self.top_p < 1.0 {
            let (sorted, ids) = scores_v.sort(0, false);
            let below = sorted.softmax(0, Kind::Float).cumsum(0, Kind::Float).le(1.0 - self.top_p);
            // The most probable token always stays.
            let _ = below.get(-1).fill_(0);
            let removed = below.scatter(0, &ids, &below);
            scores_v = scores_v.masked_fill(&removed, f64::NEG_INFINITY);
        }
        scores_v
    }

    /// The token of these scores: the most probable one, or the one at `place`, from 0 to below 1, of the distribution.
    pub fn choose(&self, scores_v: &Tensor, place: f64) -> Result<u32> {
        let id = if self.temperature == 0.0 {
            scores_v.argmax(0, false).int64_value(&[])
        } else {
            let up_to_v = scores_v.softmax(0, Kind::Double).cumsum(0, Kind::Double);
            let all = up_to_v.double_value(&[-1]);
            let before = up_to_v.le(place * all).sum(Kind::Int64).int64_value(&[]);
            before.min(scores_v.size()[0] - 1)
        };
        u32::try_from(id).context("a token id")
    }
}

/// A number from 0 to below 1 that hangs on these three alone, and on nothing that was drawn before: an answer is the
/// same in whatever batch it is made. The mixing is that of SplitMix64 (Steele, Lea and Flood, 2014).
#[must_use]
pub fn place(seed: u64, stream: u64, position: u64) -> f64 {
    let mix = |mut z: u64| {
        z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let bits = mix(mix(mix(seed) ^ stream) ^ position);
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_is_drawn_as_often_as_its_probability_says() {
        let probabilities = [0.5, 0.0, 0.3, 0.2_f64];
        let scores = Tensor::from_slice(&probabilities.map(f64::ln));
        let warp = Warp { temperature: 1.0, ..Warp::default() };
        let mut counts = [0_u32; 4];
        for position in 0..20_000 {
            counts[warp.choose(&scores, place(7, 0, position)).unwrap() as usize] += 1;
        }
        for (count, probability) in counts.iter().zip(probabilities) {
            // Four standard deviations of 20,000 draws.
            let off = f64::from(*count) / 20_000.0 - probability;
            assert!(off.abs() < 4.0 * (0.25_f64 / 20_000.0).sqrt(), "{counts:?}");
        }
        assert_eq!(counts[1], 0);
        assert_eq!(warp.choose(&scores, 0.0).unwrap(), 0);
        assert_eq!(warp.choose(&scores, 1.0 - f64::EPSILON).unwrap(), 3);
    }
}
