//! A file of `torch.save` -> where each of its tensors lies in it.
//!
//! It is a zip archive without compression: `NAME/data.pkl` describes the tensors, `NAME/data/KEY` are the storages
//! that they are views of.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::ops::Range;

use anyhow::{Context, Result, bail};
use tch::Kind;
use zip::{CompressionMethod, ZipArchive};

use super::pickle::{self, View};

/// A tensor in the bytes of a file.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) kind: Kind,
    pub(super) size: Vec<i64>,
    pub(super) stride: Vec<i64>,
    pub(super) bytes: Range<usize>,
}

/// The pickle of a state dict is a few hundred bytes a tensor.
const LONGEST_PICKLE: u64 = 1 << 28;

pub(super) fn places(file: &[u8]) -> Result<BTreeMap<String, Place>> {
    if !file.starts_with(b"PK") {
        bail!(
            "it is no zip archive, as `torch.save` writes since PyTorch 1.6\n\
             hint: load and save it with a newer PyTorch, or take the model as safetensors"
        );
    }
    let mut archive = ZipArchive::new(Cursor::new(file)).context("it is no whole zip archive")?;
    let mut pickled = None;
    let mut records = BTreeMap::new();
    for i in 0..archive.len() {
        let mut record = archive.by_index(i).context("it is no whole zip archive")?;
        if record.compression() != CompressionMethod::Stored {
            bail!("`{}` in it is compressed, which `torch.save` never does", record.name());
        }
        let start = record.data_start().context("a record without data")?;
        let start = usize::try_from(start)?;
        let end = start.checked_add(usize::try_from(record.size())?);
        let end = end.filter(|&end| end <= file.len()).context("it is cut short")?;
        let (_, name) = record.name().split_once('/').unwrap_or(("", record.name()));
        if name == "byteorder" && file[start..end] != *b"little" {
            bail!("its numbers are big-endian");
        }
        if name == "data.pkl" {
            if record.size() > LONGEST_PICKLE {
                bail!("its pickle has {} bytes", record.size());
            }
            let mut bytes = Vec::new();
            record.read_to_end(&mut bytes).context("its pickle is damaged")?;
            pickled = Some(bytes);
        } else if let Some(key) = name.strip_prefix("data/") {
            records.insert(key.to_string(), start..end);
        }
    }
    let views = pickle::tensors(&pickled.context("it has no `data.pkl`")?)?;
    let place = |(name, view): (String, View)| {
        let place = place(view, &records).with_context(|| format!("`{name}`"))?;
        Ok((name, place))
    };
    views.into_iter().map(place).collect()
}

/// The bytes that a view covers, first to last element.
fn place(view: View, records: &BTreeMap<String, Range<usize>>) -> Result<Place> {
    let View { kind, storage, offset, size, stride } = view;
    let record = records.get(&storage);
    let record = record.with_context(|| format!("its storage `{storage}` is not in the file"))?;
    if size.len() != stride.len() || size.iter().chain(&stride).any(|&it| it < 0) || offset < 0 {
        bail!("it has the size {size:?}, the stride {stride:?} and the offset {offset}");
    }
    let steps = size.iter().zip(&stride);
    let last = steps.clone().try_fold(0_i64, |last, (&size, &stride)| {
        last.checked_add((size - 1).max(0).checked_mul(stride)?)
    });
    let length = if size.contains(&0) { Some(0) } else { last.and_then(|it| it.checked_add(1)) };
    let width = kind.elt_size_in_bytes();
    let range = || {
        let start = record.start.checked_add(usize::try_from(offset).ok()?.checked_mul(width)?)?;
        let end = start.checked_add(usize::try_from(length?).ok()?.checked_mul(width)?)?;
        (end <= record.end).then_some(start..end)
    };
    let bytes = range().context("it reaches beyond its storage")?;
    Ok(Place { kind, size, stride, bytes })
}
