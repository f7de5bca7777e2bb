//! Merging a run's adapter into its base: one Hugging Face directory, no latency added.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use burn_lora_config::RunConfig;
use burn_lora_files::{atomic, lossy, put_in_place, scratch_dir};
use burn_lora_models::{Model as _, SaveDtype};
use burn_lora_patch::{LoadOptions, merge_and_unload_f32};
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
    /// The largest difference allowed where the largest logit is so large.
    fn of(self, dtype: SaveDtype, largest: f64) -> f64 {
        match self {
            Self::Rounding => rounding(dtype) * largest,
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
pub fn rounding(dtype: SaveDtype) -> f64 {
    let bits = match dtype {
        SaveDtype::F32 => 24,
        SaveDtype::F16 => 11,
        SaveDtype::Bf16 => 8,
    };
    1e-4 + 6.0 * 2.0_f64.powi(-bits)
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
}

/// Merges the adapter of the finished run at `dir` (or, after `method = "full"`, just writes its
/// model) as a Hugging Face directory with its tokenizer.
///
/// # Errors
///
/// No finished run, a directory that exists already, weights that do not fit; with a tolerance, a
/// merged model that answers differently, which is then not written.
pub fn merge(dir: &Path, options: &MergeOptions, observer: &Observer) -> Result<Merged, AppError> {
    let task = Task::of(dir, options)?;
    let device = task.config.train.device.clone();
    computing(&device, || {
        with_model!(Kind::of(&task.config, observer)?, Model => {
            write::<Model>(task, options, observer)
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
    let task = Task::of(dir, options)?;
    let config = &task.config;
    Place::of(dir)?.present()?;
    // The adapter is loaded only to see that it fits: merging changes no tensor's size.
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
    adapter: Option<PathBuf>,
    device: Device,
}

impl Task {
    fn of(dir: &Path, options: &MergeOptions) -> Result<Self, AppError> {
        let directory = RunDirectory::new(dir);
        let mut config = directory.read_config(&[])?;
        let adapter = directory.trained(&mut config)?;
        AppError::unless_new(&options.out)?;
        let device = burn_lora::device::parse(&config.train.device)?;
        Ok(Self { config, adapter, device })
    }

    /// The base with the adapter on it, or what was trained as a whole.
    fn adapted<M: TrainableModel>(&self, observer: &Observer) -> Result<M, AppError> {
        let (mut model, _) = base::load::<M>(&self.config, &self.device, observer)?;
        if let Some(adapter) = &self.adapter {
            adapter::load(&mut model, adapter, &LoadOptions::default(), observer)?;
        }
        Ok(model)
    }
}

fn write<M: TrainableModel>(
    task: Task,
    options: &MergeOptions,
    observer: &Observer,
) -> Result<Merged, AppError> {
    let model = task.adapted::<M>(observer)?;
    let Task { config, adapter, device } = task;
    let adapted = options.tolerance.map(|_| model.probe(&device));
    observer.stage("merging");
    // What `method = "full"` trained has nothing attached to it.
    let model = if adapter.is_some() { merge_and_unload_f32(model)? } else { model };

    // Written beside its place and renamed, so that a model that differs is never there to be used.
    let scratch = scratch_dir(atomic::parent(&options.out))?;
    model.save(scratch.path(), options.dtype)?;
    write_tokenizer(&base::tokenizer(&config, observer)?, scratch.path())?;
    drop(model);

    let (mut difference, mut tolerance) = (None, None);
    if let (Some(adapted), Some(allowed)) = (adapted, options.tolerance) {
        observer.stage("comparing with the adapted model");
        let allowed = allowed.of(options.dtype, largest(adapted.clone())?);
        let (merged, _) = M::load(scratch.path(), &device, &mut |_, _| {})?;
        let found = largest(adapted - merged.probe(&device))?;
        if found > allowed || found.is_nan() {
            return Err(AppError::MergeDiffers { difference: found, tolerance: allowed });
        }
        (difference, tolerance) = (Some(found), Some(allowed));
    }
    put_in_place(scratch.path(), &options.out)?;
    observer.done();
    Ok(Merged { out: options.out.clone(), difference, tolerance, dtype: options.dtype })
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
        let allowed = |dtype, largest| Tolerance::Rounding.of(dtype, largest);
        // Logits of size 1 that are off by 0.1 are another model's, in any format.
        for dtype in [SaveDtype::F32, SaveDtype::F16, SaveDtype::Bf16] {
            assert!(allowed(dtype, 1.0) < 0.1, "{dtype:?}");
            assert_eq!(allowed(dtype, 20.0), 20.0 * allowed(dtype, 1.0));
        }
        assert!(allowed(SaveDtype::F32, 20.0) < 2.1e-3);
        assert!(allowed(SaveDtype::F16, 20.0) < allowed(SaveDtype::Bf16, 20.0));
        assert_eq!(Tolerance::Logits(0.5).of(SaveDtype::F32, 1.0), 0.5);
    }
}
