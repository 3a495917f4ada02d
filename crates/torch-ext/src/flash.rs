//! Attention within each of several documents that lie one after the other, in one call: FlashAttention on a GPU.
//!
//! PyTorch's scaled dot-product attention wants a row a document, or a mask that it then multiplies out. On a CPU, call it
//! once a document.
//!
//! Legend: `n` tokens of all documents, `h` query heads, `g` heads of keys and values, `k` numbers of a head.

#![expect(unsafe_code, reason = "calls the shim")]

use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};
use crate::shim;

/// How documents lie in a row of tokens. Made once a row, it serves all blocks of a model.
#[derive(Debug)]
pub struct Documents {
    /// Where each begins, and where the last ends, in 32 bits.
    starts: Tensor,
    longest: i64,
    all: i64,
}

impl Documents {
    /// Documents of these lengths, one after the other. Fails where one has no token.
    pub fn of(lengths: &[i64], device: Device) -> Result<Self> {
        let mut starts = vec![0_i32];
        let mut all = 0_i64;
        for &length in lengths {
            all += length;
            let end = i32::try_from(all).ok().filter(|_| length > 0);
            starts.push(end.ok_or_else(|| {
                Error::Call(format!("attention over a document of {length} tokens, {all} in all"))
            })?);
        }
        let longest = lengths.iter().copied().max().unwrap_or(0);
        Ok(Self { starts: Tensor::from_slice(&starts).to_device(device), longest, all })
    }

    /// What each token's queries find in its own document up to the token itself; recorded for autograd. Several query heads
    /// may share a head of keys and values. Scores are divided by the root of `k`.
    ///
    /// Takes bf16 (or fp16) on a GPU of compute capability 8.0 or later, and heads of at most 256 numbers, a multiple of 8.
    ///
    /// # Shapes
    /// `q_nhk`, `k_ngk`, `v_ngk` -> `y_nhk`
    pub fn attend(&self, q_nhk: &Tensor, k_ngk: &Tensor, v_ngk: &Tensor) -> Result<Tensor> {
        self.check(q_nhk, k_ngk, v_ngk)?;
        // SAFETY: the tensors outlive the call.
        shim::call_for_tensor(|attended, error| unsafe {
            shim::torch_ext_flash_attention(
                q_nhk.as_ptr(),
                k_ngk.as_ptr(),
                v_ngk.as_ptr(),
                self.starts.as_ptr(),
                self.longest,
                attended,
                error,
            );
        })
    }

    /// What the kernel takes for granted, or refuses with less words.
    fn check(&self, q_nhk: &Tensor, k_ngk: &Tensor, v_ngk: &Tensor) -> Result<()> {
        let refuse = |what: String| Err(Error::Call(format!("attention over documents: {what}")));
        let sizes = [q_nhk, k_ngk, v_ngk].map(Tensor::size);
        let [q, k, v] = &sizes;
        let fits = |it: &Vec<i64>| it.len() == 3 && it[0] == self.all && it[2] == q[q.len() - 1];
        if !(sizes.iter().all(fits) && k == v && k[1] > 0 && q[1] % k[1] == 0) {
            return refuse(format!("{q:?}, {k:?}, {v:?} for {} tokens", self.all));
        }
        if q[2] > 256 || q[2] % 8 != 0 {
            return refuse(format!("heads of {} numbers", q[2]));
        }
        for tensor in [q_nhk, k_ngk, v_ngk] {
            let (kind, device) = (tensor.kind(), tensor.device());
            if !matches!(kind, Kind::BFloat16 | Kind::Half) {
                return refuse(format!("{kind:?}, expected BFloat16 or Half"));
            }
            if !device.is_cuda() || device != self.starts.device() {
                let there = self.starts.device();
                return refuse(format!(
                    "tensors on {device:?}, documents on {there:?}, expected a GPU"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(lengths: &[i64], [q, k, v]: [&[i64]; 3], kind: Kind, expected: &str) {
        let tensor = |size: &[i64]| Tensor::zeros(size, (kind, Device::Cpu));
        let found = Documents::of(lengths, Device::Cpu)
            .and_then(|documents| documents.attend(&tensor(q), &tensor(k), &tensor(v)));
        assert_eq!(found.expect_err(expected).to_string(), expected);
    }

    #[test]
    fn what_the_kernel_would_not_take_is_refused() {
        let (q, k) = (&[5, 4, 8][..], &[5, 2, 8][..]);
        let bf16 = Kind::BFloat16;
        refused(&[3, 0], [q, k, k], bf16, "attention over a document of 0 tokens, 3 in all");
        let what = "attention over documents: ";
        let sizes = format!("{what}[5, 4, 8], [5, 2, 8], [5, 2, 8] for 6 tokens");
        refused(&[3, 3], [q, k, k], bf16, &sizes);
        let sizes = format!("{what}[5, 4, 8], [5, 3, 8], [5, 3, 8] for 5 tokens");
        refused(&[3, 2], [q, &[5, 3, 8], &[5, 3, 8]], bf16, &sizes);
        refused(
            &[5],
            [&[5, 4, 12], &[5, 4, 12], &[5, 4, 12]],
            bf16,
            &format!("{what}heads of 12 numbers"),
        );
        let kind = format!("{what}Float, expected BFloat16 or Half");
        refused(&[3, 2], [q, k, k], Kind::Float, &kind);
        let device = format!("{what}tensors on Cpu, documents on Cpu, expected a GPU");
        refused(&[3, 2], [q, k, k], bf16, &device);
    }
}
