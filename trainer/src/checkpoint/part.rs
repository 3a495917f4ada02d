//! What one rank keeps of the state -> its files of a checkpoint.
//!
//! Ranks that share the state write what they have of it; ranks that all have the whole of it write a share each, which is
//! what they would have if they shared it. No number is written twice, and none is sent to another rank for it.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::thread;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use shards::atomic::AtomicFile;
use shards::hash::FileHash;
use tch::{Kind, Tensor};

use crate::checkpoint::record::{KINDS, Place, Places, part_file};
use crate::extent::Extent;
use crate::fault::{Fault, planted};
use crate::params::{Model, Moments};
use crate::snapshot::{Buffers, Snapshot};
use crate::units::{ParamSpec, Piece};
use crate::weights::FileWriter;

/// What a rank writes, a unit after the other.
#[derive(Clone, Debug)]
pub struct Layout {
    part: usize,
    parts: usize,
    units: Vec<Vec<Stretch>>,
}

/// Some of a parameter's numbers, and where they lie in the rank's buffer.
#[derive(Clone, Debug)]
struct Stretch {
    name: String,
    shape: Vec<i64>,
    /// Which box of the parameter the rank holds, and which of the box's numbers these are.
    held: Extent,
    in_param: Range<i64>,
    start: i64,
}

/// A part that is on the disk.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its files.
    pub(crate) files: Vec<FileHash>,
    /// Which boxes of which parameters are in them.
    pub(crate) tensors: BTreeMap<String, Places>,
}

/// What this rank writes of a model's masters and moments, and the buffers that it lies in.
pub fn share(model: &Model, moments: &[Moments]) -> (Layout, Vec<Buffers>) {
    let mesh = model.mesh();
    let (part, parts) = (mesh.world.rank(), mesh.world.size());
    let mut layout = Layout { part, parts, units: Vec::new() };
    let mut buffers = Vec::new();
    let stage = model.stage();
    for (number, (unit, moments)) in model.units.iter().zip(moments).enumerate() {
        let range = match planted(Fault::ReplicasWritten) {
            true => mesh.shard.part(unit.padded()),
            false => mesh.own(unit.padded()),
        };
        let pieces = unit.spec.params.iter().zip(unit.spec.pieces(&range));
        // Of what all ranks of a tensor group have, the first writes one; of what two stages have, the one whose it is.
        let writes = |spec: &ParamSpec| {
            let ours = stage.contains(&number) || planted(Fault::TiedWrittenTwice);
            ours && (mesh.tensor.leads() || !spec.share.is_copy())
        };
        let pieces = pieces.filter(|(spec, piece)| !piece.in_param.is_empty() && writes(spec));
        let stretch = |(spec, piece): (&ParamSpec, Piece)| Stretch {
            name: spec.name.clone(),
            shape: spec.shape.clone(),
            held: spec.held.clone(),
            in_param: piece.in_param,
            start: piece.in_part.start,
        };
        let mut stretches: Vec<Stretch> = pieces.map(stretch).collect();
        if planted(Fault::FirstBox) {
            stretches.iter_mut().for_each(|it| it.held.offset.fill(0));
        }
        layout.units.push(stretches);
        let ours = [&unit.master, &moments.exp_avg, &moments.exp_avg_sq].map(|flat| {
            flat.detach().narrow(0, range.start - unit.range.start, range.end - range.start)
        });
        buffers.push(ours);
    }
    (layout, buffers)
}

impl Layout {
    /// Writes the part into a checkpoint's folder: one file a kind of number, all of them in one walk over the units.
    pub fn write(&self, folder: &Path, snapshot: &Snapshot) -> Result<Part> {
        let mut tensors: BTreeMap<String, Places> = BTreeMap::new();
        let mut keys = Vec::new();
        for stretch in self.units.iter().flatten() {
            let Stretch { name, shape, held, in_param, .. } = stretch;
            let places = tensors
                .entry(name.clone())
                .or_insert_with(|| Places { shape: shape.clone(), boxes: Vec::new() });
            for extent in held.stretch(in_param.clone()) {
                keys.push((extent.key(name, shape), extent.size.clone()));
                let Extent { offset, size } = extent;
                places.boxes.push(Place { offset, size, part: self.part });
            }
        }
        let create = |kind| {
            let path = folder.join(part_file(kind, self.part, self.parts));
            // A file that is not read soon would only drive out of the page cache what is.
            FileWriter::new(AtomicFile::create_direct(&path)?, keys.clone(), Kind::Float)
        };
        let mut files = KINDS.map(create).into_iter().collect::<Result<Vec<_>>>()?;
        for (unit, stretches) in self.units.iter().enumerate() {
            snapshot.read(unit, |buffers| {
                let both = files.iter_mut().zip(buffers.each_ref().map(Tensor::shallow_clone));
                side_by_side(both, |(file, flat)| {
                    stretches.iter().try_for_each(|Stretch { in_param, start, .. }| {
                        // Boxes of a stretch follow one another as its numbers do.
                        file.write(&flat.narrow(0, *start, in_param.end - in_param.start))
                    })
                })
                .map(drop)
            })?;
        }
        let files = side_by_side(files, FileWriter::finish)?;
        Ok(Part { files, tensors })
    }
}

/// Does the same with several things, each in a thread: while one waits for the disk, others hash. Of several errors, gives
/// the first one's.
fn side_by_side<T: Send, R: Send>(
    things: impl IntoIterator<Item = T>,
    action: impl Fn(T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let action = &action;
    thread::scope(|scope| {
        let start = |thing| {
            thread::Builder::new()
                .name("checkpoint".into())
                .spawn_scoped(scope, move || action(thing))
        };
        let threads: Vec<_> = things.into_iter().map(start).collect::<io::Result<_>>()?;
        let ends = threads.into_iter().map(|thread| thread.join());
        ends.map(|end| end.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}
