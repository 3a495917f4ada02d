//! Files with tensors, mapped, and read by name: a base model, a checkpoint, an export.
//!
//! A tensor lies in one piece, or in several: a checkpoint's ranks write a part each. A piece is a box of the tensor
//! (where it begins, how large it is) in the bytes of a file. Whatever is asked for, [`Stored::region`] reads only the
//! pages that hold it; nothing is held in memory but what is given back.

mod pickle;
mod torch_file;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use fs_err as fs;
use memmap2::Mmap;
use safetensors::tensor::{Dtype, SafeTensors};
use serde::Deserialize;
use tch::{Device, Kind, Tensor};

use crate::extent::Extent;

/// The one file of a small model.
pub const SINGLE: &str = "model.safetensors";
/// Which file of a large model has which tensor.
pub const INDEX: &str = "model.safetensors.index.json";
/// The same two, as PyTorch pickles.
const TORCH: [&str; 2] = ["pytorch_model.bin", "pytorch_model.bin.index.json"];

/// Tensors in mapped files.
#[derive(Debug, Default)]
pub struct Stored {
    tensors: BTreeMap<String, Entry>,
    bytes_read: Cell<u64>,
}

#[derive(Debug)]
struct Entry {
    shape: Vec<i64>,
    kind: Kind,
    pieces: Vec<Piece>,
}

/// A box of a tensor in the bytes of a file.
#[derive(Debug)]
struct Piece {
    path: Arc<PathBuf>,
    map: Arc<Mmap>,
    bytes: Range<usize>,
    /// Where the box begins in the tensor.
    offset: Vec<i64>,
    /// How large it is.
    size: Vec<i64>,
    /// How its elements lie in the bytes, in elements.
    stride: Vec<i64>,
}

/// Where one part of a tensor lies: in which file, under which name, and which box of the tensor it is.
#[derive(Clone, Debug)]
pub struct Part {
    /// The safetensors file.
    pub path: PathBuf,
    /// Its name there.
    pub key: String,
    /// Where the box begins in the tensor.
    pub offset: Vec<i64>,
    /// How large it is.
    pub size: Vec<i64>,
}

/// Rows of a stored tensor that lie evenly apart, and where they go, one after the other, in another tensor.
#[derive(Clone, Debug)]
pub struct Strip<'a> {
    /// Whose tensor.
    pub from: &'a Stored,
    /// Its name there.
    pub name: &'a str,
    /// The first row; of a vector, the first number.
    pub first: i64,
    /// From one row to the next.
    pub step: i64,
    /// How many rows.
    pub n: i64,
    /// Where the first one's first number goes.
    pub offset: Vec<i64>,
}

