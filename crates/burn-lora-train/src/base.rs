//! The base model of a run: loaded from where it lies, or random from a configuration.

use std::cell::{OnceCell, RefCell};
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use burn_lora_models::bert::{BertConfig, SequenceClassifier};
use burn_lora_models::config::Architecture;
use burn_lora_models::llama::{LlamaConfig, LlamaForCausalLM};
use burn_lora_models::tokenizer::Tokenizer;
use burn_lora_models::{LoadReport, ModelError};

use crate::config::{AdapterSection, ModelSource, RunConfig};
use crate::observe::Observer;
use crate::{TrainError, located, system_memory};

/// The base models of runs that follow each other in one process, so that each is loaded once.
///
/// What is given out shares its tensors with what is kept: a run with an adapter freezes its own
/// copy of the parameters and puts the factors beside them, and changes no tensor of the base. Runs
/// that train the base load it afresh. Of each kind the model loaded last is kept.
#[derive(Default)]
pub struct BaseCache {
    causal: RefCell<Option<Kept<LlamaForCausalLM>>>,
    classifier: RefCell<Option<Kept<SequenceClassifier>>>,
    /// What the process had resident before its first run read a model, in bytes.
    process: OnceCell<Option<u64>>,
}

/// A model, and what it was loaded from.
struct Kept<M> {
    key: Key,
    model: M,
    report: LoadReport,
}

/// What decides the weights of a base and where they are.
#[derive(PartialEq)]
struct Key {
    source: ModelSource,
    device: Device,
    /// Classes, and the seed that a head starts from which the files do not have.
    head: Option<(Vec<String>, u64)>,
}

impl BaseCache {
    /// What the process had resident before any model, measured the first time this is asked.
    pub(crate) fn process(&self) -> Option<u64> {
        *self.process.get_or_init(system_memory::resident)
    }

    /// [`causal`], loaded once where a cache is given.
    pub(crate) fn causal(
        cache: Option<&Self>,
        config: &RunConfig,
        device: &Device,
        observer: &Observer,
    ) -> Result<(LlamaForCausalLM, LoadReport), TrainError> {
        let key = Key { source: config.model.source.clone(), device: device.clone(), head: None };
        once(cache.map(|cache| &cache.causal), key, config, || causal(config, device, observer))
    }

    /// [`classifier`], loaded once where a cache is given.
    pub(crate) fn classifier(
        cache: Option<&Self>,
        config: &RunConfig,
        device: &Device,
        observer: &Observer,
    ) -> Result<(SequenceClassifier, LoadReport), TrainError> {
        let labels = config.data.labels.clone().unwrap_or_default();
        let head = Some((labels, config.train.seed));
        let key = Key { source: config.model.source.clone(), device: device.clone(), head };
        let place = cache.map(|cache| &cache.classifier);
        once(place, key, config, || classifier(config, device, observer))
    }
}

fn once<M: Clone>(
    place: Option<&RefCell<Option<Kept<M>>>>,
    key: Key,
    config: &RunConfig,
    load: impl FnOnce() -> Result<(M, LoadReport), TrainError>,
) -> Result<(M, LoadReport), TrainError> {
    let (Some(place), AdapterSection::Lora(_)) = (place, &config.adapter) else { return load() };
    if let Some(kept) = place.borrow().as_ref().filter(|kept| kept.key == key) {
        return Ok((kept.model.clone(), kept.report.clone()));
    }
    // The old one goes first, so that no two are in memory.
    *place.borrow_mut() = None;
    let (model, report) = load()?;
    *place.borrow_mut() = Some(Kept { key, model: model.clone(), report: report.clone() });
    Ok((model, report))
}

/// The architecture that the source's `config.json` names.
///
/// # Errors
///
/// A model that is not there, or a configuration that cannot be read.
pub fn architecture(source: &ModelSource, observer: &Observer) -> Result<Architecture, TrainError> {
    match source {
        ModelSource::Pretrained(dir) => Ok(Architecture::of_dir(&located(dir, observer)?)?),
        ModelSource::Random(file) => {
            Ok(Architecture::of_json(&burn_lora_files::read_text(file)?, file)?)
        }
    }
}

