//! torch's CPU `Generator`, as `random_split` and `randperm` use it.

use crate::rng::Mt19937;

/// `torch.Generator().manual_seed(seed)`.
#[derive(Debug, Clone)]
pub struct TorchGenerator(Mt19937);

impl TorchGenerator {
    /// Seeds as `manual_seed(seed)` does: with the low 32 bits of the two's complement.
    #[must_use]
    pub fn new(seed: i64) -> Self {
        let low = u32::try_from(seed.cast_unsigned() & 0xffff_ffff).expect("32 bits");
        Self(Mt19937::from_seed(low))
    }

    /// `torch.randperm(n, generator=self)`: the state goes on, so that a second call gives other numbers.
    ///
    /// # Panics
    ///
    /// If `n` is not below (2^32 - 1) / 20, from where on torch draws 64 bits at a time.
    pub fn randperm(&mut self, n: usize) -> Vec<usize> {
        assert!(n < (u32::MAX / 20) as usize, "randperm({n}) draws in another way");
        let mut indices: Vec<usize> = (0..n).collect();
        for i in 0..n.saturating_sub(1) {
            indices.swap(i, i + self.0.next_u32() as usize % (n - i));
        }
        indices
    }
}
