//! Checkpoints: what is trained, the optimiser, and how far the run is; never the base.
//!
//! A checkpoint is a directory `step-000100` holding the trained tensors (a PEFT adapter directory
//! where an adapter is trained, `trained.safetensors` else), `optimizer.bpk` and `state.json`. The
//! learning rate, the position in the data and what dropout draws are functions of the step and the
//! seed, so the step stands for all of them. The directory is written beside its place and
//! renamed into it when it is whole.

use std::fs;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::optim::OptimizerRecord;
use burn_lora_files::{self as files, floats};
use burn_lora_patch::peft::{self, PeftConfig};
use burn_lora_patch::{NamedTensor, set_tensors, trainable_tensors};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::early_stopping::Seen;

const STATE: &str = "state.json";
const OPTIMIZER: &str = "optimizer.bpk";
const TRAINED: &str = "trained.safetensors";
const ADAPTER: &str = "adapter_model.safetensors";

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Steps taken.
    pub step: usize,
    /// What decides dropout, order of rows and initialisation, together with the step.
    pub seed: u64,
    /// What early stopping has seen.
    pub seen: Seen,
}

/// The checkpoints of one run.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    dir: PathBuf,
    keep: usize,
}

impl Checkpoints {
    /// Those in `dir`, of which the newest `keep` are kept.
    pub fn new(dir: impl Into<PathBuf>, keep: usize) -> Self {
        Self { dir: dir.into(), keep: keep.max(1) }
    }

    /// The whole checkpoints, oldest first.
    pub fn list(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(&self.dir) else { return Vec::new() };
        let mut found: Vec<(usize, PathBuf)> = entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name();
                let step = name.to_str()?.strip_prefix("step-")?.parse().ok()?;
                entry.path().join(STATE).is_file().then(|| (step, entry.path()))
            })
            .collect();
        found.sort();
        found.into_iter().map(|(_, path)| path).collect()
    }

    /// Writes a checkpoint and removes those beyond the number to keep.
    ///
    /// # Errors
    ///
    /// A tensor cannot be read from its device, or a file cannot be written.
    pub fn save<M: Module>(
        &self,
        model: &M,
        adapter: Option<&PeftConfig>,
        optimizer: Option<OptimizerRecord>,
        state: &State,
    ) -> Result<PathBuf, TrainError> {
        let place = self.dir.join(format!("step-{:06}", state.step));
        let scratch = files::scratch_dir(&self.dir)?;
        let inside = scratch.path();
        // The record is a copy of the optimiser's state: it goes before the tensors are copied.
        if let Some(record) = optimizer {
            let path = inside.join(OPTIMIZER);
            record.save(&path).map_err(|error| {
                TrainError::io("write", &path)(std::io::Error::other(error.to_string()))
            })?;
        }
        match adapter {
            Some(config) => peft::save(model, inside, config)?,
            None => write_tensors(&inside.join(TRAINED), &trainable_tensors(model)?)?,
        }
        let text = serde_json::to_vec_pretty(state)
            .map_err(|error| TrainError::io("write", &place)(std::io::Error::other(error)))?;
        files::write(&inside.join(STATE), &text)?;
        files::sync_dir(inside)?;
        if place.exists() {
            fs::remove_dir_all(&place).map_err(TrainError::io("replace", &place))?;
        }
        fs::rename(inside, &place).map_err(TrainError::io("write", &place))?;
        files::sync_dir(&self.dir)?;

        let all = self.list();
        for old in &all[..all.len().saturating_sub(self.keep)] {
            fs::remove_dir_all(old).map_err(TrainError::io("remove", old))?;
        }
        Ok(place)
    }
}

/// A checkpoint that was read.
pub struct Restored {
    /// How far the run was.
    pub state: State,
    /// The optimiser, keyed by the identities that a prepared model has.
    pub optimizer: Option<OptimizerRecord>,
}

