//! Either classifier, by the architecture of its configuration.

use std::fmt;
use std::path::Path;

use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
};
use burn::tensor::{Device, Int, Tensor};

use super::config::BertConfig;
use super::heads::{BertForSequenceClassification, RobertaForSequenceClassification};
use crate::ModelError;
use crate::config::Architecture;
use crate::weights::{Builder, LoadReport, Manifest, SaveDtype};

/// A classifier of the BERT family.
///
/// As a module it is its variant: paths start with `bert.`, `roberta.` or `classifier.` (a derived
/// enum would put the variant's name before them).
#[derive(Debug, Clone)]
pub enum SequenceClassifier {
    /// BERT, MiniLM.
    Bert(BertForSequenceClassification),
    /// RoBERTa.
    Roberta(RobertaForSequenceClassification),
}

macro_rules! either {
    ($self:expr, $model:ident => $value:expr) => {
        match $self {
            Self::Bert($model) => $value,
            Self::Roberta($model) => $value,
        }
    };
}

macro_rules! either_again {
    ($self:expr, $model:ident => $value:expr) => {
        match $self {
            Self::Bert($model) => Self::Bert($value),
            Self::Roberta($model) => Self::Roberta($value),
        }
    };
}

impl SequenceClassifier {
    /// Loads a Hugging Face directory; see [`BertForSequenceClassification::load`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn load(
        dir: &Path,
        num_labels: Option<usize>,
        seed: u64,
        device: &Device,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(Self, LoadReport), ModelError> {
        Ok(match BertConfig::from_path(dir)?.architecture {
            Architecture::Roberta => {
                let (model, report) = RobertaForSequenceClassification::load(
                    dir, num_labels, seed, device, progress,
                )?;
                (Self::Roberta(model), report)
            }
            _ => {
                let (model, report) =
                    BertForSequenceClassification::load(dir, num_labels, seed, device, progress)?;
                (Self::Bert(model), report)
            }
        })
    }

    /// A model with seeded random weights.
    ///
    /// # Errors
    ///
    /// None that a checked configuration can cause.
    pub fn random(config: &BertConfig, seed: u64, device: &Device) -> Result<Self, ModelError> {
        Ok(match config.architecture {
            Architecture::Roberta => {
                Self::Roberta(RobertaForSequenceClassification::random(config, seed, device)?)
            }
            _ => Self::Bert(BertForSequenceClassification::random(config, seed, device)?),
        })
    }

    /// A model whose parameters exist by their shapes only, to plan with: no weight is read or made.
    ///
    /// # Errors
    ///
    /// None that a checked configuration can cause.
    pub fn outline(config: &BertConfig, device: &Device) -> Result<Self, ModelError> {
        let mut manifest = Manifest::default();
        let mut root = Builder::new(&mut manifest, device);
        Ok(match config.architecture {
            Architecture::Roberta => {
                Self::Roberta(RobertaForSequenceClassification::build(config, &mut root)?)
            }
            _ => Self::Bert(BertForSequenceClassification::build(config, &mut root)?),
        })
    }

    /// Its configuration.
    pub fn config(&self) -> &BertConfig {
        either!(self, model => model.config())
    }

    /// Names the classes, in the order of the logits; `save` writes them into `config.json`.
    pub fn with_labels(self, labels: Vec<String>) -> Self {
        either_again!(self, model => model.with_labels(labels))
    }

    /// Scores of the classes. ids: `[batch, tokens]`, output: `[batch, classes]`; see
    /// [`BertModel::hidden`](super::BertModel::hidden) for `lengths` and what panics.
    pub fn logits(&self, ids: Tensor<2, Int>, lengths: &[usize]) -> Tensor<2> {
        either!(self, model => model.logits(ids, lengths))
    }

    /// Writes `model.safetensors` and `config.json` as Hugging Face's, each atomically. The base
    /// weights are written as stored: merge and unload adapters first.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub fn save(&self, dir: &Path, dtype: SaveDtype) -> Result<(), ModelError> {
        either!(self, model => model.save(dir, dtype))
    }

    /// The names of the files that [`save`](Self::save) writes, with their sizes in bytes.
    ///
    /// # Errors
    ///
    /// None that a model can cause.
    pub fn file_sizes(&self, dtype: SaveDtype) -> Result<Vec<(&'static str, u64)>, ModelError> {
        either!(self, model => model.file_sizes(dtype))
    }
}

impl Module for SequenceClassifier {
    fn collect_devices(&self, devices: Devices) -> Devices {
        either!(self, model => model.collect_devices(devices))
    }

    fn fork(self, device: &Device) -> Self {
        either_again!(self, model => model.fork(device))
    }

    fn to_device(self, device: &Device) -> Self {
        either_again!(self, model => model.to_device(device))
    }

    fn train(self) -> Self {
        either_again!(self, model => model.train())
    }

    fn valid(&self) -> Self {
        either_again!(self, model => model.valid())
    }

    fn materialize(self) -> Self {
        either_again!(self, model => model.materialize())
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        either!(self, model => model.visit(visitor));
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        either_again!(self, model => model.map(mapper))
    }
}

impl ModuleDisplayDefault for SequenceClassifier {
    fn content(&self, content: Content) -> Option<Content> {
        either!(self, model => model.content(content))
    }
}

impl ModuleDisplay for SequenceClassifier {}

impl fmt::Display for SequenceClassifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        either!(self, model => model.fmt(f))
    }
}