/// The part of an index file that says where tensors are.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Stored {
    /// Opens a model's folder: safetensors or PyTorch pickles, one file or several with an index.
    pub fn open_folder(folder: &Path) -> Result<Self> {
        for (single, index) in [(SINGLE, INDEX), (TORCH[0], TORCH[1])] {
            if folder.join(index).exists() {
                return Self::open_index(folder, index);
            }
            if folder.join(single).exists() {
                return Self::open_files(&[folder.join(single)]);
            }
        }
        bail!(
            "`{}` has none of `{SINGLE}`, `{INDEX}`, `{}`, `{}`\n\
             hint: transformers' `save_pretrained` writes them",
            folder.display(),
            TORCH[0],
            TORCH[1]
        )
    }

    /// Opens the files that an index names; both must know the same tensors.
    fn open_index(folder: &Path, index: &str) -> Result<Self> {
        let index = folder.join(index);
        let text = fs::read_to_string(&index)?;
        let Index { weight_map } =
            serde_json::from_str(&text).with_context(|| index.display().to_string())?;
        let mut names: Vec<&String> = weight_map.values().collect();
        names.sort();
        names.dedup();
        if let Some(strange) = names.iter().find(|it| Path::new(it).components().count() != 1) {
            bail!("`{}` names `{strange}`, which is no file beside it", index.display());
        }
        let paths: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
        let stored = Self::open_files(&paths)?;
        for (name, file) in &weight_map {
            if stored.file(name) != Some(folder.join(file).as_path()) {
                bail!(
                    "`{}` says that `{name}` is in `{file}`, but it is not there",
                    index.display()
                );
            }
        }
        if let Some(name) = stored.names().find(|name| !weight_map.contains_key(*name)) {
            bail!("`{}` does not know `{name}`, which is in its files", index.display());
        }
        Ok(stored)
    }

    /// Opens files whose tensors are whole.
    pub fn open_files(paths: &[PathBuf]) -> Result<Self> {
        let mut stored = Self::default();
        for path in paths {
            for (name, entry) in open(path)? {
                if let Some(other) = stored.file(&name) {
                    bail!("`{name}` is both in `{}` and in `{}`", other.display(), path.display());
                }
                stored.tensors.insert(name, entry);
            }
        }
        Ok(stored)
    }

    /// Opens tensors that lie in parts. The parts of a tensor must cover it, and no number twice.
    pub fn open_parts(tensors: &BTreeMap<String, (Vec<i64>, Vec<Part>)>) -> Result<Self> {
        let mut files: BTreeMap<&Path, BTreeMap<String, Entry>> = BTreeMap::new();
        for part in tensors.values().flat_map(|(_, parts)| parts) {
            if !files.contains_key(part.path.as_path()) {
                files.insert(&part.path, open(&part.path)?);
            }
        }
        let mut stored = Self::default();
        for (name, (shape, parts)) in tensors {
            let mut pieces = Vec::with_capacity(parts.len());
            let mut kind = Kind::Float;
            for part in parts {
                let file = files.get_mut(part.path.as_path()).expect("opened above");
                let entry = file.remove(&part.key).with_context(|| {
                    format!("`{}` has no `{}`, or it is used twice", part.path.display(), part.key)
                })?;
                if entry.shape != part.size {
                    bail!(
                        "`{}` in `{}` has the shape {:?}, expected {:?}",
                        part.key,
                        part.path.display(),
                        entry.shape,
                        part.size
                    );
                }
                kind = entry.kind;
                let piece = entry.pieces.into_iter().next().expect("a file has whole tensors");
                pieces.push(Piece { offset: part.offset.clone(), ..piece });
            }
            check_cover(shape, &pieces).with_context(|| format!("`{name}`"))?;
            let entry = Entry { shape: shape.clone(), kind, pieces };
            stored.tensors.insert(name.clone(), entry);
        }
        for (path, left) in files {
            if let Some(name) = left.keys().next() {
                bail!("`{}` has `{name}`, which belongs to no tensor", path.display());
            }
        }
        Ok(stored)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// A tensor's shape, if there is one of that name.
    pub fn shape(&self, name: &str) -> Option<&[i64]> {
        Some(&self.tensors.get(name)?.shape)
    }

    /// The kind of number in which a tensor is stored.
    pub fn kind(&self, name: &str) -> Option<Kind> {
        Some(self.tensors.get(name)?.kind)
    }

    /// Gives a tensor a second name, as a tied head has.
    pub fn alias(&mut self, name: &str, of: &str) {
        let Some(Entry { shape, kind, pieces }) = self.tensors.get(of) else { return };
        let again = |piece: &Piece| Piece {
            path: piece.path.clone(),
            map: piece.map.clone(),
            bytes: piece.bytes.clone(),
            offset: piece.offset.clone(),
            size: piece.size.clone(),
            stride: piece.stride.clone(),
        };
        let entry =
            Entry { shape: shape.clone(), kind: *kind, pieces: pieces.iter().map(again).collect() };
        self.tensors.insert(name.to_string(), entry);
    }

    /// Puts a tensor together of rows of others, without reading them. They must cover it, and no number twice.
    pub fn compose(&mut self, name: &str, shape: Vec<i64>, strips: &[Strip<'_>]) -> Result<()> {
        let mut kinds = Vec::new();
        let mut pieces = Vec::with_capacity(strips.len());
        for Strip { from, name, first, step, n, offset } in strips {
            let entry = from.tensors.get(*name).with_context(|| format!("`{name}` is missing"))?;
            let [whole] = entry.pieces.as_slice() else { bail!("`{name}` lies in parts") };
            kinds.push(entry.kind);
            pieces.push(whole.strip(*first, *step, *n, offset, entry.kind)?);
        }
        check_cover(&shape, &pieces).with_context(|| format!("`{name}`"))?;
        let kind =
            kinds.first().copied().with_context(|| format!("`{name}` is made of nothing"))?;
        if kinds.iter().any(|it| *it != kind) {
            bail!("the parts of `{name}` are of several kinds: {kinds:?}");
        }
        self.tensors.insert(name.to_string(), Entry { shape, kind, pieces });
        Ok(())
    }

    /// A copy of a tensor, in the kind in which it is stored.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let shape = self.shape(name).with_context(|| format!("`{name}` is missing"))?;
        self.region(name, &vec![0; shape.len()], shape)
    }

    /// A copy of some rows of a tensor; of a vector, some of its numbers.
    pub fn rows(&self, name: &str, rows: Range<i64>) -> Result<Tensor> {
        let shape = self.shape(name).with_context(|| format!("`{name}` is missing"))?;
        let (mut offset, mut size) = (vec![0; shape.len()], shape.to_vec());
        offset[0] = rows.start;
        size[0] = rows.end - rows.start;
        self.region(name, &offset, &size)
    }

    /// A copy of some of the numbers of a box of a tensor, in the box's row order, flat.
    pub fn numbers(&self, name: &str, held: &Extent, numbers: Range<i64>) -> Result<Tensor> {
        let boxes: Vec<Tensor> = held
            .stretch(numbers)
            .iter()
            .map(|it| Ok(self.region(name, &it.offset, &it.size)?.view(-1)))
            .collect::<Result<_>>()?;
        match boxes.as_slice() {
            [one] => Ok(one.shallow_clone()),
            several => Ok(Tensor::f_cat(several, 0)?),
        }
    }

    /// How many bytes of tensors were copied out of the files up to now.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.get()
    }

    /// A copy of a box of a tensor, in the kind in which it is stored.
    pub fn region(&self, name: &str, offset: &[i64], size: &[i64]) -> Result<Tensor> {
        let entry = self.tensors.get(name).with_context(|| format!("`{name}` is missing"))?;
        let wanted: i64 = size.iter().product();
        let region = Tensor::f_empty(size, (entry.kind, Device::Cpu))?;
        let mut covered = 0;
        for piece in &entry.pieces {
            let Some((from, to)) = overlap(offset, size, &piece.offset, &piece.size) else {
                continue;
            };
            let mut place = region.shallow_clone();
            let mut view = piece.view(entry.kind)?;
            for (dim, (&from, &to)) in (0_i64..).zip(from.iter().zip(&to)) {
                let at = usize::try_from(dim)?;
                place = place.f_narrow(dim, from - offset[at], to - from)?;
                view = view.f_narrow(dim, from - piece.offset[at], to - from)?;
            }
            covered += i64::try_from(view.numel())?;
            place.f_copy_(&view)?;
        }
        if covered != wanted {
            bail!("of `{name}`, {covered} numbers are stored where {wanted} are needed");
        }
        let bytes = region.numel() * entry.kind.elt_size_in_bytes();
        self.bytes_read.set(self.bytes_read.get() + bytes as u64);
        Ok(region)
    }

    fn file(&self, name: &str) -> Option<&Path> {
        Some(self.tensors.get(name)?.pieces[0].path.as_path())
    }
}

