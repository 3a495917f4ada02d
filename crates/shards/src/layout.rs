//! The bytes of an index file, in the two forms that the reference can write. All numbers are little endian.
//!
//! [`IndexKind::Mmap`], what Megatron's trainers read; N documents:
//!
//! | bytes | type | content |
//! |---|---|---|
//! | 0..9 | | `MMIDIDX` and two zero bytes |
//! | 9..17 | u64 | version, 1 |
//! | 17 | u8 | element type: 8 for 16-bit unsigned, 4 for 32-bit signed |
//! | 18..26 | u64 | N |
//! | 26..34 | u64 | length of the last table, 1 |
//! | 34.. | i32 × N | documents' sizes, in tokens |
//! | | i64 × N | documents' places in the `.bin` file, in bytes |
//! | | i64 × 1 | 0 |
//!
//! The last table should hold the first sequence of every document; the reference never fills it, so a reader must
//! not trust it. After 34 bytes of head nothing is aligned: numbers are read from bytes, never in place.
//!
//! [`IndexKind::Legacy`] (`TNTIDX`), of older tools, always 32 bits wide:
//!
//! | type | content |
//! |---|---|
//! | | `TNTIDX` and two zero bytes |
//! | u64 × 3 | version 1, element type 4, element size 4 |
//! | u64 × 3 | N, N, 1 |
//! | i64 × (N+1) | 0, 1, ..., N |
//! | i64 × (N+1) | documents' places, in tokens, and the total |
//! | i64 × N | documents' sizes, in tokens |
//! | i64 × 1 | 0 |

use std::io;

/// Which index is written, and how wide a token is then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexKind {
    /// `MMIDIDX`: 16-bit tokens where the vocabulary allows it.
    Mmap,
    /// `TNTIDX`: always 32-bit tokens.
    Legacy,
}

/// How a token is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    U16,
    I32,
}

impl Element {
    /// The reference keeps 16 bits for vocabularies below 65,500.
    pub(crate) fn for_vocabulary(kind: IndexKind, vocab_size: u32) -> Self {
        match kind {
            IndexKind::Mmap if vocab_size < 65_500 => Self::U16,
            _ => Self::I32,
        }
    }

    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::U16 => 2,
            Self::I32 => 4,
        }
    }

    /// The element type's number in an index.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::U16 => 8,
            Self::I32 => 4,
        }
    }

    pub(crate) const fn from_code(code: u8) -> Option<Self> {
        match code {
            8 => Some(Self::U16),
            4 => Some(Self::I32),
            _ => None,
        }
    }
}

pub(crate) const MMAP_MAGIC: &[u8; 9] = b"MMIDIDX\0\0";
pub(crate) const MMAP_HEAD: usize = 34;
pub(crate) const LEGACY_MAGIC: &[u8; 8] = b"TNTIDX\0\0";
pub(crate) const LEGACY_HEAD: usize = 56;

/// The index of documents with these sizes.
pub(crate) fn index(kind: IndexKind, element: Element, sizes: &[u32]) -> Vec<u8> {
    match kind {
        IndexKind::Mmap => mmap_index(element, sizes),
        IndexKind::Legacy => legacy_index(sizes),
    }
}

fn mmap_index(element: Element, sizes: &[u32]) -> Vec<u8> {
    let mut out = Vec::with_capacity(MMAP_HEAD + 12 * sizes.len() + 8);
    out.extend(MMAP_MAGIC);
    out.extend(1_u64.to_le_bytes());
    out.push(element.code());
    out.extend((sizes.len() as u64).to_le_bytes());
    out.extend(1_u64.to_le_bytes());
    for size in sizes {
        out.extend(size.to_le_bytes());
    }
    let mut place = 0_u64;
    for &size in sizes {
        out.extend(place.to_le_bytes());
        place += u64::from(size) * element.bytes() as u64;
    }
    out.extend(0_u64.to_le_bytes());
    out
}

fn legacy_index(sizes: &[u32]) -> Vec<u8> {
    let n = sizes.len() as u64;
    let places = sizes.iter().scan(0, |place, &size| {
        *place += u64::from(size);
        Some(*place)
    });
    let numbers = [1, 4, 4, n, n, 1]
        .into_iter()
        .chain(0..=n)
        .chain(std::iter::once(0).chain(places))
        .chain(sizes.iter().map(|&size| u64::from(size)))
        .chain(std::iter::once(0));
    LEGACY_MAGIC.iter().copied().chain(numbers.flat_map(u64::to_le_bytes)).collect()
}

/// The documents' sizes in an index that `index` made; an error if the bytes are not one.
pub fn sizes(kind: IndexKind, index: &[u8]) -> io::Result<Vec<u32>> {
    let read = || {
        let (magic, n_at) = match kind {
            IndexKind::Mmap => (&MMAP_MAGIC[..], 18),
            IndexKind::Legacy => (&LEGACY_MAGIC[..], 32),
        };
        index.starts_with(magic).then_some(())?;
        let n = u64::from_le_bytes(*index.get(n_at..)?.first_chunk()?);
        let n = usize::try_from(n).ok()?;
        let (width, start) = match kind {
            IndexKind::Mmap => (4, MMAP_HEAD),
            // Behind two tables of n + 1 numbers.
            IndexKind::Legacy => (8, n.checked_mul(16)?.checked_add(LEGACY_HEAD + 16)?),
        };
        let table = index.get(start..start.checked_add(n.checked_mul(width)?)?)?;
        let sizes = table.chunks_exact(width).map(|size| size.first_chunk().copied());
        sizes.map(|size| size.map(u32::from_le_bytes)).collect::<Option<Vec<u32>>>()
    };
    read().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "this is not a whole index"))
}
