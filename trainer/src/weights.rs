//! Tensors by name <-> safetensors files: into a model's parameters, and out of whatever holds them.
//!
//! Reading is total: a tensor that is missing, left over or of another shape is an error that names it. Writing takes
//! some rows at a time: a model of any size passes through a few megabytes.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, bail};
use cli::BadInput;
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use shards::atomic::{self, AtomicFile};
use shards::direct::Block;
use shards::hash::{FileHash, HashingWriter};
use tch::{Device, Kind, Tensor};

use crate::extent::Extent;
use crate::fault::{Fault, planted};
use crate::params::{Model, Unit};
use crate::stored::{INDEX, SINGLE, Stored};
use crate::units::{EMBEDDING, HEAD, ParamSpec};

/// Fills a model's parameters from a Hugging Face folder.
pub fn load(folder: &Path, model: &mut Model) -> Result<()> {
    let stored = Stored::open_folder(folder).bad_input()?;
    let fill = || -> Result<()> {
        check(&stored, model.units.iter().flat_map(Unit::base_params))?;
        for unit in &model.units {
            for (spec, (piece, place)) in unit.base_params().zip(unit.base_pieces()) {
                copy_numbers(&stored, &spec.name, &spec.held, piece.in_param, &place)?;
            }
        }
        Ok(())
    };
    fill().with_context(|| folder.display().to_string()).bad_input()?;
    model.refresh()
}

/// Fills what stays as it is from a base model; what else there is of it is not looked at.
pub fn load_frozen(folder: &Path, model: &mut Model) -> Result<()> {
    let stored = Stored::open_folder(folder).bad_input()?;
    let fill = || -> Result<()> {
        for unit in &model.units {
            for (spec, (piece, place)) in unit.frozen_params().iter().zip(unit.frozen_pieces()) {
                check_shape(&stored, spec)?;
                copy_numbers(&stored, &spec.name, &spec.held, piece.in_param, &place)?;
            }
        }
        Ok(())
    };
    fill().with_context(|| folder.display().to_string()).bad_input()
}

/// A stored tensor has the shape that is expected.
pub fn check_shape(stored: &Stored, spec: &ParamSpec) -> Result<()> {
    let ParamSpec { name, shape, .. } = spec;
    match stored.shape(name) {
        Some(found) if found == *shape => Ok(()),
        Some(found) => bail!("`{name}` has the shape {found:?}, expected {shape:?}"),
        None => bail!("`{name}` is missing"),
    }
}

/// Every parameter that is trained with its master, in the model's order.
pub fn parameters(model: &Model) -> Vec<(ParamSpec, Tensor)> {
    let of_unit = |unit: &Unit| unit.spec.params.clone().into_iter().zip(unit.master_views());
    model.units.iter().flat_map(of_unit).collect()
}

/// Copies stored tensors into places of the same names and shapes; exactly these names must be stored.
pub fn fill(stored: &Stored, places: &[(ParamSpec, Tensor)]) -> Result<()> {
    check(stored, places.iter().map(|(spec, _)| spec))?;
    for (spec, place) in places {
        copy(stored, &spec.name, place)?;
    }
    Ok(())
}

/// Fills this rank's part of buffers that are laid out as the masters are, from tensors of the parameters' names; exactly
/// these names must be stored. Nothing is read but this part.
pub fn fill_units<'a>(
    stored: &Stored,
    model: &'a Model,
    flat: impl Fn(usize) -> &'a Tensor,
) -> Result<()> {
    check(stored, model.units.iter().flat_map(|unit| &unit.spec.params))?;
    for (number, unit) in model.units.iter().enumerate() {
        for (spec, (piece, place)) in unit.spec.params.iter().zip(unit.pieces(flat(number))) {
            copy_numbers(stored, &spec.name, &spec.held, piece.in_param, &place)?;
        }
    }
    Ok(())
}

