//! The memory that unfinished operations use: c10d reads and writes it behind libtorch's back, so nothing else may.
//!
//! Autograd's version counters do not see what Gloo writes, and a tensor that is read while it is being written gives
//! numbers that are wrong without a word. An operation that overlaps one in flight is therefore refused.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use tch::Tensor;

use crate::error::{Error, Result};

/// Every range that is being used now, in this process.
static USED: Mutex<Vec<Used>> = Mutex::new(Vec::new());

#[derive(Debug)]
struct Used {
    memory: Range<usize>,
    written: bool,
    by: &'static str,
}

/// Whether an operation that was not waited for reads or writes some of a contiguous tensor's memory: who overwrites it now
/// changes what is sent.
pub fn is_used(tensor: &Tensor) -> bool {
    any(tensor, |_| true)
}

/// Whether one writes it: who reads it now may read anything.
pub fn is_written(tensor: &Tensor) -> bool {
    any(tensor, |used| used.written)
}

fn any(tensor: &Tensor, counts: impl Fn(&Used) -> bool) -> bool {
    let memory = memory(tensor);
    let used = USED.lock().unwrap_or_else(PoisonError::into_inner);
    used.iter().any(|it| counts(it) && overlap(&it.memory, &memory))
}

fn overlap(one: &Range<usize>, other: &Range<usize>) -> bool {
    one.start < other.end && other.start < one.end
}

/// The right to use some memory, until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight {
    memory: Vec<Range<usize>>,
}

impl InFlight {
    /// Takes the memory of tensors that an operation reads and writes. A tensor may be read and written by the same
    /// operation.
    pub(crate) fn take(by: &'static str, read: &[&Tensor], written: &[&Tensor]) -> Result<Self> {
        let mut used = USED.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = read.iter().map(|it| (memory(it), false));
        let wanted: Vec<_> = wanted.chain(written.iter().map(|it| (memory(it), true))).collect();
        for (memory, writes) in &wanted {
            let clash = used
                .iter()
                .find(|other| (other.written || *writes) && overlap(&other.memory, memory));
            if let Some(other) = clash {
                return Err(Error::InFlight { wanted: by, by: other.by });
            }
        }
        let memory = wanted.iter().map(|(memory, _)| memory.clone()).collect();
        used.extend(wanted.into_iter().map(|(memory, written)| Used { memory, written, by }));
        Ok(Self { memory })
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut used = USED.lock().unwrap_or_else(PoisonError::into_inner);
        for memory in &self.memory {
            // Reads of the same memory may overlap, and one of them is as good as the other.
            if let Some(place) = used.iter().position(|other| other.memory == *memory) {
                used.swap_remove(place);
            }
        }
    }
}

/// A contiguous tensor's memory.
fn memory(tensor: &Tensor) -> Range<usize> {
    let start = tensor.data_ptr() as usize;
    start..start + tensor.numel() * tensor.kind().elt_size_in_bytes()
}
