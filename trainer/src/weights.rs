//! Safetensors files <-> tensors by name: the base model's folder, checkpoints and exports.
//!
//! Files are mapped, and a tensor is copied when it is asked for: reading a model costs its parameters once. Both
//! directions are total: a tensor that is missing, left over or of another shape is an error that names it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use cli::BadInput;
use fs_err as fs;
use memmap2::Mmap;
use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorInfo};
use serde::Deserialize;
use shards::atomic::{self, AtomicFile};
use tch::{Kind, Tensor};

use crate::params::{Model, ParamSpec};

/// The one file of a small model.
pub const SINGLE: &str = "model.safetensors";
/// Which file of a large model has which tensor.
pub const INDEX: &str = "model.safetensors.index.json";

/// Fills a model's parameters from a Hugging Face folder.
pub fn load(folder: &Path, model: &mut Model) -> Result<()> {
    let stored = Stored::open_folder(folder).bad_input()?;
    fill(&stored, &parameters(model)).with_context(|| folder.display().to_string()).bad_input()?;
    model.refresh();
    Ok(())
}

/// Every parameter of a model with its master, in the model's order.
pub fn parameters(model: &Model) -> Vec<(ParamSpec, Tensor)> {
    let of_unit =
        |unit: &crate::params::Unit| unit.spec.params.clone().into_iter().zip(unit.master_views());
    model.units.iter().flat_map(of_unit).collect()
}

/// Copies stored tensors into places of the same names and shapes; exactly these names must be stored.
pub fn fill(stored: &Stored, places: &[(ParamSpec, Tensor)]) -> Result<()> {
    let mut wrong = Vec::new();
    for (spec, _) in places {
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
    let expected: Vec<&str> = places.iter().map(|(spec, _)| spec.name.as_str()).collect();
    let left_over = stored.names().filter(|name| !expected.contains(name) && !is_derived(name));
    wrong.extend(left_over.map(|name| format!("`{name}` is no tensor of this model")));
    if !wrong.is_empty() {
        const SHOWN: usize = 8;
        let more = wrong.len().saturating_sub(SHOWN);
        let mut text = wrong[..wrong.len().min(SHOWN)].join("\n  ");
        if more > 0 {
            text += &format!("\n  and {more} more");
        }
        bail!("the weights are not those of the model in `config.json`:\n  {text}");
    }

    let _no_grad = tch::no_grad_guard();
    for (spec, place) in places {
        let mut place = place.shallow_clone();
        place.copy_(&stored.tensor(&spec.name)?);
        if place.isfinite().all().int64_value(&[]) == 0 {
            bail!("`{}` has numbers that are infinite or not a number", spec.name);
        }
    }
    Ok(())
}

/// Older conversions stored RoPE's frequencies, which follow from the configuration.
fn is_derived(name: &str) -> bool {
    name.ends_with(".rotary_emb.inv_freq")
}

/// Tensors in mapped safetensors files.
#[derive(Debug)]
pub struct Stored {
    files: Vec<MappedFile>,
    /// The file of each tensor.
    places: BTreeMap<String, usize>,
}

#[derive(Debug)]
struct MappedFile {
    path: PathBuf,
    map: Mmap,
    /// Where the tensors' bytes begin.
    start: usize,
    tensors: BTreeMap<String, TensorInfo>,
}

/// The part of an index file that says where tensors are.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Stored {
    /// Opens a model's folder: one file, or several with an index.
    pub fn open_folder(folder: &Path) -> Result<Self> {
        let index = folder.join(INDEX);
        if !index.exists() {
            let single = folder.join(SINGLE);
            if !single.exists() {
                bail!(
                    "`{}` has neither `{SINGLE}` nor `{INDEX}`\n\
                     hint: weights are read as safetensors; transformers' `save_pretrained` writes them",
                    folder.display()
                );
            }
            return Self::open_files(&[single]);
        }
        let text = fs::read_to_string(&index)?;
        let Index { weight_map } =
            serde_json::from_str(&text).with_context(|| index.display().to_string())?;
        let mut names: Vec<&String> = weight_map.values().collect();
        names.sort();
        names.dedup();
        let paths: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
        let stored = Self::open_files(&paths)?;
        for (tensor, file) in &weight_map {
            if stored.places.get(tensor).is_none_or(|&place| paths[place] != folder.join(file)) {
                bail!("`{}` says that `{tensor}` is in `{file}`, but it is not", index.display());
            }
        }
        Ok(stored)
    }

    /// Opens files whose tensors have different names.
    pub fn open_files(paths: &[PathBuf]) -> Result<Self> {
        let mut places = BTreeMap::new();
        let mut files = Vec::new();
        for path in paths {
            let file = MappedFile::open(path)?;
            for name in file.tensors.keys() {
                if let Some(other) = places.insert(name.clone(), files.len()) {
                    let other: &MappedFile = &files[other];
                    bail!(
                        "`{name}` is both in `{}` and in `{}`",
                        other.path.display(),
                        path.display()
                    );
                }
            }
            files.push(file);
        }
        Ok(Self { files, places })
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// A tensor's shape, if there is one of that name.
    pub fn shape(&self, name: &str) -> Option<Vec<i64>> {
        let info = &self.files[*self.places.get(name)?].tensors[name];
        info.shape.iter().map(|&size| i64::try_from(size).ok()).collect()
    }

    /// A copy of a tensor, in the kind in which it is stored.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let place = *self.places.get(name).with_context(|| format!("`{name}` is missing"))?;
        let file = &self.files[place];
        let info = &file.tensors[name];
        let kind = match info.dtype {
            Dtype::F32 => Kind::Float,
            Dtype::F16 => Kind::Half,
            Dtype::BF16 => Kind::BFloat16,
            other => bail!(
                "`{name}` in `{}` is {other:?}, expected F32, F16 or BF16",
                file.path.display()
            ),
        };
        let shape = self.shape(name).context("sizes fit 63 bits")?;
        let (start, end) = info.data_offsets;
        Ok(Tensor::f_from_data_size(&file.map[file.start + start..file.start + end], &shape, kind)?)
    }
}

