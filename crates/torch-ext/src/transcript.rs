//! What a process asked its groups to do, in order: the one thing that all members of a group must agree on.
//!
//! Ranks that disagree on it hang or compute nonsense. So a group writes down each operation before it is started; tests
//! compare whole transcripts with one another and with formulas, and a long run compares [`Transcript::digest`].

use std::hash::Hasher as _;
use std::sync::{Mutex, PoisonError};

use tch::Kind;

/// One operation, as all members of the group must see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The group's name.
    pub group: String,
    /// The operation's number in its group.
    pub sequence: u64,
    /// Such as `all_reduce`.
    pub operation: &'static str,
    /// The kind of number.
    pub kind: Kind,
    /// How many numbers the whole group handles: those of the whole tensor, of which a rank may hold a part.
    pub numel: usize,
    /// How many bytes this rank sends, by the cost of a ring: `(n-1)/n` of the whole for a gather, a scatter or an exchange,
    /// twice that for an all-reduce, and the whole for what goes to one other rank.
    pub bytes: u64,
}

/// What was done, and how much was sent.
#[derive(Debug, Default)]
pub struct Transcript {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    digest: Fnv,
    bytes: u64,
    entries: Option<Vec<Entry>>,
}

impl Default for State {
    fn default() -> Self {
        Self { digest: Fnv(0xcbf2_9ce4_8422_2325), bytes: 0, entries: None }
    }
}

impl Transcript {
    /// From now on, entries are kept; without this only their digest and the sum of their bytes are.
    pub fn keep(&self) {
        self.with(|state| state.entries.get_or_insert_default().clear());
    }

    /// The entries since [`keep`](Self::keep) or the last call of this.
    pub fn take(&self) -> Vec<Entry> {
        self.with(|state| state.entries.as_mut().map(std::mem::take).unwrap_or_default())
    }

    /// A number that is the same on all members of a group if they did the same.
    pub fn digest(&self) -> u64 {
        self.with(|state| state.digest.0)
    }

    /// The bytes that this process sent, by [`Entry::bytes`].
    pub fn bytes(&self) -> u64 {
        self.with(|state| state.bytes)
    }

    pub(crate) fn push(&self, entry: Entry) {
        self.with(|state| {
            let Entry { group, sequence, operation, kind, numel, bytes } = &entry;
            let line = format!("{group} {sequence} {operation} {kind:?} {numel}\n");
            state.digest.write(line.as_bytes());
            state.bytes += bytes;
            if let Some(entries) = &mut state.entries {
                entries.push(entry);
            }
        });
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut State) -> T) -> T {
        use_it(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Fowler, Noll and Vo's hash (FNV-1a): the same in every process and every build, which Rust's own does not promise.
#[derive(Debug)]
struct Fnv(u64);

impl std::hash::Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
