//! Merging a run's adapter into its base: one Hugging Face directory, no latency added.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use burn_lora_models::bert::SequenceClassifier;
use burn_lora_models::llama::LlamaForCausalLM;
use burn_lora_models::{ModelError, SaveDtype};
use burn_lora_patch::{atomic, merge_and_unload, peft};
use serde::Serialize;

use crate::config::{ModelSource, RunConfig};
use crate::directory::RunDirectory;
use crate::dry_run::DryWrite;
use crate::export::ExportError;
use crate::learner::Objective;
use crate::observe::Observer;
use crate::run::copy_tokenizer;
use crate::{TrainError, base, files, located};
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
    let Task { config, adapter, device } = Task::of(dir, options)?;
    if base::architecture(&config.model.source, observer)?.is_causal() {
        let (model, _) = base::causal(&config, &device, observer)?;
        let reload = |dir: &Path| LlamaForCausalLM::load(dir, &device, &mut |_, _| {});
        let reload = |dir: &Path| Ok(reload(dir)?.0);
        write(model, adapter, &config, options, &device, observer, reload)
    } else {
        let (model, _) = base::classifier(&config, &device, observer)?;
        let reload =
            |dir: &Path| Ok(SequenceClassifier::load(dir, None, 0, &device, &mut |_, _| {})?.0);
        write(model, adapter, &config, options, &device, observer, reload)
    }
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
    let Task { config, adapter, device } = Task::of(dir, options)?;
    if let ModelSource::Pretrained(base) = &config.model.source {
        located::present(base)?;
    }
    located::present(&config.model.tokenizer)?;
    let weights = if base::architecture(&config.model.source, observer)?.is_causal() {
        let (model, _) = base::causal(&config, &device, observer)?;
        sizes(model, adapter, options)
    } else {
        let (model, _) = base::classifier(&config, &device, observer)?;
        sizes(model, adapter, options)
    }?;
    let mut dry = DryWrite::new(&options.out);
    for (name, bytes) in weights {
        dry.add(name, bytes);
    }
    for (name, content) in base::tokenizer(&config, observer)?.files()? {
        dry.add(name, content.len() as u64);
    }
    Ok(dry)
}

fn sizes<M: Objective>(
    mut model: M,
    adapter: Option<PathBuf>,
    options: &MergeOptions,
) -> Result<Vec<(&'static str, u64)>, TrainError> {
    // Loaded only to see that it fits: merging changes no tensor's size.
    if let Some(adapter) = adapter {
        peft::load(&mut model, adapter, &peft::LoadOptions::default())?;
    }
    Ok(model.file_sizes(options.dtype)?)
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
}

fn write<M: Objective>(
    mut model: M,
    adapter: Option<PathBuf>,
    config: &RunConfig,
    options: &MergeOptions,
    device: &Device,
    observer: &Observer,
    reload: impl FnOnce(&Path) -> Result<M, ModelError>,
) -> Result<Merged, TrainError> {
    let has_adapter = adapter.is_some();
    if let Some(adapter) = adapter {
        peft::load(&mut model, adapter, &peft::LoadOptions::default())?;
    }
    let adapted = options.tolerance.map(|_| model.probe(device));
    observer.stage("merging");
    // What `method = "full"` trained has nothing attached to it.
    let model = if has_adapter { merge_and_unload(model)? } else { model };

    // Written beside its place and renamed, so that a model that differs is never there to be used.
    let parent = atomic::parent(&options.out);
    let scratch = files::scratch_dir(parent)?;
    model.save(scratch.path(), options.dtype)?;
    copy_tokenizer(&base::tokenizer(config, observer)?, scratch.path())?;
    drop(model);

    let mut difference = None;
    if let (Some(adapted), Some(tolerance)) = (adapted, options.tolerance) {
        observer.stage("comparing with the adapted model");
        let found = largest_difference(adapted, reload(scratch.path())?.probe(device))?;
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
