//! The base model of a run: loaded from where it lies, or random from a configuration.

use std::any::Any;
use std::cell::{OnceCell, RefCell};
use std::path::PathBuf;

use burn::tensor::Device;
use burn_lora_models::tokenizer::Tokenizer;
use burn_lora_models::weights::TensorSpec;
use burn_lora_models::{
    Architecture, ClassifierConfig, LoadReport, ModelConfig, ModelError, SequenceClassifierConfig,
    Storage, WeightDtype,
};

use crate::inputs::Digests;
use crate::learner::TrainableModel;
use crate::observe::Observer;
use crate::{TrainError, located, system_memory};
use burn_lora_config::{AdapterSection, ModelSource, RunConfig};
use burn_lora_text::listed;

/// The base models of runs that follow each other in one process, so that each is loaded once.
///
/// What is given out shares its tensors with what is kept: a run with an adapter freezes its own
/// copy of the parameters and puts the factors beside them, and changes no tensor of the base. Runs
/// that train the base load it afresh. The model loaded last is kept.
#[derive(Default)]
pub struct BaseCache {
    kept: RefCell<Option<Kept>>,
    /// The digests of the base read last, by where model and tokenizer lie.
    digests: RefCell<Option<(BasePlace, Digests)>>,
    /// What the process had resident before its first run read a model, in bytes.
    process: OnceCell<Option<u64>>,
}

/// Where a model and its tokenizer lie.
pub(crate) type BasePlace = [PathBuf; 2];

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

    /// The digests of the base that lies there, where it is the one read last.
    pub(crate) fn digests(&self, place: &BasePlace) -> Option<Digests> {
        let kept = self.digests.borrow();
        kept.as_ref().filter(|(of, _)| of == place).map(|(_, digests)| digests.clone())
    }

    /// Keeps the digests of the base that lies there.
    pub(crate) fn keep_digests(&self, place: BasePlace, digests: &Digests) {
        *self.digests.borrow_mut() = Some((place, digests.clone()));
    }

    /// The model of a base, loaded once where a cache is given.
    pub(crate) fn load<M: TrainableModel>(
        cache: Option<&Self>,
        base: &Base<M>,
        config: &RunConfig,
        device: &Device,
        observer: &Observer,
    ) -> Result<(M, LoadReport), TrainError> {
        let (Some(cache), AdapterSection::Lora(_)) = (cache, &config.adapter) else {
            return base.load(config, device, observer);
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
        let (model, report) = base.load(config, device, observer)?;
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

/// Where the model lies that a configuration names, on this machine: its directory or file, or the `config.json` of a
/// random start.
pub(crate) fn place(source: &ModelSource, observer: &Observer) -> Result<PathBuf, TrainError> {
    match source {
        ModelSource::Pretrained(dir) => located(dir, observer),
        ModelSource::Random(file) => Ok(file.clone()),
    }
}

/// A base whose configuration was read: what is asked of it next needs its files no more than once.
pub(crate) struct Base<M: TrainableModel> {
    /// Where it lies.
    pub place: PathBuf,
    keys: M::Config,
}

impl<M: TrainableModel> Base<M> {
    /// That which the configuration names.
    pub fn of(config: &RunConfig, observer: &Observer) -> Result<Self, TrainError> {
        let place = place(&config.model.source, observer)?;
        let keys = M::Config::from_path(&place)?;
        Ok(Self { place, keys })
    }

    /// Rows of its token table.
    pub fn vocabulary(&self) -> usize {
        self.keys.about().vocab_size()
    }

    /// What the files of model and tokenizer say that is not done, line by line.
    pub fn notes(&self, tokenizer: &Tokenizer) -> Vec<String> {
        let unknown = self.keys.about().unknown_keys();
        let of_model = (!unknown.is_empty()).then(|| {
            format!(
                "config.json: keys that are not known here and had no effect: {}",
                listed(unknown)
            )
        });
        of_model.into_iter().chain(tokenizer.notes().iter().cloned()).collect()
    }

    /// Its configuration, as the run is to train it.
    fn shape(&self, config: &RunConfig) -> M::Config {
        let shape = M::with_task(self.keys.clone(), config);
        if config.model.dropout { shape.with_dropout() } else { shape }
    }

    /// Its shapes, with the head that its task needs. Those of a pretrained model are compared with its files, as
    /// [`load`] does.
    pub fn outline(&self, config: &RunConfig, device: &Device) -> Result<M, TrainError> {
        let (shape, at) = (self.shape(config), Storage { device, dtype: config.model.held() });
        let outline = match &config.model.source {
            ModelSource::Pretrained(_) => M::outline_of(&shape, &self.place, at),
            ModelSource::Random(_) => M::outline(&shape, at),
        };
        outline.map_err(|error| with_classes(error, config))
    }

    /// Shows every tensor of its files, one in memory at a time ([`Model::each_tensor`](burn_lora_models::Model::each_tensor)).
    pub fn each_tensor(
        &self,
        config: &RunConfig,
        device: &Device,
        show: &mut dyn FnMut(&TensorSpec, Vec<f32>) -> bool,
        observer: &Observer,
    ) -> Result<(), TrainError> {
        let (shape, at) = (self.shape(config), Storage { device, dtype: config.model.held() });
        let progress = &mut |done, total| observer.progress(done, total);
        M::each_tensor(&shape, &self.place, at, show, progress)
            .map(drop)
            .map_err(|error| with_classes(error, config))
    }

    /// The model, with the head that its task needs.
    fn load(
        &self,
        config: &RunConfig,
        device: &Device,
        observer: &Observer,
    ) -> Result<(M, LoadReport), TrainError> {
        let (shape, seed) = (self.shape(config), config.train.seed);
        let at = Storage { device, dtype: config.model.held() };
        observer.stage("loading the model");
        let progress = &mut |done, total| observer.progress(done, total);
        let loaded = match &config.model.source {
            ModelSource::Pretrained(_) => M::load_as(&shape, &self.place, seed, at, progress),
            ModelSource::Random(_) => {
                M::random(&shape, seed, at).map(|model| (model, LoadReport::default()))
            }
        };
        let loaded = loaded.map_err(|error| with_classes(error, config))?;
        observer.done();
        Ok(loaded)
    }
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
    Base::of(config, observer)?.load(config, device, observer)
}

/// A head of another number of classes, told by the classes.
fn with_classes(error: ModelError, config: &RunConfig) -> TrainError {
    match error {
        ModelError::Head { dir, found, group, .. } => {
            let head = SequenceClassifierConfig::from_path(&dir);
            TrainError::Head {
                outputs: found,
                named: head.map(|head| head.labels().to_vec()).unwrap_or_default(),
                dir,
                classes: config.data.labels.clone().unwrap_or_default(),
                group,
            }
        }
        other => other.into(),
    }
}
