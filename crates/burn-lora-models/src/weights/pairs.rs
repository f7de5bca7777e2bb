//! The tensors of a checkpoint, or of two checkpoints of one model, one after the other, so that of either only one tensor is in memory.

use std::collections::BTreeMap;
use std::path::Path;

use super::checkpoint::{Checkpoint, Entry};
use super::load::{CheckpointKeys, fitted};
use super::{Builder, Role, Source, Storage, TensorSpec, Values};
use crate::ModelError;

/// One tensor as two checkpoints have it, in f32, row by row as files do: a linear's weight is `[d_out, d_in]`.
#[derive(Debug)]
pub struct TensorPair<'a> {
    /// The model's key of it, its shape in files, and what it is for.
    pub spec: &'a TensorSpec,
    /// In the one; none where it would start afresh there (a classification head).
    pub one: Option<Vec<f32>>,
    /// In the other.
    pub other: Option<Vec<f32>>,
}

impl TensorPair<'_> {
    /// Whether it is the weight of a linear that files store `[d_in, d_out]` (transformers' `Conv1D`).
    pub fn is_conv1d(&self) -> bool {
        self.spec.role == Role::Conv1d
    }

    /// Whether it is the weight of a linear.
    pub fn is_linear(&self) -> bool {
        matches!(self.spec.role, Role::Linear | Role::Conv1d)
    }
}

/// The model by its shapes. `show` is given each of its tensors as the two checkpoints have it, `progress` the bytes read
/// so far and of all there are.
pub(crate) fn pairs<M>(
    [one, other]: [&Path; 2],
    at: Storage<'_>,
    keys: &CheckpointKeys,
    build: impl Fn(&mut Builder<'_>) -> Result<M, ModelError>,
    show: &mut dyn FnMut(TensorPair<'_>) -> bool,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<M, ModelError> {
    let open =
        |dir: &Path| fitted(dir, at, keys, &build).map(|(_, files, plan)| (files, plan.entries));
    let files = [open(one)?, open(other)?];
    let total = files.iter().flat_map(|(_, entries)| entries.values()).map(|entry| entry.len).sum();
    let mut source = Pairs { files, done: 0, total, is_over: false, show, progress };
    build(&mut Builder::new(&mut source, at))
}

/// The model by its shapes. `show` is given each tensor that the checkpoint has, in f32, row by row as files do, and says
/// whether it wants more; `progress` the bytes read so far and of all there are.
pub(crate) fn each<M>(
    dir: &Path,
    at: Storage<'_>,
    keys: &CheckpointKeys,
    build: impl Fn(&mut Builder<'_>) -> Result<M, ModelError>,
    show: &mut dyn FnMut(&TensorSpec, Vec<f32>) -> bool,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<M, ModelError> {
    let (_, files, plan) = fitted(dir, at, keys, &build)?;
    let total = plan.entries.values().map(|entry| entry.len).sum();
    let entries = plan.entries;
    let mut source = Each { files, entries, done: 0, total, is_over: false, show, progress };
    build(&mut Builder::new(&mut source, at))
}

struct Each<'a> {
    files: Checkpoint,
    entries: BTreeMap<String, Entry>,
    done: u64,
    total: u64,
    /// Whether nobody wants to see more.
    is_over: bool,
    show: &'a mut dyn FnMut(&TensorSpec, Vec<f32>) -> bool,
    progress: &'a mut dyn FnMut(u64, u64),
}

impl Source for Each<'_> {
    fn values(&mut self, spec: &TensorSpec) -> Result<Option<Values>, ModelError> {
        let Some(entry) = self.entries.get(&spec.key).filter(|_| !self.is_over) else {
            return Ok(None);
        };
        let stored = spec.as_stored(spec.shape.clone());
        let (done, total, progress) = (&mut self.done, self.total, &mut self.progress);
        let values = self.files.read::<f32>(entry, &stored, &mut |bytes| {
            *done += bytes;
            progress(*done, total);
        })?;
        self.is_over = !(self.show)(spec, values);
        Ok(None)
    }
}

struct Pairs<'a> {
    files: [(Checkpoint, BTreeMap<String, Entry>); 2],
    done: u64,
    total: u64,
    /// Whether nobody wants to see more.
    is_over: bool,
    show: &'a mut dyn FnMut(TensorPair<'_>) -> bool,
    progress: &'a mut dyn FnMut(u64, u64),
}

impl Source for Pairs<'_> {
    fn values(&mut self, spec: &TensorSpec) -> Result<Option<Values>, ModelError> {
        if self.is_over {
            return Ok(None);
        }
        let stored = spec.as_stored(spec.shape.clone());
        let (done, total, progress) = (&mut self.done, self.total, &mut self.progress);
        let mut read = |(files, entries): &mut (Checkpoint, BTreeMap<String, Entry>)| {
            let Some(entry) = entries.get(&spec.key) else { return Ok(None) };
            let values = files.read::<f32>(entry, &stored, &mut |bytes| {
                *done += bytes;
                progress(*done, total);
            });
            values.map(Some)
        };
        let [one, other] = &mut self.files;
        let (one, other) = (read(one)?, read(other)?);
        self.is_over = !(self.show)(TensorPair { spec, one, other });
        Ok(None)
    }
}
