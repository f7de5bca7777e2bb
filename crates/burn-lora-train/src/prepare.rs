//! From a configuration to everything a run needs: device, tokenizer, data, model, adapter.
//!
//! `check`, `train` and `eval` all start here, so that what `check` accepts the others can use. Cheap things come first: a mistake in the data shows before the weights are read.

mod kind;
mod read;
mod start;

use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use burn_lora_models::LoadReport;
use burn_lora_models::tokenizer::Tokenizer;
use burn_lora_patch::peft::PeftConfig;
use burn_lora_patch::{LayerStatus, LoraConfig, PatchReport};
use burn_lora_text::part;

use crate::base::BaseCache;
use crate::learner::TrainableModel;
use crate::observe::Observer;
use crate::plan::{Shared, memory_plan};
use crate::{TrainError, ids};
use burn_lora_config::{AdapterSection, LoraSection, ModelSource, RunConfig};
use burn_lora_data::{Prompt, Rows};

pub use kind::Kind;
pub use read::{Files, ReadRows, reading};

pub(crate) use read::{ReadRun, Wanted, draw, label_rows, read, token_rows};

/// Everything a run of a model of type `M` needs.
pub struct Run<M: TrainableModel> {
    /// The configuration, with what the data decided filled in.
    pub config: RunConfig,
    /// The device to train on, with autodiff.
    pub device: Device,
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// The model on that device: adapted and frozen, or trainable as a whole.
    pub model: M,
    /// What the adapter came to; none for `method = "full"`.
    pub patched: Option<(PatchReport, PeftConfig)>,
    /// The rows to train on.
    pub train: Rows<M::Batch>,
    /// The rows held out.
    pub eval: Option<Rows<M::Batch>>,
    /// Held-out rows as prompts with their expected continuations, where they are of that kind.
    pub prompts: Vec<Prompt>,
    /// One training row as the model sees it.
    pub sample: String,
    /// What loading and reading came to, line by line.
    pub notes: Vec<String>,
    /// Bytes of the files that the model was loaded from; 0 where it is random.
    pub loaded_bytes: u64,
}

impl<M: TrainableModel> Run<M> {
    /// The optimiser steps of one pass over the training rows.
    pub fn steps_per_epoch(&self) -> usize {
        self.train.training(draw(&self.config.train)).1
    }

    /// How many parameters are trained.
    pub fn trained(&self) -> usize {
        match &self.patched {
            Some((report, _)) => report.trainable(),
            None => Module::num_params(&self.model),
        }
    }

    /// How many parameters there are, the adapter's included.
    pub fn total(&self) -> usize {
        match &self.patched {
            Some((report, _)) => report.total(),
            None => Module::num_params(&self.model),
        }
    }

    /// `trainable: 43,008 of 2,150,000 (2.00 %)`.
    pub fn trainable_line(&self) -> String {
        format!("trainable: {}", part(self.trained(), self.total()))
    }
}

/// How much of a run to prepare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adapt {
    /// Attach a fresh adapter, as the configuration says.
    Fresh,
    /// Leave the model as it was loaded, with nothing attached and everything trainable.
    Base,
}

/// Prepares a run of a model of type `M`: that of the configuration's [`Kind`].
///
/// # Errors
///
/// Whatever is wrong with device, tokenizer, data, model or targets.
pub fn prepare<M: TrainableModel>(
    config: RunConfig,
    adapt: Adapt,
    observer: &Observer,
) -> Result<Run<M>, TrainError> {
    build(None, read::<M>(config, Wanted::All, observer)?, (adapt, None), observer)
}

/// A run as far as it is needed to measure it on the rows held out, of which there must be some; the files to train on need not be there.
pub(crate) fn prepare_held_out<M: TrainableModel>(
    config: RunConfig,
    observer: &Observer,
) -> Result<Run<M>, TrainError> {
    build(None, read::<M>(config, Wanted::HeldOut, observer)?, (Adapt::Base, None), observer)
}

/// [`prepare`], where the run would be let start: a run that needs more memory than there is is refused before anything of its model is made.
///
/// # Errors
///
/// Those of [`prepare`], and a run that does not fit into memory.
pub fn prepare_if_it_fits<M: TrainableModel>(
    config: RunConfig,
    observer: &Observer,
) -> Result<Run<M>, TrainError> {
    let read = read::<M>(config, Wanted::All, observer)?;
    memory_plan(&read, None, Shared::ALONE)?.admit()?;
    build(None, read, (Adapt::Fresh, None), observer)
}

