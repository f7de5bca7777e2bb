//! Checkpoints: what is trained, the optimiser, and how far the run is; never the base.
//!
//! A checkpoint is a directory `step-000100` holding the trained tensors (a PEFT adapter directory
//! where an adapter is trained, `trained.safetensors` else), `optimizer.bpk`, `state.json` and `manifest.json`
//! with size and hash of each of them. The learning rate, the position in the data and what dropout draws are functions of the
//! step and the seed, so the step stands for all of them. The directory is written beside its place and
//! renamed into it when it is whole; equal states make equal files. A checkpoint is used if every file is the one that was
//! written, and refused otherwise.

mod manifest;
mod optimizer;
mod trained;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::optim::OptimizerRecord;
use burn_lora_files as files;
use burn_lora_patch::peft::{self, PeftConfig};
use burn_lora_patch::{set_tensors, trainable_tensors};
use serde::{Deserialize, Serialize};

pub use self::manifest::Origin;

use self::manifest::{MANIFEST, Manifest};
use crate::TrainError;
use crate::early_stopping::Seen;
use crate::history::Covered;

const STATE: &str = "state.json";
const OPTIMIZER: &str = "optimizer.bpk";
const TRAINED: &str = "trained.safetensors";

/// The files of a checkpoint beside those of an adapter.
pub(crate) const FILES: [&str; 4] = [STATE, OPTIMIZER, TRAINED, MANIFEST];

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

/// A checkpoint all of whose files are as they were written.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Its directory.
    pub path: PathBuf,
    /// Whose steps it is of.
    pub origin: Origin,
    /// The part of `metrics.jsonl` that was written by then.
    pub metrics: Covered,
    /// Steps taken.
    pub step: usize,
    optimizer: bool,
}

impl Checkpoints {
    /// Those in `dir`, of which the newest `keep` are kept.
    pub fn new(dir: impl Into<PathBuf>, keep: usize) -> Self {
        Self { dir: dir.into(), keep: keep.max(1) }
    }

    /// Where in `dir` the checkpoint after so many steps lies.
    pub(crate) fn place(dir: &Path, step: usize) -> PathBuf {
        dir.join(format!("step-{step:06}"))
    }

    /// The directories of checkpoints, oldest first; whether they are whole is not looked at.
    pub fn list(&self) -> Vec<PathBuf> {
        self.steps().into_iter().map(|(_, path)| path).collect()
    }

    fn steps(&self) -> Vec<(usize, PathBuf)> {
        let Ok(entries) = fs::read_dir(&self.dir) else { return Vec::new() };
        let mut found: Vec<(usize, PathBuf)> = entries
            .flatten()
            .filter_map(|entry| {
                let step = entry.file_name().to_str()?.strip_prefix("step-")?.parse().ok()?;
                Some((step, entry.path()))
            })
            .collect();
        found.sort();
        found
    }

    /// The newest checkpoint, or none where there is none at all.
    ///
    /// # Errors
    ///
    /// It is not whole; the error names the newest one that is.
    pub fn newest(&self) -> Result<Option<Checkpoint>, TrainError> {
        let mut steps = self.steps();
        let Some((step, path)) = steps.pop() else { return Ok(None) };
        match checked(&path, step) {
            Ok(checkpoint) => Ok(Some(checkpoint)),
            Err((file, reason)) => {
                let whole =
                    steps.into_iter().rev().find(|(step, path)| checked(path, *step).is_ok());
                let whole = whole.map(|(_, path)| path);
                Err(TrainError::Checkpoint { path, file, reason, whole })
            }
        }
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
        (origin, metrics): (&Origin, &Covered),
    ) -> Result<PathBuf, TrainError> {
        let place = Self::place(&self.dir, state.step);
        let scratch = files::scratch_dir(&self.dir)?;
        let inside = scratch.path();
        // The record is a copy of the optimiser's state: it goes before the tensors are copied.
        if let Some(record) = optimizer {
            self::optimizer::write(record, &inside.join(OPTIMIZER))?;
        }
        match adapter {
            Some(config) => peft::save(model, inside, config)?,
            None => trained::write(&inside.join(TRAINED), &trainable_tensors(model)?)?,
        }
        let unwritten = |error: serde_json::Error| TrainError::io("write", &place)(error.into());
        let text = serde_json::to_vec_pretty(state).map_err(unwritten)?;
        files::write(&inside.join(STATE), &text)?;
        let manifest = Manifest {
            step: state.step,
            origin: origin.clone(),
            metrics: metrics.clone(),
            files: Manifest::files(inside)?,
        };
        files::write(&inside.join(MANIFEST), &manifest.sealed().map_err(unwritten)?)?;
        // The directory is renamed into place when it is whole: its files must be on the disk by then.
        flushed(inside)?;
        if place.exists() {
            remove(&place).map_err(TrainError::io("replace", &place))?;
        }
        files::put_in_place(inside, &place)?;

        let all = self.list();
        for old in &all[..all.len().saturating_sub(self.keep)] {
            remove(old).map_err(TrainError::io("remove", old))?;
        }
        Ok(place)
    }
}

