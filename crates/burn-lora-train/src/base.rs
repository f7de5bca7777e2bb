//! The base model of a run: loaded from where it lies, or random from a configuration.

use std::any::Any;
use std::cell::{OnceCell, RefCell};
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use burn_lora_models::tokenizer::Tokenizer;
use burn_lora_models::{
    Architecture, ClassifierConfig, LoadReport, ModelConfig, ModelError, SequenceClassifierConfig,
    Storage, WeightDtype,
};

use crate::learner::TrainableModel;
use crate::observe::Observer;
use crate::{TrainError, located, system_memory};
use burn_lora_config::{AdapterSection, ModelSource, RunConfig};

/// The base models of runs that follow each other in one process, so that each is loaded once.
///
/// What is given out shares its tensors with what is kept: a run with an adapter freezes its own
/// copy of the parameters and puts the factors beside them, and changes no tensor of the base. Runs
/// that train the base load it afresh. The model loaded last is kept.
#[derive(Default)]
pub struct BaseCache {
    kept: RefCell<Option<Kept>>,
    /// What the process had resident before its first run read a model, in bytes.
    process: OnceCell<Option<u64>>,
}

/// A model, and what it was loaded from.
struct Kept {
    key: Key,
    model: Box<dyn Any>,
    report: LoadReport,
}

/// What decides the weights of a base and where they are.
#[derive(PartialEq)]
struct Key {
    source: ModelSource,
    dtype: WeightDtype,
    dropout: bool,
    device: Device,
    /// Classes, and the seed that a head starts from which the files do not have.
    head: Option<(Vec<String>, u64)>,
}

impl BaseCache {
    /// What the process had resident before any model, measured the first time this is asked.
    pub(crate) fn process(&self) -> Option<u64> {
        *self.process.get_or_init(system_memory::resident)
    }

    /// [`load`], once where a cache is given.
    pub(crate) fn load<M: TrainableModel>(
        cache: Option<&Self>,
        config: &RunConfig,
        device: &Device,
        observer: &Observer,
    ) -> Result<(M, LoadReport), TrainError> {
        let (Some(cache), AdapterSection::Lora(_)) = (cache, &config.adapter) else {
            return load(config, device, observer);
        };
        let head = config.data.labels.clone().map(|labels| (labels, config.train.seed));
        let key = Key {
            source: config.model.source.clone(),
            dtype: config.model.held(),
            dropout: config.model.dropout,
            device: device.clone(),
            head,
        };
        if let Some(kept) = cache.kept.borrow().as_ref().filter(|kept| kept.key == key)
            && let Some(model) = kept.model.downcast_ref::<M>()
        {
            return Ok((model.clone(), kept.report.clone()));
        }
        // The old one goes first, so that no two are in memory.
        *cache.kept.borrow_mut() = None;
        let (model, report) = load::<M>(config, device, observer)?;
        let kept = Kept { key, model: Box::new(model.clone()), report: report.clone() };
        *cache.kept.borrow_mut() = Some(kept);
        Ok((model, report))
    }
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

/// Where the model lies that the configuration names: its directory, or its files.
pub(crate) fn place(config: &RunConfig, observer: &Observer) -> Result<PathBuf, TrainError> {
    let (ModelSource::Pretrained(path) | ModelSource::Random(path)) =
        placed(&config.model.source, observer)?;
    Ok(path)
}

/// Rows of the token table of the model that lies there.
pub(crate) fn vocabulary<M: TrainableModel>(path: &Path) -> Result<usize, TrainError> {
    Ok(M::Config::from_path(path)?.about().vocab_size())
}

/// The model that the configuration names, with the head that its task needs.
///
/// # Errors
///
/// A model that is not there, or whose files do not fit.
pub fn load<M: TrainableModel>(
    config: &RunConfig,
    device: &Device,
    observer: &Observer,
) -> Result<(M, LoadReport), TrainError> {
    let seed = config.train.seed;
    let (ModelSource::Pretrained(path) | ModelSource::Random(path)) =
        &placed(&config.model.source, observer)?;
    let shape = shaped::<M>(path, config)?;
    let at = Storage { device, dtype: config.model.held() };
    watched(observer, |progress| match &config.model.source {
        ModelSource::Pretrained(_) => M::load_as(&shape, path, seed, at, progress),
        ModelSource::Random(_) => Ok((M::random(&shape, seed, at)?, LoadReport::default())),
    })
    .map_err(|error| with_classes(error, config))
}

/// A head of another number of classes, told by the classes.
fn with_classes(error: TrainError, config: &RunConfig) -> TrainError {
    match error {
        TrainError::Model(ModelError::Head { dir, found, group, .. }) => {
            let head = SequenceClassifierConfig::from_path(&dir);
            TrainError::Head {
                outputs: found,
                named: head.map(|head| head.labels().to_vec()).unwrap_or_default(),
                dir,
                classes: config.data.labels.clone().unwrap_or_default(),
                group,
            }
        }
        other => other,
    }
}

/// The shapes of the model that the configuration names, with the head that its task needs. Those of a pretrained model
/// are compared with its files, as [`load`] does.
pub(crate) fn outline<M: TrainableModel>(
    config: &RunConfig,
    device: &Device,
    observer: &Observer,
) -> Result<M, TrainError> {
    let source = placed(&config.model.source, observer)?;
    let (ModelSource::Pretrained(path) | ModelSource::Random(path)) = &source;
    let at = Storage { device, dtype: config.model.held() };
    let shape = shaped::<M>(path, config)?;
    Ok(match &source {
        ModelSource::Pretrained(dir) => {
            M::outline_of(&shape, dir, at).map_err(|error| with_classes(error.into(), config))?
        }
        ModelSource::Random(_) => M::outline(&shape, at)?,
    })
}

/// The configuration of the model there, as the run is to train it.
fn shaped<M: TrainableModel>(path: &Path, config: &RunConfig) -> Result<M::Config, TrainError> {
    let shape = M::with_task(M::Config::from_path(path)?, config);
    Ok(if config.model.dropout { shape.with_dropout() } else { shape })
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
