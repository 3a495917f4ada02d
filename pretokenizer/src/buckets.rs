//! Encoded pieces, by their place in the output: in memory up to a bound, behind it in the temporary file.
//!
//! Records come in any order and each goes to the bucket that its slot is in. When all buckets together hold too much,
//! what they hold is written, one after the other, to the end of the temporary file. So the disk sees long writes in a
//! row, and later, when the buckets are read in the order of the output, a few long reads for each.

use std::sync::Mutex;

use crate::scratch::{Extent, Scratch};

/// Bytes that a bucket grows by.
const CHUNK: usize = 1 << 15;

/// All buckets of a run.
#[derive(Debug)]
pub struct Buckets<'s> {
    scratch: &'s Scratch,
    /// Bytes that may stay in memory.
    memory: usize,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    n_bytes: usize,
    buckets: Vec<Bucket>,
}

#[derive(Debug, Clone, Default)]
struct Bucket {
    chunks: Vec<Vec<u8>>,
    written: Vec<Extent>,
}

impl<'s> Buckets<'s> {
    /// So many empty buckets that keep so many bytes in memory.
    #[must_use]
    pub fn new(n: usize, memory: usize, scratch: &'s Scratch) -> Self {
        let held = Held { n_bytes: 0, buckets: vec![Bucket::default(); n] };
        Self { scratch, memory, held: Mutex::new(held) }
    }

    /// Puts records into their buckets.
    pub fn push<'r>(
        &self,
        records: impl IntoIterator<Item = (usize, &'r [u8])>,
    ) -> anyhow::Result<()> {
        let mut held = self.held.lock().expect("nobody panics while copying");
        for (bucket, record) in records {
            held.n_bytes += record.len();
            let chunks = &mut held.buckets[bucket].chunks;
            match chunks.last_mut() {
                Some(chunk) if chunk.capacity() - chunk.len() >= record.len() => {
                    chunk.extend_from_slice(record);
                }
                _ => {
                    let mut chunk = Vec::with_capacity(CHUNK.max(record.len()));
                    chunk.extend_from_slice(record);
                    chunks.push(chunk);
                }
            }
        }
        if held.n_bytes > self.memory {
            for Bucket { chunks, written } in &mut held.buckets {
                for chunk in chunks.drain(..) {
                    written.push(self.scratch.write(&chunk)?);
                }
            }
            held.n_bytes = 0;
        }
        Ok(())
    }

    /// Takes what is in a bucket: whole records, in any order.
    pub fn take(&self, bucket: usize) -> anyhow::Result<Vec<Vec<u8>>> {
        let Bucket { mut chunks, written } = {
            let mut held = self.held.lock().expect("nobody panics while copying");
            std::mem::take(&mut held.buckets[bucket])
        };
        for extent in written {
            chunks.push(self.scratch.read(extent)?);
        }
        Ok(chunks)
    }
}
