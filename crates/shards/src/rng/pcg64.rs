//! numpy's `default_rng`: PCG64 (O'Neill 2014, XSL-RR 128/64) seeded through `SeedSequence`.

use crate::rng::numpy::shuffled;

const MULTIPLIER: u128 = 0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645;

/// `numpy.random.default_rng(seed)`.
#[derive(Debug, Clone)]
pub struct NumpyGenerator {
    state: u128,
    increment: u128,
    /// The high half of the last 64-bit number, when only its low half has been used.
    spare: Option<u32>,
}

impl NumpyGenerator {
    /// Seeds as `default_rng(seed)` does.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let [a, b, c, d] = seed_words(seed);
        let wide = |high: u64, low: u64| u128::from(high) << 64 | u128::from(low);
        let mut this = Self { state: 0, increment: wide(c, d) << 1 | 1, spare: None };
        this.step();
        this.state = this.state.wrapping_add(wide(a, b));
        this.step();
        this
    }

    /// The next 64-bit number.
    pub fn next_u64(&mut self) -> u64 {
        self.step();
        let rotation = u32::try_from(self.state >> 122).expect("6 bits");
        let folded = (self.state >> 64) ^ self.state;
        u64::try_from(folded & u128::from(u64::MAX)).expect("64 bits").rotate_right(rotation)
    }

    /// The next 32-bit number: the low half of a 64-bit one, then its high half.
    pub fn next_u32(&mut self) -> u32 {
        self.spare.take().unwrap_or_else(|| {
            let number = self.next_u64();
            self.spare = Some(u32::try_from(number >> 32).expect("32 bits"));
            u32::try_from(number & 0xffff_ffff).expect("32 bits")
        })
    }

    /// `permutation(n)`: drawn by the same masked rejection as the legacy generator's.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        shuffled(n, || self.next_u32())
    }

    fn step(&mut self) {
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(self.increment);
    }
}

/// `SeedSequence(seed).generate_state(4, uint64)`.
fn seed_words(seed: u64) -> [u64; 4] {
    const MULTIPLY_A: u32 = 0x931e_8875;
    const MULTIPLY_B: u32 = 0x58f3_8ded;

    let hash = |constant: &mut u32, value: u32| {
        let value = value ^ *constant;
        *constant = constant.wrapping_mul(MULTIPLY_A);
        let value = value.wrapping_mul(*constant);
        value ^ (value >> 16)
    };
    let mix = |x: u32, y: u32| {
        let mixed = x.wrapping_mul(0xca01_f9dd).wrapping_sub(y.wrapping_mul(0x4973_f715));
        mixed ^ (mixed >> 16)
    };

    let low = u32::try_from(seed & 0xffff_ffff).expect("32 bits");
    let high = u32::try_from(seed >> 32).expect("32 bits");
    let mut constant = 0x43b0_d7e5;
    let mut pool = [low, high, 0, 0].map(|word| hash(&mut constant, word));
    for from in 0..4 {
        for to in 0..4 {
            if from != to {
                pool[to] = mix(pool[to], hash(&mut constant, pool[from]));
            }
        }
    }

    let mut constant: u32 = 0x8b51_f9dd;
    let mut word = |i: usize| {
        let value = pool[i % 4] ^ constant;
        constant = constant.wrapping_mul(MULTIPLY_B);
        let value = value.wrapping_mul(constant);
        u64::from(value ^ (value >> 16))
    };
    [0, 2, 4, 6].map(|i| word(i) | word(i + 1) << 32)
}
