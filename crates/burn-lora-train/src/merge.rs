//! Merging a run's adapter into its base: one Hugging Face directory, no latency added.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use burn_lora_models::SaveDtype;
use burn_lora_patch::{atomic, merge_and_unload, peft};
use serde::Serialize;

use crate::config::{ModelSource, RunConfig};
use crate::directory::RunDirectory;
use crate::dry_run::DryWrite;
use crate::export::ExportError;
use crate::learner::Objective;
use crate::observe::Observer;
use crate::prepare::Kind;
use crate::run::copy_tokenizer;
use crate::{TrainError, base, files, located, with_model};
use burn_lora_files::lossy;

/// What to merge into what.
#[derive(Debug, Clone)]
pub struct MergeOptions {
    /// The directory to write; it must not exist.
    pub out: PathBuf,
    /// The number format to write.
    pub dtype: SaveDtype,
    /// The largest difference of a logit that is allowed; none: not compared.
    pub tolerance: Option<f64>,
}

/// What a merge came to.
#[derive(Debug, Clone, Serialize)]
pub struct Merged {
    /// The directory written.
    #[serde(serialize_with = "lossy")]
    pub out: PathBuf,
    /// The largest difference between a logit of the adapted model and of the merged one as read
    /// back from its files, where they were compared.
    pub difference: Option<f64>,
    /// The number format written.
    pub dtype: SaveDtype,
}

/// Merges the adapter of the finished run at `dir` (or, after `method = "full"`, just writes its
/// model) as a Hugging Face directory with its tokenizer.
///
/// # Errors
///
/// No finished run, a directory that exists already, weights that do not fit; with a tolerance, a
/// merged model that answers differently, which is then not written.
pub fn merge(
    dir: &Path,
    options: &MergeOptions,
    observer: &Observer,
) -> Result<Merged, TrainError> {
    let task = Task::of(dir, options)?;
    with_model!(Kind::of(&task.config, observer)?, Model => {
        write::<Model>(task, options, observer)
    })
}

/// What [`merge`] would write, found out by loading base and adapter; nothing is written or
/// downloaded.
///
/// # Errors
///
/// Those of [`merge`] that come before anything is written; a base that would have to be downloaded.
pub fn merge_dry_run(
    dir: &Path,
    options: &MergeOptions,
    observer: &Observer,
) -> Result<DryWrite, TrainError> {
    let task = Task::of(dir, options)?;
    let config = &task.config;
    if let ModelSource::Pretrained(base) = &config.model.source {
        located::present(base)?;
    }
    located::present(&config.model.tokenizer)?;
    let weights = with_model!(Kind::of(config, observer)?, Model => {
        sizes::<Model>(&task, options, observer)
    })?;
    let mut dry = DryWrite::new(&options.out);
    for (name, bytes) in weights {
        dry.add(name, bytes);
    }
    for (name, content) in base::tokenizer(config, observer)?.files()? {
        dry.add(name, content.len() as u64);
    }
    Ok(dry)
}

fn sizes<M: Objective>(
    task: &Task,
    options: &MergeOptions,
    observer: &Observer,
) -> Result<Vec<(&'static str, u64)>, TrainError> {
    // The adapter is loaded only to see that it fits: merging changes no tensor's size.
    Ok(task.adapted::<M>(observer)?.file_sizes(options.dtype)?)
}

/// What is merged, from the run's directory.
struct Task {
    config: RunConfig,
    adapter: Option<PathBuf>,
    device: Device,
}

impl Task {
    fn of(dir: &Path, options: &MergeOptions) -> Result<Self, TrainError> {
        let directory = RunDirectory::new(dir);
        let mut config = directory.read_config(&[])?;
        let adapter = directory.trained(&mut config);
        if options.out.exists() {
            return Err(ExportError::Exists { out: options.out.clone() }.into());
        }
        let device = burn_lora::device::parse(&config.train.device)?;
        Ok(Self { config, adapter, device })
    }

    /// The base with the adapter on it, or what was trained as a whole.
    fn adapted<M: Objective>(&self, observer: &Observer) -> Result<M, TrainError> {
        let (mut model, _) = base::load::<M>(&self.config, &self.device, observer)?;
        if let Some(adapter) = &self.adapter {
            peft::load(&mut model, adapter, &peft::LoadOptions::default())?;
        }
        Ok(model)
    }
}

fn write<M: Objective>(
    task: Task,
    options: &MergeOptions,
    observer: &Observer,
) -> Result<Merged, TrainError> {
    let model = task.adapted::<M>(observer)?;
    let Task { config, adapter, device } = task;
    let adapted = options.tolerance.map(|_| model.probe(&device));
    observer.stage("merging");
    // What `method = "full"` trained has nothing attached to it.
    let model = if adapter.is_some() { merge_and_unload(model)? } else { model };

    // Written beside its place and renamed, so that a model that differs is never there to be used.
    let parent = atomic::parent(&options.out);
    let scratch = files::scratch_dir(parent)?;
    model.save(scratch.path(), options.dtype)?;
    copy_tokenizer(&base::tokenizer(&config, observer)?, scratch.path())?;
    drop(model);

    let mut difference = None;
    if let (Some(adapted), Some(tolerance)) = (adapted, options.tolerance) {
        observer.stage("comparing with the adapted model");
        let (merged, _) = M::load(scratch.path(), &device, &mut |_, _| {})?;
        let found = largest_difference(adapted, merged.probe(&device))?;
        if found > tolerance || found.is_nan() {
            return Err(TrainError::MergeDiffers { difference: found, tolerance });
        }
        difference = Some(found);
    }
    std::fs::rename(scratch.path(), &options.out).map_err(TrainError::io("write", &options.out))?;
    files::sync_dir(parent)?;
    observer.done();
    Ok(Merged { out: options.out.clone(), difference, dtype: options.dtype })
}

fn largest_difference(left: Tensor<2>, right: Tensor<2>) -> Result<f64, TrainError> {
    let largest = (left - right).abs().max().try_into_scalar::<f32>();
    largest.map(f64::from).map_err(|error| TrainError::Training(error.to_string()))
}