/// Reads the checkpoint at `path` into the model, all or nothing.
///
/// # Errors
///
/// A file is not there or damaged, or its tensors are not this model's; the model is then as it was.
pub fn restore<M: Module>(model: &mut M, path: &Path) -> Result<Restored, TrainError> {
    let damaged =
        |file: &str, reason: String| TrainError::Damaged { path: path.join(file), reason };
    let text = files::read_text(&path.join(STATE))?;
    let state: State =
        serde_json::from_str(&text).map_err(|error| damaged(STATE, error.to_string()))?;
    let optimizer_path = path.join(OPTIMIZER);
    let optimizer = if optimizer_path.exists() {
        let record = OptimizerRecord::load(&optimizer_path);
        Some(record.map_err(|error| damaged(OPTIMIZER, error.to_string()))?)
    } else {
        None
    };
    let adapter = path.join(ADAPTER);
    let tensors = if adapter.exists() { adapter } else { path.join(TRAINED) };
    set_tensors(model, read_tensors(&tensors)?)?;
    Ok(Restored { state, optimizer })
}

/// Writes the tensors without another copy of them.
fn write_tensors(path: &Path, tensors: &[NamedTensor]) -> Result<(), TrainError> {
    let invalid = |error: safetensors::SafeTensorError| {
        TrainError::io("write", path)(std::io::Error::other(error))
    };
    let views = tensors
        .iter()
        .map(|tensor| {
            let bytes = bytemuck::cast_slice(&tensor.values);
            let view = TensorView::new(Dtype::F32, tensor.shape.clone(), bytes).map_err(invalid)?;
            Ok((tensor.key.as_str(), view))
        })
        .collect::<Result<Vec<_>, TrainError>>()?;
    safetensors::serialize_to_file(views, None, path).map_err(invalid)?;
    // The directory is renamed into place when it is whole: its files must be on the disk by then.
    let file = fs::File::open(path).map_err(TrainError::io("read", path))?;
    file.sync_all().map_err(TrainError::io("write", path))
}

fn read_tensors(path: &Path) -> Result<Vec<NamedTensor>, TrainError> {
    let damaged = |reason: String| TrainError::Damaged { path: path.to_owned(), reason };
    let bytes = fs::read(path).map_err(TrainError::io("read", path))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| damaged(error.to_string()))?;
    file.tensors()
        .into_iter()
        .map(|(key, view)| {
            let values = floats::values(&view).ok_or_else(|| {
                damaged(format!("`{key}` is {:?}, which is no float", view.dtype()))
            })?;
            Ok(NamedTensor { key, shape: view.shape().to_vec(), values })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};

    use super::*;

    fn model() -> Linear {
        let device = burn_lora::device::parse("cpu").unwrap().autodiff();
        LinearConfig::new(3, 2).init(&device)
    }

    fn state(step: usize) -> State {
        State { step, seed: 7, seen: Seen { best: Some(0.5), since: 1 } }
    }

    fn steps(checkpoints: &Checkpoints) -> Vec<String> {
        let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        checkpoints.list().into_iter().map(name).collect()
    }

    #[test]
    fn what_is_saved_comes_back_bit_for_bit() {
        let dir = tempfile::tempdir().unwrap();
        let saved = model();
        let path = Checkpoints::new(dir.path(), 2).save(&saved, None, None, &state(5)).unwrap();
        let mut other = model();
        assert_ne!(trainable_tensors(&other).unwrap(), trainable_tensors(&saved).unwrap());
        let restored = restore(&mut other, &path).unwrap();
        assert_eq!(restored.state, state(5));
        assert_eq!(trainable_tensors(&other).unwrap(), trainable_tensors(&saved).unwrap());
    }

    #[test]
    fn only_the_newest_are_kept_and_half_written_ones_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(dir.path(), 2);
        for step in [1, 2, 10] {
            checkpoints.save(&model(), None, None, &state(step)).unwrap();
        }
        // A lost write leaves a scratch directory, or a place without its last file.
        fs::create_dir(dir.path().join(".step-x.tmp")).unwrap();
        fs::create_dir(dir.path().join("step-000099")).unwrap();
        assert_eq!(steps(&checkpoints), ["step-000002", "step-000010"]);
    }

    #[test]
    fn a_damaged_file_is_named_and_the_model_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = Checkpoints::new(dir.path(), 2).save(&model(), None, None, &state(1)).unwrap();
        let file = path.join(TRAINED);
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, &bytes[..bytes.len() - 4]).unwrap();
        let mut other = model();
        let before = trainable_tensors(&other).unwrap();
        let error = restore(&mut other, &path).err().unwrap().to_string();
        assert!(error.contains("trained.safetensors"), "{error}");
        assert_eq!(trainable_tensors(&other).unwrap(), before);
    }
}
