//! The Mersenne Twister MT19937 (Matsumoto and Nishimura 1998), with both of its authors' seedings.

const N: usize = 624;
const M: usize = 397;

/// The generator of 32-bit numbers under three of the four streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mt19937 {
    state: Box<[u32; N]>,
    next: usize,
}

impl Mt19937 {
    /// Seeds with one number (`init_genrand`): numpy's legacy and torch's way.
    #[must_use]
    pub fn from_seed(seed: u32) -> Self {
        let mut state = Box::new([0; N]);
        state[0] = seed;
        for i in 1..N {
            let previous = state[i - 1];
            state[i] =
                1_812_433_253_u32.wrapping_mul(previous ^ (previous >> 30)).wrapping_add(word(i));
        }
        Self { state, next: N }
    }

    /// Seeds with a list of numbers (`init_by_array`): Python's way. `key` is not empty.
    #[must_use]
    pub fn from_key(key: &[u32]) -> Self {
        let mut this = Self::from_seed(19_650_218);
        let state = &mut this.state;
        let mut i = 1;
        for k in 0..N.max(key.len()) {
            let j = k % key.len();
            state[i] = stirred(state, i, 1_664_525).wrapping_add(key[j]).wrapping_add(word(j));
            i = following(state, i);
        }
        for _ in 1..N {
            state[i] = stirred(state, i, 1_566_083_941).wrapping_sub(word(i));
            i = following(state, i);
        }
        state[0] = 0x8000_0000;
        this
    }

    /// The next number.
    pub fn next_u32(&mut self) -> u32 {
        if self.next == N {
            self.twist();
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    fn twist(&mut self) {
        let state = &mut self.state;
        for i in 0..N {
            let y = (state[i] & 0x8000_0000) | (state[(i + 1) % N] & 0x7fff_ffff);
            let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            state[i] = state[(i + M) % N] ^ (y >> 1) ^ odd;
        }
        self.next = 0;
    }
}

/// A word of the state with its predecessor stirred in: the step of `init_by_array`.
fn stirred(state: &[u32; N], i: usize, factor: u32) -> u32 {
    let previous = state[i - 1];
    state[i] ^ (previous ^ (previous >> 30)).wrapping_mul(factor)
}

/// The place after `i`, on a ring in which the last word also stands at place 0.
fn following(state: &mut [u32; N], i: usize) -> usize {
    if i + 1 < N {
        return i + 1;
    }
    state[0] = state[N - 1];
    1
}

fn word(index: usize) -> u32 {
    u32::try_from(index).expect("a state and a key have a few hundred words")
}
