//! Merging a run's adapter into its base, and others with it: one Hugging Face directory, no latency added.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use burn_lora_config::RunConfig;
use burn_lora_files::{atomic, lossy, put_in_place, scratch_dir};
use burn_lora_models::{Model as _, SaveDtype};
use burn_lora_patch::{LoadOptions, merge_and_unload_f32, set_active};
use burn_lora_train::directory::RunDirectory;
use burn_lora_train::elsewhere::computing;
use burn_lora_train::learner::TrainableModel;
use burn_lora_train::observe::Observer;
use burn_lora_train::prepare::Kind;
use burn_lora_train::run::write_tokenizer;
use burn_lora_train::{adapter, base, with_model};
use serde::Serialize;

use crate::AppError;
use crate::dry_write::DryWrite;
use crate::generator::Place;
use crate::inspect::adapter_of;

/// What to merge into what.
#[derive(Debug, Clone)]
pub struct MergeOptions {
    /// The directory to write; it must not exist.
    pub out: PathBuf,
    /// The number format to write.
    pub dtype: SaveDtype,
    /// How far the merged model's logits may be from the adapted model's; none: they are not compared.
    pub tolerance: Option<Tolerance>,
}

/// How far two models' logits may be apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Tolerance {
    /// What the number format of the weights explains, see [`rounding`].
    Rounding,
    /// This much, whatever the logits are.
    Logits(f64),
}

impl Tolerance {
    /// The largest difference allowed where the largest logit is so large and so many adapters are merged.
    fn of(self, dtype: SaveDtype, adapters: usize, largest: f64) -> f64 {
        match self {
            Self::Rounding => rounding(dtype, adapters) * largest,
            Self::Logits(difference) => difference,
        }
    }
}

/// How far logits may move when weights are merged and rounded, as a share of the largest logit.
///
/// Rounding to a format of `p` significant bits moves a weight by at most `u = 2^-p` of itself. A product of a rounded
/// matrix is then off by less than `u` of its own size, and a block's update of the residual stream, two or three such
/// products one after the other, by about `2 u`. The stream is the sum of these updates, so that it, too, is off by about
/// `2 u` of itself, however many blocks there are; the head adds one more `u`. That is the root of the mean square; the
/// worst of some 10^5 logits is off by four to five times as much, while the largest logit is about as many times the
/// mean one: their ratio stays. What is allowed is twice that, `6 u`. Merging also sums in another order: 2^-24 for each
/// of up to some thousand terms, 1e-4 at most, which is all that f32 has.
///
/// Several adapters are added up in f32 and a weight is rounded to the format once, so that they share the `6 u`. What each of them
/// adds to an output is a product of its own, in the merged model and in the adapted one, and is added in another order: 1e-4 for
/// each.
pub fn rounding(dtype: SaveDtype, adapters: usize) -> f64 {
    let bits = match dtype {
        SaveDtype::F32 => 24,
        SaveDtype::F16 => 11,
        SaveDtype::Bf16 => 8,
    };
    1e-4 * adapters.max(1) as f64 + 6.0 * 2.0_f64.powi(-bits)
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
    /// What was allowed, where they were compared.
    pub tolerance: Option<f64>,
    /// The number format written.
    pub dtype: SaveDtype,
    /// How many adapters are in it; none of a model that was trained whole.
    pub adapters: usize,
}

/// Merges the adapter of the finished run at `dir` (or, after `method = "full"`, just writes its
/// model) as a Hugging Face directory with its tokenizer.
///
/// # Errors
///
/// No finished run, a directory that exists already, weights that do not fit; with a tolerance, a
/// merged model that answers differently, which is then not written.
pub fn merge(dir: &Path, options: &MergeOptions, observer: &Observer) -> Result<Merged, AppError> {
    merge_with(dir, &[], options, observer)
}