/// Reads the manifest and compares every file with it; the file that is not as it was written, and how.
fn checked(path: &Path, step: usize) -> Result<Checkpoint, (String, String)> {
    let Manifest { step, origin, metrics, files } = Manifest::checked(path, step)?;
    let optimizer = files.contains_key(OPTIMIZER);
    Ok(Checkpoint { path: path.to_owned(), origin, metrics, step, optimizer })
}

/// Removes a checkpoint, and nothing that somebody else put beside its files.
fn remove(dir: &Path) -> io::Result<()> {
    if dir.is_symlink() {
        return fs::remove_file(dir);
    }
    for name in FILES.into_iter().chain([peft::CONFIG_FILE, peft::TENSORS_FILE]) {
        match fs::remove_file(dir.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
    }
    match fs::remove_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        removed => removed,
    }
}

fn flushed(dir: &Path) -> Result<(), TrainError> {
    for path in files::names(dir)? {
        let path = dir.join(path);
        let file = fs::File::open(&path).map_err(TrainError::io("read", &path))?;
        file.sync_all().map_err(TrainError::io("write", &path))?;
    }
    Ok(files::sync_dir(dir)?)
}

/// A checkpoint that was read.
pub struct Restored {
    /// How far the run was.
    pub state: State,
    /// The optimiser, keyed by the identities that a prepared model has.
    pub optimizer: Option<OptimizerRecord>,
}

impl Checkpoint {
    /// Reads the checkpoint into the model, all or nothing.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or its tensors are not this model's; the model is then as it was.
    pub fn restore<M: Module>(&self, model: &mut M) -> Result<Restored, TrainError> {
        let at = |file: &str| self.path.join(file);
        let damaged = |file: &str, reason: String| TrainError::Damaged { path: at(file), reason };
        let text = files::read_text(&at(STATE))?;
        let state: State =
            serde_json::from_str(&text).map_err(|error| damaged(STATE, error.to_string()))?;
        let optimizer = match self.optimizer {
            true => Some(
                OptimizerRecord::load(at(OPTIMIZER))
                    .map_err(|error| damaged(OPTIMIZER, error.to_string()))?,
            ),
            false => None,
        };
        let adapter = at(peft::TENSORS_FILE);
        let tensors = if adapter.exists() { adapter } else { at(TRAINED) };
        set_tensors(model, trained::read(&tensors)?)?;
        Ok(Restored { state, optimizer })
    }
}