impl Piece {
    /// Some rows of the box, as a box of another tensor.
    fn strip(&self, first: i64, step: i64, n: i64, offset: &[i64], kind: Kind) -> Result<Self> {
        let inside = |rows: i64| first >= 0 && step > 0 && n > 0 && first + (n - 1) * step < rows;
        let rows = self.size.first().copied().unwrap_or(0);
        if !inside(rows) {
            bail!("{n} rows from {first} on, {step} apart, of a tensor that has {rows}");
        }
        let (mut size, mut stride) = (self.size.clone(), self.stride.clone());
        let start = first * stride[0];
        size[0] = n;
        stride[0] *= step;
        let last: i64 = size.iter().zip(&stride).map(|(size, stride)| (size - 1) * stride).sum();
        let byte = |number: i64| {
            Ok::<_, anyhow::Error>(
                self.bytes.start + usize::try_from(number)? * kind.elt_size_in_bytes(),
            )
        };
        Ok(Self {
            path: self.path.clone(),
            map: self.map.clone(),
            bytes: byte(start)?..byte(start + last + 1)?,
            offset: offset.to_vec(),
            size,
            stride,
        })
    }

    /// The box over the mapped bytes, without a copy where they are aligned.
    fn view(&self, kind: Kind) -> Result<Tensor> {
        let width = kind.elt_size_in_bytes();
        let numel = i64::try_from(self.bytes.len() / width)?;
        let aligned = self.map[self.bytes.clone()].as_ptr().addr().is_multiple_of(width);
        let flat = if aligned {
            #[expect(unsafe_code, reason = "a tensor over mapped bytes is only lent")]
            // SAFETY: the tensor is only read from, by `region`, and does not leave it.
            unsafe {
                torch_ext::blob::from_blob(self.map.clone(), self.bytes.clone(), kind, &[numel])?
            }
        } else {
            Tensor::f_from_data_size(&self.map[self.bytes.clone()], &[numel], kind)?
        };
        Ok(flat.f_as_strided(&self.size, &self.stride, 0)?)
    }
}

