//! numpy's legacy `RandomState`, which the reference and scikit-learn draw from.

use crate::rng::Mt19937;

/// `numpy.random.RandomState(seed)`.
#[derive(Debug, Clone)]
pub struct NumpyRandom(Mt19937);

impl NumpyRandom {
    /// Seeds as `numpy.random.seed(seed)` does.
    #[must_use]
    pub fn new(seed: u32) -> Self {
        Self(Mt19937::from_seed(seed))
    }

    /// `randint(n)`: a number below `n`, which is at least 1.
    pub fn below(&mut self, n: usize) -> usize {
        masked(n - 1, || self.0.next_u32())
    }

    /// `permutation(n)`: the numbers below `n`, shuffled.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        shuffled(n, || self.0.next_u32())
    }

    /// `choice(n, size=k, replace=False)`: the head of a whole permutation, which is always drawn in full.
    ///
    /// # Panics
    ///
    /// If `k` is greater than `n`.
    pub fn choice(&mut self, n: usize, k: usize) -> Vec<usize> {
        assert!(k <= n, "a choice of {k} out of {n}");
        let mut indices = self.permutation(n);
        indices.truncate(k);
        indices
    }
}

/// Fisher and Yates from the last place to the second, with numpy's bounded draw.
pub(super) fn shuffled(n: usize, mut draw: impl FnMut() -> u32) -> Vec<usize> {
    let mut indices: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        indices.swap(i, masked(i, &mut draw));
    }
    indices
}

/// numpy's `random_interval`: masks and draws again until the number is not above `max`; 0 costs no draw.
fn masked(max: usize, mut draw: impl FnMut() -> u32) -> usize {
    let max = u32::try_from(max).expect("fewer than 2^32 rows");
    if max == 0 {
        return 0;
    }
    let mask = u32::MAX >> max.leading_zeros();
    loop {
        let number = draw() & mask;
        if number <= max {
            return number as usize;
        }
    }
}