/// A checkpoint of a model without parameters, for tests of what lies around it.
#[cfg(test)]
pub(crate) fn of_nothing(dir: &Path, step: usize) -> PathBuf {
    let state = State { step, seed: 0, seen: Seen::default() };
    let inputs = crate::inputs::Inputs::default();
    let origin = Origin { seed: 0, settings: String::new(), inputs, time: None };
    let nothing = burn::nn::Relu::new();
    let of = (&origin, &crate::history::History::default().covered());
    Checkpoints::new(dir, 9).save(&nothing, None, None, &state, of).unwrap()
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};

    use super::*;
    use crate::history::History;
    use crate::inputs::Inputs;

    fn model() -> Linear {
        let device = burn_lora::device::parse("cpu").unwrap().autodiff();
        LinearConfig::new(3, 2).init(&device)
    }

    fn state(step: usize) -> State {
        State { step, seed: 7, seen: Seen { best: Some(0.5), since: 1 } }
    }

    fn origin() -> Origin {
        Origin { seed: 7, settings: "s".to_owned(), inputs: Inputs::default(), time: None }
    }

    fn saved(checkpoints: &Checkpoints, model: &Linear, step: usize) -> PathBuf {
        let of = (&origin(), &History::default().covered());
        checkpoints.save(model, None, None, &state(step), of).unwrap()
    }

    fn steps(checkpoints: &Checkpoints) -> Vec<String> {
        let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        checkpoints.list().into_iter().map(name).collect()
    }

    #[test]
    fn what_is_saved_comes_back_bit_for_bit() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(dir.path(), 2);
        assert_eq!(checkpoints.newest().unwrap(), None);
        let of = model();
        let path = saved(&checkpoints, &of, 5);
        let mut other = model();
        assert_ne!(trainable_tensors(&other).unwrap(), trainable_tensors(&of).unwrap());
        let newest = checkpoints.newest().unwrap().unwrap();
        assert_eq!((&newest.path, newest.step, &newest.origin), (&path, 5, &origin()));
        assert_eq!(newest.restore(&mut other).unwrap().state, state(5));
        assert_eq!(trainable_tensors(&other).unwrap(), trainable_tensors(&of).unwrap());
    }

    #[test]
    fn only_the_newest_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(dir.path(), 2);
        for step in [1, 2, 10] {
            saved(&checkpoints, &model(), step);
        }
        fs::create_dir(dir.path().join(".step-x.tmp")).unwrap();
        assert_eq!(steps(&checkpoints), ["step-000002", "step-000010"]);
    }

    /// Every file, cut, lengthened, with a bit of any byte turned, and gone; the whole checkpoint of another step in its place.
    #[test]
    fn a_checkpoint_that_is_not_as_it_was_written_is_refused_by_the_name_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(dir.path(), 9);
        let (of, older) = (model(), model());
        let whole = saved(&checkpoints, &older, 3);
        let path = saved(&checkpoints, &of, 5);
        let refused = |file: &str| match checkpoints.newest().unwrap_err() {
            TrainError::Checkpoint { path: at, file: named, whole: offered, reason } => {
                assert_eq!((&at, offered.as_ref()), (&path, Some(&whole)), "{reason}");
                assert_eq!(named, file, "{reason}");
            }
            other => panic!("{file}: {other}"),
        };
        for file in [MANIFEST, STATE, TRAINED] {
            let at = path.join(file);
            let bytes = fs::read(&at).unwrap();
            let of_older = fs::read(whole.join(file)).unwrap();
            for changed in [&bytes[..bytes.len() - 1], &[], &of_older[..]] {
                fs::write(&at, changed).unwrap();
                refused(file);
            }
            for index in 0..bytes.len() {
                let mut flipped = bytes.clone();
                flipped[index] ^= 1 << (index % 8);
                fs::write(&at, &flipped).unwrap();
                refused(file);
            }
            fs::remove_file(&at).unwrap();
            refused(file);
            fs::write(&at, &bytes).unwrap();
        }
        assert_eq!(checkpoints.newest().unwrap().unwrap().step, 5);

        fs::remove_dir_all(&path).unwrap();
        fs::create_dir(&path).unwrap();
        for file in [MANIFEST, STATE, TRAINED] {
            fs::copy(whole.join(file), path.join(file)).unwrap();
        }
        refused(MANIFEST);
        // The advice of the error, followed.
        fs::remove_dir_all(&path).unwrap();
        let mut resumed = model();
        let newest = checkpoints.newest().unwrap().unwrap();
        assert_eq!(newest.restore(&mut resumed).unwrap().state, state(3));
        assert_eq!(trainable_tensors(&resumed).unwrap(), trainable_tensors(&older).unwrap());
    }

    /// They once went with the checkpoint that they lay in.
    #[test]
    fn files_of_somebody_else_stay_where_an_old_checkpoint_goes() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(dir.path(), 1);
        let of = model();
        let notes = saved(&checkpoints, &of, 3).join("notes.txt");
        fs::write(&notes, "mine").unwrap();
        let plain = saved(&checkpoints, &of, 4);
        saved(&checkpoints, &of, 5);
        assert_eq!(fs::read_to_string(&notes).unwrap(), "mine");
        assert_eq!(burn_lora_files::names(notes.parent().unwrap()).unwrap(), ["notes.txt"]);
        assert!(!plain.exists());
        assert_eq!(checkpoints.newest().unwrap().unwrap().step, 5);
    }

    #[test]
    fn equal_states_make_equal_files() {
        let dir = tempfile::tempdir().unwrap();
        let of = model();
        let [one, other] =
            ["a", "b"].map(|name| saved(&Checkpoints::new(dir.path().join(name), 1), &of, 4));
        for file in [MANIFEST, STATE, TRAINED] {
            assert_eq!(fs::read(one.join(file)).unwrap(), fs::read(other.join(file)).unwrap());
        }
    }
}
