//! The two classifiers of the family.

use std::path::Path;

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Int, Tensor};
use burn_lora::LoraForward;

use super::config::BertConfig;
use super::encoder::BertModel;
use crate::ModelError;
use crate::weights::{Builder, Expectation, LoadReport, Random, SaveDtype, file_sizes, load, save};

/// BERT with a linear head over the pooled first token.
#[derive(Module, Debug)]
pub struct BertForSequenceClassification {
    /// The encoder.
    pub bert: BertModel,
    /// The head.
    pub classifier: Linear,
    #[module(skip)]
    config: BertConfig,
}

/// RoBERTa with its head of two layers over the first token.
#[derive(Module, Debug)]
pub struct RobertaForSequenceClassification {
    /// The encoder.
    pub roberta: BertModel,
    /// The head.
    pub classifier: RobertaClassificationHead,
    #[module(skip)]
    config: BertConfig,
}

/// RoBERTa's head: `out_proj(tanh(dense(x)))`.
#[derive(Module, Debug)]
pub struct RobertaClassificationHead {
    /// Inside.
    pub dense: Linear,
    /// To the classes.
    pub out_proj: Linear,
}

impl BertForSequenceClassification {
    /// Loads a Hugging Face directory: `config.json` and safetensors, f32, f16 or bf16, in one file
    /// or sharded, with or without the `bert.` prefix. Parameters are f32, on `device`, trainable.
    ///
    /// `num_labels` is the number of classes, that of the configuration where it is none. A head
    /// (and a pooler) that no file has starts from `seed`; the report says so.
    ///
    /// `progress` is told of the bytes read so far and of all there are. Memory peaks at the
    /// weights in f32 and a few megabytes.
    ///
    /// # Errors
    ///
    /// Files that cannot be read or are damaged, a configuration that is not supported, and all at
    /// once the tensors that are missing, surplus or of another shape (a head of another number
    /// of classes among them); nothing is read before they fit.
    pub fn load(
        dir: &Path,
        num_labels: Option<usize>,
        seed: u64,
        device: &Device,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(Self, LoadReport), ModelError> {
        let config = labelled(dir, num_labels)?;
        let expectation = Expectation {
            prefix: "bert.",
            fresh: &["classifier.", "bert.pooler."],
            // `cls`: the heads of pre-training.
            tolerated: |key| key.ends_with("position_ids") || key.starts_with("cls."),
            random: Random::new(seed, config.initializer_range),
        };
        load(dir, device, expectation, progress, |root| Self::build(&config, root))
    }

    /// A model with seeded random weights.
    ///
    /// # Errors
    ///
    /// None that a checked configuration can cause.
    pub fn random(config: &BertConfig, seed: u64, device: &Device) -> Result<Self, ModelError> {
        let mut source = Random::new(seed, config.initializer_range);
        Self::build(config, &mut Builder::new(&mut source, device))
    }

    /// Builds the model from any source.
    ///
    /// # Errors
    ///
    /// What the source says.
    pub fn build(config: &BertConfig, root: &mut Builder<'_>) -> Result<Self, ModelError> {
        let (d, labels) = (config.hidden_size, config.labels.len());
        Ok(Self {
            bert: BertModel::build(config, true, root.at("bert"))?,
            classifier: root.linear("classifier", d, labels, true)?,
            config: config.clone(),
        })
    }

    /// Its configuration.
    pub fn config(&self) -> &BertConfig {
        &self.config
    }

    /// Names the classes, in the order of the logits; `save` writes them into `config.json`.
    pub fn with_labels(mut self, labels: Vec<String>) -> Self {
        self.config = self.config.with_labels(labels);
        self
    }

    /// Scores of the classes. ids: `[batch, tokens]`, output: `[batch, classes]`; see
    /// [`BertModel::hidden`] for `lengths` and what panics.
    pub fn logits(&self, ids: Tensor<2, Int>, lengths: &[usize]) -> Tensor<2> {
        self.classifier.lora_forward(self.bert.first(ids, lengths))
    }

    /// Writes `model.safetensors` and `config.json` as Hugging Face's, each atomically. The base
    /// weights are written as stored: merge and unload adapters first.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub fn save(&self, dir: &Path, dtype: SaveDtype) -> Result<(), ModelError> {
        save(self, dir, dtype, &self.config.to_json())
    }