impl MappedFile {
    fn open(path: &Path) -> Result<Self> {
        let file = fs::File::open(path)?;
        #[expect(unsafe_code, reason = "mapping a file is unsafe in Rust's terms")]
        // SAFETY: the mapping is only read, and weights are replaced by rename, never changed in place. A foreign
        // program that truncates the file would end this process, not corrupt it.
        let map = unsafe { Mmap::map(file.file()) }.with_context(|| path.display().to_string())?;
        let broken = || {
            format!(
                "`{}` is no whole safetensors file\nhint: copy or download it again",
                path.display()
            )
        };
        // This checks the header, every tensor's length, and that the file ends with the last tensor.
        SafeTensors::deserialize(&map).map_err(anyhow::Error::from).with_context(broken)?;
        let (header, metadata) = SafeTensors::read_metadata(&map)?;
        let tensors =
            metadata.tensors().into_iter().map(|(name, info)| (name, info.clone())).collect();
        // The header's length stands before it in eight bytes.
        Ok(Self { path: path.to_owned(), map, start: header + 8, tensors })
    }
}

/// Writes tensors as a Hugging Face folder has them: one file, or, if they are more than `max_file_bytes`, several and
/// an index. A tensor is converted to `kind` when its turn comes; no second copy of the model is made.
pub fn write_folder(
    folder: &Path,
    tensors: &[(ParamSpec, Tensor)],
    kind: Kind,
    max_file_bytes: u64,
) -> Result<()> {
    let bytes_of =
        |spec: &ParamSpec| spec.numel().cast_unsigned() * kind.elt_size_in_bytes() as u64;
    let mut files: Vec<Vec<&(ParamSpec, Tensor)>> = vec![Vec::new()];
    let mut filled = 0;
    for tensor in tensors {
        let bytes = bytes_of(&tensor.0);
        if filled > 0 && filled + bytes > max_file_bytes {
            files.push(Vec::new());
            filled = 0;
        }
        filled += bytes;
        files.last_mut().expect("begun with one").push(tensor);
    }
    if let [tensors] = files.as_slice() {
        return write_file(
            &folder.join(SINGLE),
            tensors.iter().map(|(spec, it)| (spec.name.as_str(), it)),
            kind,
        );
    }

    let mut weight_map = BTreeMap::new();
    for (i, tensors) in files.iter().enumerate() {
        let name = format!("model-{:05}-of-{:05}.safetensors", i + 1, files.len());
        write_file(
            &folder.join(&name),
            tensors.iter().map(|(spec, it)| (spec.name.as_str(), it)),
            kind,
        )?;
        weight_map.extend(tensors.iter().map(|(spec, _)| (spec.name.clone(), name.clone())));
    }
    let total: u64 = tensors.iter().map(|(spec, _)| bytes_of(spec)).sum();
    let index = serde_json::json!({"metadata": {"total_size": total}, "weight_map": weight_map});
    Ok(atomic::write_json(&folder.join(INDEX), &index)?)
}

/// Writes one safetensors file, in this order. A tensor is converted to `kind` when its turn comes.
pub fn write_file<'a>(
    path: &Path,
    tensors: impl Iterator<Item = (&'a str, &'a Tensor)> + Clone,
    kind: Kind,
) -> Result<()> {
    let dtype = match kind {
        Kind::Float => Dtype::F32,
        Kind::BFloat16 => Dtype::BF16,
        other => bail!("weights are written as F32 or BF16, not as {other:?}"),
    };
    let mut end = 0;
    let infos = tensors.clone().map(|(name, tensor)| {
        let start = end;
        end += tensor.numel() * kind.elt_size_in_bytes();
        let shape = tensor.size().into_iter().map(usize::try_from).collect::<Result<_, _>>()?;
        Ok((name.to_string(), TensorInfo { dtype, shape, data_offsets: (start, end) }))
    });
    // transformers asks for this mark; with one entry the map has one order.
    let marks = [("format".to_string(), "pt".to_string())].into();
    let header = Metadata::new(Some(marks), infos.collect::<Result<_>>()?)?;
    let mut header = serde_json::to_vec(&header)?;
    // Blanks at the end of the header bring the tensors to a multiple of eight bytes, as the format asks for.
    header.resize(header.len().next_multiple_of(8), b' ');

    let mut file = AtomicFile::create(path)?;
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(&header)?;
    for (_, tensor) in tensors {
        file.write_all(&bytes(&tensor.to_kind(kind)))?;
    }
    Ok(file.commit()?)
}

/// A tensor's numbers as bytes, in row order.
pub fn bytes(tensor: &Tensor) -> Vec<u8> {
    let tensor = tensor.detach().to_device(tch::Device::Cpu).contiguous();
    let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
    tensor.copy_data_u8(&mut bytes, tensor.numel());
    bytes
}