/// As [`merge`], with further adapters of the same base (PEFT's directories, or runs'), each with its own scale: their changes
/// are added up.
///
/// # Errors
///
/// Those of [`merge`]; adapters that do not fit the base or, since they hold modules that were trained whole, each other.
pub fn merge_with(
    dir: &Path,
    adapters: &[PathBuf],
    options: &MergeOptions,
    observer: &Observer,
) -> Result<Merged, AppError> {
    let task = Task::of(dir, adapters, options)?;
    let device = task.config.train.device.clone();
    computing(&device, || {
        with_model!(Kind::of(&task.config, observer)?, Model => {
            write::<Model>(task, (dir, options), observer)
        })
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
) -> Result<DryWrite, AppError> {
    merge_with_dry_run(dir, &[], options, observer)
}

/// What [`merge_with`] would write, as [`merge_dry_run`] says.
///
/// # Errors
///
/// Those of [`merge_with`] that come before anything is written; a base that would have to be downloaded.
pub fn merge_with_dry_run(
    dir: &Path,
    adapters: &[PathBuf],
    options: &MergeOptions,
    observer: &Observer,
) -> Result<DryWrite, AppError> {
    let task = Task::of(dir, adapters, options)?;
    let config = &task.config;
    Place::of(dir)?.present()?;
    // Adapters are loaded only to see that they fit: merging changes no tensor's size.
    let weights = with_model!(Kind::of(config, observer)?, Model => {
        task.adapted::<Model>(observer)?.file_sizes(options.dtype)?
    });
    let mut dry = DryWrite::new(&options.out);
    for (name, bytes) in weights {
        dry.add(name, bytes);
    }
    for (name, content) in base::tokenizer(config, observer)?.files()? {
        dry.add(name, content.len() as u64);
    }
    Ok(dry)
}

/// What is merged, from the run's directory.
struct Task {
    config: RunConfig,
    /// The run's own, and those that are to go with it.
    adapters: Vec<PathBuf>,
    device: Device,
}

impl Task {
    fn of(dir: &Path, further: &[PathBuf], options: &MergeOptions) -> Result<Self, AppError> {
        let directory = RunDirectory::new(dir);
        let mut config = directory.read_config(&[])?;
        let mut adapters: Vec<PathBuf> = directory.trained(&mut config)?.into_iter().collect();
        AppError::unless_new(&options.out)?;
        for adapter in further {
            adapters.push(adapter_of(adapter)?);
        }
        let device = burn_lora::device::parse(&config.train.device)?;
        Ok(Self { config, adapters, device })
    }

    /// The base with the adapters on it, all of them active, or what was trained as a whole.
    fn adapted<M: TrainableModel>(&self, observer: &Observer) -> Result<M, AppError> {
        let (mut model, _) = base::load::<M>(&self.config, &self.device, observer)?;
        // One may be merged twice: names are numbers.
        let names: Vec<String> = (0..self.adapters.len()).map(|at| at.to_string()).collect();
        for (adapter, name) in self.adapters.iter().zip(&names) {
            let options = LoadOptions::new().with_name(name.as_str());
            adapter::load(&mut model, adapter, &options, observer)?;
        }
        if names.len() > 1 {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            set_active(&mut model, &names)?;
        }
        Ok(model)
    }
}

fn write<M: TrainableModel>(
    task: Task,
    (dir, options): (&Path, &MergeOptions),
    observer: &Observer,
) -> Result<Merged, AppError> {
    let model = task.adapted::<M>(observer)?;
    let Task { config, adapters, device } = task;
    let adapted = options.tolerance.map(|_| model.probe(&device));
    observer.stage("merging");
    // What `method = "full"` trained has nothing attached to it.
    let model = if adapters.is_empty() { model } else { merge_and_unload_f32(model)? };

    // Written beside its place and renamed, so that a model that differs is never there to be used.
    let scratch = scratch_dir(atomic::parent(&options.out))?;
    model.save(scratch.path(), options.dtype)?;
    write_tokenizer(&base::tokenizer(&config, observer)?, scratch.path())?;
    drop(model);

    let (mut difference, mut tolerance) = (None, None);
    if let (Some(adapted), Some(allowed)) = (adapted, options.tolerance) {
        observer.stage("comparing with the adapted model");
        let allowed = allowed.of(options.dtype, adapters.len(), largest(adapted.clone())?);
        let (merged, _) = M::load(scratch.path(), &device, &mut |_, _| {})?;
        let found = largest(adapted - merged.probe(&device))?;
        if found > allowed || found.is_nan() {
            return Err(AppError::MergeDiffers { difference: found, tolerance: allowed });
        }
        (difference, tolerance) = (Some(found), Some(allowed));
    }
    let put = || Ok::<_, AppError>(put_in_place(scratch.path(), &options.out)?);
    RunDirectory::new(dir).writing(&options.out, put)?;
    observer.done();
    let (out, dtype, adapters) = (options.out.clone(), options.dtype, adapters.len());
    Ok(Merged { out, difference, tolerance, dtype, adapters })
}

/// The largest absolute value.
fn largest(logits: Tensor<2>) -> Result<f64, AppError> {
    let largest = logits.abs().max().try_into_scalar::<f32>();
    largest.map(f64::from).map_err(|error| AppError::Compare { source: error.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_of_small_logits_is_allowed_little_and_of_large_ones_in_proportion() {
        let allowed = |dtype, largest| Tolerance::Rounding.of(dtype, 1, largest);
        // Logits of size 1 that are off by 0.1 are another model's, in any format.
        for dtype in [SaveDtype::F32, SaveDtype::F16, SaveDtype::Bf16] {
            assert!(allowed(dtype, 1.0) < 0.1, "{dtype:?}");
            assert_eq!(allowed(dtype, 20.0), 20.0 * allowed(dtype, 1.0));
        }
        assert!(allowed(SaveDtype::F32, 20.0) < 2.1e-3);
        assert!(allowed(SaveDtype::F16, 20.0) < allowed(SaveDtype::Bf16, 20.0));
        assert_eq!(Tolerance::Logits(0.5).of(SaveDtype::F32, 3, 1.0), 0.5);
    }

    #[test]
    fn further_adapters_are_allowed_more_sums_and_no_more_rounding() {
        for dtype in [SaveDtype::F32, SaveDtype::F16, SaveDtype::Bf16] {
            assert_eq!(rounding(dtype, 0), rounding(dtype, 1));
            let more = rounding(dtype, 4) - rounding(dtype, 1);
            assert!((more - 3e-4).abs() < 1e-12, "{dtype:?}: {more}");
        }
    }
}
