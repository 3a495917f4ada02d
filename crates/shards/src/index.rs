//! The bytes of an index -> where each document begins, with everything checked that they say.

use std::ops::Range;

use crate::layout::{Element, LEGACY_HEAD, LEGACY_MAGIC, MMAP_HEAD, MMAP_MAGIC};

pub(crate) const CUT: &str = "the copy was cut short or mixed with another one: copy both files again, or rebuild them with `pretokenizer build`";
const FOREIGN: &str =
    "give the prefix of shards that `pretokenizer build` wrote, such as `out/mix-train`";

/// What is wrong, and what to do.
type Complaint = (String, &'static str);

/// The element type, and where each document begins and the last one ends, in tokens; see [`crate::layout`] for the bytes.
pub(crate) fn parse(bytes: &[u8]) -> Result<(Element, Vec<usize>), Complaint> {
    if bytes.starts_with(MMAP_MAGIC) {
        parse_mmap(bytes)
    } else if bytes.starts_with(LEGACY_MAGIC) {
        Ok((Element::I32, parse_legacy(bytes)?))
    } else {
        Err(("it does not begin with `MMIDIDX` or `TNTIDX` as an index does".to_string(), FOREIGN))
    }
}

fn parse_mmap(bytes: &[u8]) -> Result<(Element, Vec<usize>), Complaint> {
    check_head(bytes, MMAP_HEAD)?;
    check_version(u64_at(bytes, 9))?;
    let code = bytes[17];
    let Some(element) = Element::from_code(code) else {
        let what = format!("its element type is {code}, expected 8 (16 bits) or 4 (32 bits)");
        return Err((what, FOREIGN));
    };

    let (n, n_last) = (u64_at(bytes, 18), u64_at(bytes, 26));
    let length = n.checked_mul(12).and_then(|tables| tables.checked_add(n_last.checked_mul(8)?));
    let length = length.and_then(|tables| tables.checked_add(MMAP_HEAD as u64));
    let n = check_length(bytes, n, length)?;
    let (sizes, rest) = bytes[MMAP_HEAD..].split_at(4 * n);
    let places = &rest[..8 * n];

    let sizes = sizes
        .chunks_exact(4)
        .map(|size| i64::from(i32::from_le_bytes(size.try_into().expect("4 bytes"))));
    let places = places.chunks_exact(8).map(|place| u64_at(place, 0));
    Ok((element, starts(sizes.zip(places), element.bytes(), element.bytes(), "byte")?))
}

/// Documents of any number of dimensions fit into this format; ours have one, as the table of dimensions must say.
fn parse_legacy(bytes: &[u8]) -> Result<Vec<usize>, Complaint> {
    check_head(bytes, LEGACY_HEAD)?;
    let [version, code, width, n, n_sizes, n_last] =
        [8, 16, 24, 32, 40, 48].map(|at| u64_at(bytes, at));
    check_version(version)?;
    if (code, width) != (4, 4) {
        let what = format!("its elements are of type {code} and {width} bytes, expected 4 and 4");
        return Err((what, FOREIGN));
    }
    if n != n_sizes {
        let what = format!("it has {n} documents with {n_sizes} sizes, expected one for each");
        return Err((what, FOREIGN));
    }
    let tables = n.checked_mul(24).and_then(|tables| tables.checked_add(n_last.checked_mul(8)?));
    let length = tables.and_then(|tables| tables.checked_add(LEGACY_HEAD as u64 + 16));
    let n = check_length(bytes, n, length)?;
    let table = |numbers: Range<usize>| {
        let bytes = &bytes[LEGACY_HEAD..][8 * numbers.start..8 * numbers.end];
        bytes.chunks_exact(8).map(|number| u64_at(number, 0))
    };
    if let Some((i, found)) = (0..).zip(table(0..n + 1)).find(|(i, found)| i != found) {
        let what = format!("document {i} has the dimensions from {found} on, expected {i}");
        return Err((what, FOREIGN));
    }
    // A size is signed, as a place in the file is; both are 64 bits wide.
    let sizes = table(2 * n + 2..3 * n + 2).map(u64::cast_signed);
    let starts = starts(sizes.zip(table(n + 1..2 * n + 1)), 4, 1, "token")?;
    let (end, said) = (starts[n] as u64, u64_at(bytes, LEGACY_HEAD + 8 * (2 * n + 1)));
    if end != said {
        return Err((format!("its documents have {end} tokens, and it says {said}"), CUT));
    }
    Ok(starts)
}

/// Where documents of these sizes begin, which must be where they are said to be, in units of so many a token.
fn starts(
    documents: impl Iterator<Item = (i64, u64)>,
    element_bytes: usize,
    units: usize,
    unit: &str,
) -> Result<Vec<usize>, Complaint> {
    let mut start = 0_usize;
    let mut starts = vec![start];
    for (i, (size, place)) in documents.enumerate() {
        if place != (start * units) as u64 {
            let what =
                format!("document {i} should begin at {unit} {}, not {place}", start * units);
            return Err((what, CUT));
        }
        let size = usize::try_from(size)
            .map_err(|_| (format!("document {i} has the size {size}"), CUT))?;
        start = start
            .checked_add(size)
            .filter(|end| end.checked_mul(element_bytes).is_some())
            .ok_or_else(|| (format!("document {i} ends beyond all memory"), CUT))?;
        starts.push(start);
    }
    Ok(starts)
}

fn check_head(bytes: &[u8], head: usize) -> Result<(), Complaint> {
    if bytes.len() < head {
        let what = format!("it ends after {} bytes, inside its head of {head}", bytes.len());
        return Err((what, CUT));
    }
    Ok(())
}

fn check_version(version: u64) -> Result<(), Complaint> {
    match version {
        1 => Ok(()),
        other => Err((format!("its version is {other}, expected 1"), FOREIGN)),
    }
}

/// The number of documents, if the file is as long as it must be for them.
fn check_length(bytes: &[u8], n: u64, length: Option<u64>) -> Result<usize, Complaint> {
    if length != Some(bytes.len() as u64) {
        let what =
            format!("its head promises {n} documents, which its {} bytes do not hold", bytes.len());
        return Err((what, CUT));
    }
    Ok(usize::try_from(n).expect("the tables lie in memory"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}