    /// The names of the files that [`save`](Self::save) writes, with their sizes in bytes.
    ///
    /// # Errors
    ///
    /// None that a model can cause.
    pub fn file_sizes(&self, dtype: SaveDtype) -> Result<Vec<(&'static str, u64)>, ModelError> {
        file_sizes(self, dtype, &self.config.to_json())
    }
}

impl RobertaForSequenceClassification {
    /// As [`BertForSequenceClassification::load`], with the prefix `roberta.`.
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
        let config = labelled(dir, num_labels)?;
        let expectation = Expectation {
            prefix: "roberta.",
            fresh: &["classifier."],
            // `lm_head`: the head of pre-training. The pooler is none of this head's.
            tolerated: |key| {
                key.ends_with("position_ids")
                    || key.starts_with("lm_head.")
                    || key.starts_with("pooler.")
            },
            random: Random::new(seed, config.initializer_range),
        };
        load(dir, device, expectation, progress, |root| Self::build(&config, root))
    }

    /// A model with seeded random weights.
    ///
    /// # Errors
    ///
    /// None that a checked configuration can cause.
    pub fn random(config: &BertConfig, seed: u64, device: &Device) -> Result<Self, ModelError> {
        let mut source = Random::new(seed, config.initializer_range);
        Self::build(config, &mut Builder::new(&mut source, device))
    }

    /// Builds the model from any source.
    ///
    /// # Errors
    ///
    /// What the source says.
    pub fn build(config: &BertConfig, root: &mut Builder<'_>) -> Result<Self, ModelError> {
        let (d, labels) = (config.hidden_size, config.labels.len());
        Ok(Self {
            roberta: BertModel::build(config, false, root.at("roberta"))?,
            classifier: RobertaClassificationHead {
                dense: root.linear("classifier.dense", d, d, true)?,
                out_proj: root.linear("classifier.out_proj", d, labels, true)?,
            },
            config: config.clone(),
        })
    }

    /// Its configuration.
    pub fn config(&self) -> &BertConfig {
        &self.config
    }

    /// Names the classes, in the order of the logits; `save` writes them into `config.json`.
    pub fn with_labels(mut self, labels: Vec<String>) -> Self {
        self.config = self.config.with_labels(labels);
        self
    }

    /// Scores of the classes. ids: `[batch, tokens]`, output: `[batch, classes]`; see
    /// [`BertModel::hidden`] for `lengths` and what panics.
    pub fn logits(&self, ids: Tensor<2, Int>, lengths: &[usize]) -> Tensor<2> {
        let first = self.roberta.first(ids, lengths);
        self.classifier.out_proj.lora_forward(self.classifier.dense.lora_forward(first).tanh())
    }

    /// Writes `model.safetensors` and `config.json` as Hugging Face's, each atomically. The base
    /// weights are written as stored: merge and unload adapters first.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub fn save(&self, dir: &Path, dtype: SaveDtype) -> Result<(), ModelError> {
        save(self, dir, dtype, &self.config.to_json())
    }

    /// The names of the files that [`save`](Self::save) writes, with their sizes in bytes.
    ///
    /// # Errors
    ///
    /// None that a model can cause.
    pub fn file_sizes(&self, dtype: SaveDtype) -> Result<Vec<(&'static str, u64)>, ModelError> {
        file_sizes(self, dtype, &self.config.to_json())
    }
}

fn labelled(dir: &Path, num_labels: Option<usize>) -> Result<BertConfig, ModelError> {
    let config = BertConfig::from_path(dir)?;
    match num_labels {
        Some(0) => Err(ModelError::Config {
            path: dir.join("config.json"),
            problems: vec!["a head of 0 classes was asked for: at least 1 is needed".into()],
        }),
        Some(count) => Ok(config.with_num_labels(count)),
        None => Ok(config),
    }
}