/// The run of what was read: the model is loaded, or taken from those of earlier runs, and adapted; where it goes on, as it
/// was at the checkpoint in that directory.
pub(crate) fn build<M: TrainableModel>(
    bases: Option<&BaseCache>,
    read: ReadRun<M>,
    (adapt, checkpoint): (Adapt, Option<&Path>),
    observer: &Observer,
) -> Result<Run<M>, TrainError> {
    let (model, loaded) = BaseCache::load(bases, &read.base, &read.config, &read.device, observer)?;
    fits(read.config.data.max_length, model.config().context())?;
    let from = start::Sources {
        base: &read.base,
        device: &read.device,
        train: &read.train,
        checkpoint,
        observer,
    };
    let (model, patched) = adapted(model, &read.config, adapt, &from)?;
    Ok(Run {
        config: read.config,
        device: read.device,
        tokenizer: read.tokenizer,
        model,
        patched,
        train: read.train,
        eval: read.eval,
        prompts: read.prompts,
        sample: read.sample,
        notes: [read.notes, load_notes(&loaded)].concat(),
        loaded_bytes: loaded.bytes,
    })
}

fn load_notes(report: &LoadReport) -> Vec<String> {
    let list = |what: &str, keys: &[String]| {
        (!keys.is_empty()).then(|| format!("{what}: {}", keys.join(", ")))
    };
    [
        list("started afresh, since the model's files do not have them", &report.fresh),
        list("left out of the model's files, having no use here", &report.tolerated),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn fits(max_length: usize, context: Option<usize>) -> Result<(), TrainError> {
    match context {
        Some(limit) if max_length > limit => Err(TrainError::TooLong { max_length, limit }),
        _ => Ok(()),
    }
}

/// Patches the model where an adapter is to be trained, and gives every parameter an identity that
/// a later process gives it again.
fn adapted<M: TrainableModel>(
    mut model: M,
    config: &RunConfig,
    adapt: Adapt,
    from: &start::Sources<'_, M>,
) -> Result<(M, Option<(PatchReport, PeftConfig)>), TrainError> {
    let mut patched = None;
    if let (AdapterSection::Lora(section), Adapt::Fresh) = (&config.adapter, adapt) {
        let patch_config = patch_config(section, M::TASK, config.train.seed);
        let (started, patch_config, report) = start::patched(model, patch_config, config, from)?;
        model = started;
        let adapted = report.layers().iter().filter(|layer| layer.status == LayerStatus::Adapted);
        let conv1d = adapted.clone().any(|layer| model.config().is_conv1d(&layer.path));
        let mut adapter = PeftConfig::new(&patch_config).with_fan_in_fan_out(conv1d);
        if let ModelSource::Pretrained(dir) = &config.model.source {
            adapter = adapter.with_base_model(base_name(dir));
        }
        patched = Some((report, adapter));
    }
    Ok((ids::stable(model), patched))
}

/// What PEFT finds the base by, beside the adapter.
fn base_name(dir: &Path) -> String {
    // A model of the hub keeps its id, by which others find it too.
    std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned()).display().to_string()
}

pub(crate) fn patch_config(
    section: &LoraSection,
    task: burn_lora_patch::TaskType,
    seed: u64,
) -> LoraConfig {
    let mut config = LoraConfig::from(section.lora.clone())
        .with_targets(section.targets.clone())
        .with_task_type(task)
        .with_exclude(section.exclude.clone())
        .with_modules_to_save(section.modules_to_save.clone())
        .with_trainable_token_indices(section.trainable_token_indices.clone())
        .with_ensure_weight_tying(section.ensure_weight_tying)
        .with_bias(section.bias)
        .with_seed(seed);
    config.exclude_regex = section.exclude_regex.clone();
    config.rank_pattern = section.rank_pattern.clone();
    config.alpha_pattern = section.alpha_pattern.clone();
    config.layers_to_transform = section.layers_to_transform.clone();
    config.layers_pattern = section.layers_pattern.clone();
    config.target_parameters = section.target_parameters.clone();
    config.eva = section.eva;
    config
}
