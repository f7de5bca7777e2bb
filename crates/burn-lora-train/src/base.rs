//! The base model of a run: loaded from a directory, or random from a configuration.

use std::path::Path;

use burn::tensor::Device;
use burn_lora_models::bert::{BertConfig, SequenceClassifier};
use burn_lora_models::config::Architecture;
use burn_lora_models::llama::{LlamaConfig, LlamaForCausalLM};
use burn_lora_models::{LoadReport, ModelError};

use crate::config::{ModelSource, RunConfig};
use crate::observe::Observer;
use crate::{TrainError, files};

/// The architecture that the source's `config.json` names.
pub(crate) fn architecture(source: &ModelSource) -> Result<Architecture, TrainError> {
    match source {
        ModelSource::Pretrained(dir) => Ok(Architecture::of_dir(dir)?),
        ModelSource::Random(file) => Ok(Architecture::of_json(&files::read_text(file)?, file)?),
    }
}

/// The decoder that the configuration names.
pub(crate) fn causal(
    config: &RunConfig,
    device: &Device,
    observer: &Observer,
) -> Result<(LlamaForCausalLM, LoadReport), TrainError> {
    let random = |file: &Path| {
        LlamaForCausalLM::random(&LlamaConfig::from_path(file)?, config.train.seed, device)
    };
    watched(observer, |progress| match &config.model.source {
        ModelSource::Pretrained(dir) => LlamaForCausalLM::load(dir, device, progress),
        ModelSource::Random(file) => Ok((random(file)?, LoadReport::default())),
    })
}

/// The encoder that the configuration names, with a head over the configuration's classes.
pub(crate) fn classifier(
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
    let (model, report) = watched(observer, |progress| match &config.model.source {
        ModelSource::Pretrained(dir) => {
            SequenceClassifier::load(dir, count, seed, device, progress)
        }
        ModelSource::Random(file) => Ok((random(file)?, LoadReport::default())),
    })?;
    Ok((model.with_labels(labels), report))
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