/// The tokenizer that the configuration names.
///
/// # Errors
///
/// A tokenizer that is not there or cannot be read.
pub fn tokenizer(config: &RunConfig, observer: &Observer) -> Result<Tokenizer, TrainError> {
    Ok(Tokenizer::from_dir(&located(&config.model.tokenizer, observer)?)?)
}

/// The decoder that the configuration names.
///
/// # Errors
///
/// A model that is not there, or whose files do not fit.
pub fn causal(
    config: &RunConfig,
    device: &Device,
    observer: &Observer,
) -> Result<(LlamaForCausalLM, LoadReport), TrainError> {
    let random = |file: &Path| {
        LlamaForCausalLM::random(&LlamaConfig::from_path(file)?, config.train.seed, device)
    };
    let source = placed(&config.model.source, observer)?;
    watched(observer, |progress| match &source {
        ModelSource::Pretrained(dir) => LlamaForCausalLM::load(dir, device, progress),
        ModelSource::Random(file) => Ok((random(file)?, LoadReport::default())),
    })
}

/// The encoder that the configuration names, with a head over the configuration's classes.
///
/// # Errors
///
/// A model that is not there, or whose files do not fit.
pub fn classifier(
    config: &RunConfig,
    device: &Device,
    observer: &Observer,
) -> Result<(SequenceClassifier, LoadReport), TrainError> {
    let labels = config.data.labels.clone().unwrap_or_default();
    let (seed, count) = (config.train.seed, Some(labels.len()));
    let random = |file: &Path| {
        let config = BertConfig::from_path(file)?.with_labels(labels.clone());
        SequenceClassifier::random(&config, seed, device)
    };
    let source = placed(&config.model.source, observer)?;
    let (model, report) = watched(observer, |progress| match &source {
        ModelSource::Pretrained(dir) => {
            SequenceClassifier::load(dir, count, seed, device, progress)
        }
        ModelSource::Random(file) => Ok((random(file)?, LoadReport::default())),
    })?;
    Ok((model.with_labels(labels), report))
}

/// The shapes of the decoder that the configuration names.
pub(crate) fn causal_outline(
    config: &RunConfig,
    device: &Device,
    observer: &Observer,
) -> Result<LlamaForCausalLM, TrainError> {
    let config = LlamaConfig::from_path(&described(config, observer)?)?;
    Ok(LlamaForCausalLM::outline(&config, device)?)
}

/// The shapes of the encoder that the configuration names, with its head.
pub(crate) fn classifier_outline(
    config: &RunConfig,
    device: &Device,
    observer: &Observer,
) -> Result<SequenceClassifier, TrainError> {
    let labels = config.data.labels.clone().unwrap_or_default();
    let config = BertConfig::from_path(&described(config, observer)?)?.with_labels(labels);
    Ok(SequenceClassifier::outline(&config, device)?)
}

/// Where the model's config.json, or what stands for it, is on this machine.
fn described(config: &RunConfig, observer: &Observer) -> Result<PathBuf, TrainError> {
    let (ModelSource::Pretrained(path) | ModelSource::Random(path)) =
        placed(&config.model.source, observer)?;
    Ok(path)
}

/// The source with its place on this machine.
fn placed(source: &ModelSource, observer: &Observer) -> Result<ModelSource, TrainError> {
    Ok(match source {
        ModelSource::Pretrained(dir) => ModelSource::Pretrained(located(dir, observer)?),
        ModelSource::Random(file) => ModelSource::Random(file.clone()),
    })
}

fn watched<M>(
    observer: &Observer,
    load: impl FnOnce(&mut dyn FnMut(u64, u64)) -> Result<(M, LoadReport), ModelError>,
) -> Result<(M, LoadReport), TrainError> {
    observer.stage("loading the model");
    let loaded = load(&mut |done, total| observer.progress(done, total))?;
    observer.done();
    Ok(loaded)
}