/// The box that two boxes have in common, as its first corner and the one behind its last.
fn overlap(
    offset: &[i64],
    size: &[i64],
    piece_offset: &[i64],
    piece_size: &[i64],
) -> Option<(Vec<i64>, Vec<i64>)> {
    let ends = |offset: &[i64], size: &[i64]| -> Vec<i64> {
        offset.iter().zip(size).map(|(offset, size)| offset + size).collect()
    };
    let from: Vec<i64> = offset.iter().zip(piece_offset).map(|(a, b)| *a.max(b)).collect();
    let to: Vec<i64> = ends(offset, size)
        .into_iter()
        .zip(ends(piece_offset, piece_size))
        .map(|(a, b)| a.min(b))
        .collect();
    from.iter().zip(&to).all(|(from, to)| from < to).then_some((from, to))
}

/// Pieces that lie inside the tensor, do not overlap, and hold as many numbers as it cover it exactly.
fn check_cover(shape: &[i64], pieces: &[Piece]) -> Result<()> {
    let mut covered = 0;
    for (i, piece) in pieces.iter().enumerate() {
        let fits = piece.offset.len() == shape.len()
            && piece.size.len() == shape.len()
            && piece.offset.iter().zip(&piece.size).zip(shape).all(|((&offset, &size), &all)| {
                offset >= 0 && offset.checked_add(size).is_some_and(|end| end <= all)
            });
        if !fits {
            bail!("the part at {:?} of the size {:?} does not fit", piece.offset, piece.size);
        }
        let twice = pieces[..i].iter().find(|other| {
            overlap(&other.offset, &other.size, &piece.offset, &piece.size).is_some()
        });
        if let Some(other) = twice {
            bail!("the parts at {:?} and {:?} overlap", other.offset, piece.offset);
        }
        covered += piece.size.iter().product::<i64>();
    }
    let expected: i64 = shape.iter().product();
    if covered != expected {
        bail!("its parts hold {covered} numbers, and it has {expected}");
    }
    Ok(())
}

/// Maps a file and finds its tensors.
fn open(path: &Path) -> Result<BTreeMap<String, Entry>> {
    let file = fs::File::open(path)?;
    if file.metadata()?.len() == 0 {
        bail!("`{}` is empty\nhint: copy or download it again", path.display());
    }
    #[expect(unsafe_code, reason = "mapping a file is unsafe in Rust's terms")]
    // SAFETY: the mapping is only read, and weights are replaced by rename, never changed in place. A foreign
    // program that truncates the file would end this process, not corrupt it.
    let map = unsafe { Mmap::map(file.file()) }.with_context(|| path.display().to_string())?;
    let (path, map) = (Arc::new(path.to_owned()), Arc::new(map));
    let entry = |kind, size: Vec<i64>, stride, bytes| {
        let (path, map) = (path.clone(), map.clone());
        let piece = Piece { path, map, bytes, offset: vec![0; size.len()], size, stride };
        Entry { shape: piece.size.clone(), kind, pieces: vec![piece] }
    };
    if path.extension().is_none_or(|it| it != "safetensors") {
        let places = torch_file::places(&map)
            .with_context(|| format!("`{}` cannot be read", path.display()))?;
        let places = places.into_iter();
        return Ok(places
            .map(|(name, it)| (name, entry(it.kind, it.size, it.stride, it.bytes)))
            .collect());
    }
    let broken = || {
        format!(
            "`{}` is no whole safetensors file\nhint: copy or download it again",
            path.display()
        )
    };
    // This checks the header, every tensor's length, and that the file ends with the last tensor.
    SafeTensors::deserialize(&map).map_err(anyhow::Error::from).with_context(broken)?;
    let (header, metadata) = SafeTensors::read_metadata(&map)?;
    let mut entries = BTreeMap::new();
    let infos: BTreeMap<_, _> = metadata.tensors().into_iter().collect();
    for (name, info) in infos {
        let kind = match info.dtype {
            Dtype::F32 => Kind::Float,
            Dtype::F16 => Kind::Half,
            Dtype::BF16 => Kind::BFloat16,
            other => {
                bail!("`{name}` in `{}` is {other:?}, expected F32, F16 or BF16", path.display())
            }
        };
        let size: Vec<i64> =
            info.shape.iter().map(|&size| i64::try_from(size)).collect::<Result<_, _>>()?;
        // The header's length stands before it in eight bytes.
        let (start, end) = info.data_offsets;
        let bytes = header + 8 + start..header + 8 + end;
        let stride = contiguous(&size);
        entries.insert(name, entry(kind, size, stride, bytes));
    }
    Ok(entries)
}

/// The strides of a tensor whose rows follow one another.
fn contiguous(size: &[i64]) -> Vec<i64> {
    let mut stride = vec![1; size.len()];
    for dim in (1..size.len()).rev() {
        stride[dim - 1] = stride[dim] * size[dim].max(1);
    }
    stride
}
