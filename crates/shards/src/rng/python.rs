//! Python's `random.Random`.

use crate::rng::Mt19937;

/// `random.Random(seed)`.
#[derive(Debug, Clone)]
pub struct PythonRandom(Mt19937);

impl PythonRandom {
    /// Seeds with an integer as `random.seed(seed)` does: its magnitude in 32-bit words, lowest first.
    #[must_use]
    pub fn new(seed: i64) -> Self {
        let magnitude = seed.unsigned_abs();
        let low = u32::try_from(magnitude & 0xffff_ffff).expect("32 bits");
        let high = u32::try_from(magnitude >> 32).expect("32 bits");
        Self(if high == 0 { Mt19937::from_key(&[low]) } else { Mt19937::from_key(&[low, high]) })
    }

    /// `randrange(n)`, and the index that `choice` takes from `n` things; `n` is at least 1.
    pub fn below(&mut self, n: usize) -> usize {
        let n = u32::try_from(n).expect("fewer than 2^32 rows");
        assert!(n > 0, "a number below 0");
        loop {
            // getrandbits(n.bit_length()), again until it is below n.
            let number = self.0.next_u32() >> n.leading_zeros();
            if number < n {
                return number as usize;
            }
        }
    }

    /// `shuffle(items)`.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }

    /// `random()`: 53 random bits, at least 0 and below 1.
    pub fn random(&mut self) -> f64 {
        let high = f64::from(self.0.next_u32() >> 5);
        let low = f64::from(self.0.next_u32() >> 6);
        (high * 67_108_864.0 + low) / 9_007_199_254_740_992.0
    }
}