/// Copies some of the numbers of a box of a stored tensor, in the box's row order, into a flat place; numbers that are none
/// are refused.
pub fn copy_numbers(
    stored: &Stored,
    name: &str,
    held: &Extent,
    numbers: Range<i64>,
    place: &Tensor,
) -> Result<()> {
    let _no_grad = tch::no_grad_guard();
    let first = numbers.start;
    let mut held = held.clone();
    if planted(Fault::FirstPart) {
        held.offset.iter_mut().skip(1).for_each(|column| *column = 0);
    }
    for start in numbers.clone().step_by(NUMBERS_AT_A_TIME) {
        let end = (start + NUMBERS_AT_A_TIME as i64).min(numbers.end);
        let mut part = place.narrow(0, start - first, end - start);
        part.copy_(&stored.numbers(name, &held, start..end)?);
        check_finite(name, &part)?;
    }
    Ok(())
}

fn check_finite(name: &str, numbers: &Tensor) -> Result<()> {
    if numbers.isfinite().all().int64_value(&[]) == 0 {
        bail!("`{name}` has numbers that are infinite or not a number");
    }
    Ok(())
}

/// Exactly these tensors are stored, with these shapes.
pub fn check<'a>(
    stored: &Stored,
    specs: impl Iterator<Item = &'a ParamSpec> + Clone,
) -> Result<()> {
    let mut wrong = Vec::new();
    let mut expected = std::collections::BTreeSet::new();
    for spec in specs {
        expected.insert(spec.name.as_str());
        match stored.shape(&spec.name) {
            None => wrong.push(format!("`{}` is missing", spec.name)),
            Some(shape) if shape != spec.shape => {
                wrong.push(format!(
                    "`{}` has the shape {shape:?}, expected {:?}",
                    spec.name, spec.shape
                ));
            }
            Some(_) => {}
        }
    }
    let left_over = stored.names().filter(|name| !expected.contains(name) && !is_derived(name));
    for name in left_over {
        if name != HEAD {
            wrong.push(format!("`{name}` is no tensor of this model"));
        } else if !same(stored, HEAD, EMBEDDING)? {
            // Some programs store a tied head a second time.
            wrong.push(format!("`{HEAD}` is not `{EMBEDDING}`, and `tie_word_embeddings` is true"));
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    const SHOWN: usize = 8;
    let more = wrong.len().saturating_sub(SHOWN);
    let mut text = wrong[..wrong.len().min(SHOWN)].join("\n  ");
    if more > 0 {
        text += &format!("\n  and {more} more");
    }
    bail!("the weights are not those of the model in `config.json`:\n  {text}")
}

/// Whether two stored tensors have the same numbers.
fn same(stored: &Stored, one: &str, other: &str) -> Result<bool> {
    let Some(shape) = stored.shape(one) else { return Ok(false) };
    if stored.shape(other) != Some(shape) {
        return Ok(false);
    }
    for rows in row_ranges(shape) {
        if stored.rows(one, rows.clone())? != stored.rows(other, rows)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Copies a stored tensor, whose shape is known to fit, into a place; numbers that are none are refused.
pub fn copy(stored: &Stored, name: &str, place: &Tensor) -> Result<()> {
    let _no_grad = tch::no_grad_guard();
    for rows in row_ranges(&place.size()) {
        let mut part = place.narrow(0, rows.start, rows.end - rows.start);
        part.copy_(&stored.rows(name, rows)?);
        check_finite(name, &part)?;
    }
    Ok(())
}

/// Older conversions stored RoPE's frequencies, which follow from the configuration.
fn is_derived(name: &str) -> bool {
    name.ends_with(".rotary_emb.inv_freq")
}

/// What is written under a name: its shape, and where its rows come from.
pub struct Source<'a> {
    /// The name in the file.
    pub name: String,
    /// The shape in the file.
    pub shape: Vec<i64>,
    rows: Box<dyn Fn(Range<i64>) -> Result<Tensor> + 'a>,
}

impl<'a> Source<'a> {
    /// Rows that are made when they are asked for.
    pub fn new(
        name: impl Into<String>,
        shape: Vec<i64>,
        rows: impl Fn(Range<i64>) -> Result<Tensor> + 'a,
    ) -> Self {
        Self { name: name.into(), shape, rows: Box::new(rows) }
    }

    /// A tensor in memory.
    pub fn tensor(name: impl Into<String>, tensor: &Tensor) -> Source<'static> {
        let (shape, tensor) = (tensor.size(), tensor.detach());
        Source::new(name, shape, move |rows| {
            Ok(tensor.narrow(0, rows.start, rows.end - rows.start))
        })
    }

    /// The first rows of a stored tensor, under another name.
    pub fn stored(stored: &'a Stored, name: &'a str, shape: Vec<i64>) -> Self {
        Self::new(name, shape, move |rows| stored.rows(name, rows))
    }

    /// Some rows.
    pub fn rows(&self, rows: Range<i64>) -> Result<Tensor> {
        (self.rows)(rows)
    }

    fn bytes(&self, kind: Kind) -> u64 {
        self.shape.iter().product::<i64>().cast_unsigned() * kind.elt_size_in_bytes() as u64
    }
}

/// Every parameter of a model, to be written.
pub fn sources(model: &Model) -> Vec<Source<'static>> {
    let parameters = parameters(model).into_iter();
    parameters.map(|(spec, master)| Source::tensor(spec.name, &master)).collect()
}

/// How many numbers are read or written at a time: 16 megabytes of `f32`.
const NUMBERS_AT_A_TIME: usize = 1 << 22;

/// A tensor's rows in stretches of about so many numbers.
pub fn row_ranges(shape: &[i64]) -> impl Iterator<Item = Range<i64>> + use<> {
    let n_rows = shape.first().copied().unwrap_or(1);
    let step = (NUMBERS_AT_A_TIME as i64 / shape.iter().skip(1).product::<i64>().max(1)).max(1);
    (0..n_rows)
        .step_by(usize::try_from(step).unwrap_or(usize::MAX))
        .map(move |start| start..(start + step).min(n_rows))
}

/// Writes tensors as a Hugging Face folder has them: one file, or, if they are more than `max_file_bytes`, several and
/// an index.
pub fn write_folder(
    folder: &Path,
    sources: &[Source<'_>],
    kind: Kind,
    max_file_bytes: u64,
) -> Result<()> {
    // Where each file begins, and the last one ends.
    let (mut starts, mut filled) = (vec![0], 0);
    for (i, source) in sources.iter().enumerate() {
        let bytes = source.bytes(kind);
        if filled > 0 && filled + bytes > max_file_bytes {
            starts.push(i);
            filled = 0;
        }
        filled += bytes;
    }
    if starts.len() == 1 {
        write_file(&folder.join(SINGLE), sources, kind)?;
        return Ok(());
    }
    starts.push(sources.len());

    let mut weight_map = BTreeMap::new();
    for (i, range) in starts.windows(2).enumerate() {
        let name = format!("model-{:05}-of-{:05}.safetensors", i + 1, starts.len() - 1);
        let sources = &sources[range[0]..range[1]];
        write_file(&folder.join(&name), sources, kind)?;
        weight_map.extend(sources.iter().map(|source| (source.name.clone(), name.clone())));
    }
    let total: u64 = sources.iter().map(|source| source.bytes(kind)).sum();
    let index = serde_json::json!({"metadata": {"total_size": total}, "weight_map": weight_map});
    Ok(atomic::write_json(&folder.join(INDEX), &index)?)
}

/// Writes one safetensors file, in this order, converted to `kind`; says what was written, under the file's name.
pub fn write_file(path: &Path, sources: &[Source<'_>], kind: Kind) -> Result<FileHash> {
    let tensors = sources.iter().map(|source| (source.name.clone(), source.shape.clone()));
    let mut file = FileWriter::new(AtomicFile::create(path)?, tensors, kind)?;
    for source in sources {
        for rows in row_ranges(&source.shape) {
            file.write(&source.rows(rows)?)?;
        }
    }
    file.finish()
}

/// A safetensors file that is being written: its tensors' numbers come in order, in pieces of any size. Dropped before it
/// is finished, it leaves nothing.
#[derive(Debug)]
pub struct FileWriter {
    file: HashingWriter<AtomicFile>,
    block: Block,
    name: String,
    kind: Kind,
    /// How many numbers are still to come.
    missing: usize,
}

impl FileWriter {
    /// Begins a file of tensors of these names and shapes.
    pub fn new(
        file: AtomicFile,
        tensors: impl IntoIterator<Item = (String, Vec<i64>)>,
        kind: Kind,
    ) -> Result<Self> {
        let dtype = match kind {
            Kind::Float => Dtype::F32,
            Kind::BFloat16 => Dtype::BF16,
            other => bail!("weights are written as F32 or BF16, not as {other:?}"),
        };
        let width = kind.elt_size_in_bytes();
        let mut end = 0;
        let infos = tensors.into_iter().map(|(name, shape)| {
            let start = end;
            let shape: Vec<usize> =
                shape.iter().map(|&size| usize::try_from(size)).collect::<Result<_, _>>()?;
            end += shape.iter().product::<usize>() * width;
            Ok((name, TensorInfo { dtype, shape, data_offsets: (start, end) }))
        });
        let infos = infos.collect::<Result<_>>()?;
        // transformers asks for this mark; with one entry the map has one order.
        let marks = [("format".to_string(), "pt".to_string())].into();
        let mut header = serde_json::to_vec(&Metadata::new(Some(marks), infos)?)?;
        // Blanks at the end of the header bring the tensors to a multiple of eight bytes, as the format asks for.
        header.resize(header.len().next_multiple_of(8), b' ');

        let name = file.target().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (file, block) = (HashingWriter::new(file), Block::new());
        let mut this = Self { file, block, name, kind, missing: end / width };
        this.put(&(header.len() as u64).to_le_bytes())?;
        this.put(&header)?;
        Ok(this)
    }

    /// Writes the next numbers.
    pub fn write(&mut self, numbers: &Tensor) -> Result<()> {
        self.missing = self.missing.checked_sub(numbers.numel()).with_context(|| {
            format!("`{}` was to have fewer numbers than are written", self.name)
        })?;
        let numbers = numbers.detach().reshape([-1]);
        let width = self.kind.elt_size_in_bytes();
        let (mut start, end) = (0, numbers.size()[0]);
        while start < end {
            let room = self.block.room();
            // What comes first, the header, has a multiple of eight bytes: no number is cut.
            let n = usize::try_from(end - start)?.min(room.len() / width);
            let length = i64::try_from(n)?;
            let some = numbers.narrow(0, start, length).to_kind(self.kind);
            some.to_device(Device::Cpu).copy_data_u8(room, n);
            self.advance(n * width)?;
            start += length;
        }
        Ok(())
    }

    fn put(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let room = self.block.room();
            let n = bytes.len().min(room.len());
            room[..n].copy_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            self.advance(n)?;
        }
        Ok(())
    }

    /// So many bytes came to the block; a full one is written.
    fn advance(&mut self, n: usize) -> Result<()> {
        self.block.advance(n);
        if self.block.room().is_empty() { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.file.write_all(self.block.filled())?;
        self.block.clear();
        Ok(())
    }

    /// Puts the file in its place; all its numbers must be there.
    pub fn finish(mut self) -> Result<FileHash> {
        if self.missing > 0 {
            bail!("`{}` lacks {} numbers", self.name, self.missing);
        }
        self.flush()?;
        let (file, hash) = self.file.finish(self.name);
        file.commit()?;
        Ok(hash)
    }
}
