//! The sections of a run configuration, as they are after reading: complete and consistent.

use std::path::PathBuf;

use burn_lora::LoraConfig;
use burn_lora_patch::Targets;
use serde::Serialize;

use crate::data::{Format, OverLong, Source};

/// Everything that describes a run. Serialises as the file it could have been read from.
#[derive(Debug, Clone, PartialEq)]
pub struct RunConfig {
    /// `[model]`: what is trained.
    pub model: ModelSection,
    /// `[adapter]`: which of its parameters are.
    pub adapter: AdapterSection,
    /// `[data]`: what it is trained on.
    pub data: DataSection,
    /// `[train]`: how.
    pub train: TrainSection,
    /// `[output]`: where the results go.
    pub output: OutputSection,
}

/// `[model]`.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSection {
    /// Where the weights come from.
    pub source: ModelSource,
    /// Directory that holds tokenizer.json.
    pub tokenizer: PathBuf,
    /// The number format to compute in.
    pub dtype: Dtype,
}

/// Where a model's weights come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// A Hugging Face directory with weights.
    Pretrained(PathBuf),
    /// Random weights for the architecture in this config.json.
    Random(PathBuf),
}

/// A number format to compute in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32-bit floating point.
    F32,
}

/// `[adapter]`: the parameters that are trained.
#[derive(Debug, Clone, PartialEq)]
pub enum AdapterSection {
    /// Any other `method`: the factors of adapted linears.
    Lora(LoraSection),
    /// `method = "full"`: every parameter.
    Full,
}

/// The keys of `[adapter]` that `method = "full"` has not.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraSection {
    /// Kind, rank, alpha, dropout, rsLoRA, initialisation.
    pub lora: LoraConfig,
    /// The linears to adapt.
    pub targets: Targets,
    /// Linears that the targets would match but that are left alone.
    pub exclude: Vec<String>,
    /// The only layers of the stack to adapt; all where absent.
    pub layers_to_transform: Option<Vec<usize>>,
    /// Names of the lists of layers that those numbers count in.
    pub layers_pattern: Vec<String>,
    /// Modules trained whole and saved beside the factors.
    pub modules_to_save: Vec<String>,
}

/// `[data]`.
#[derive(Debug, Clone, PartialEq)]
pub struct DataSection {
    /// Training rows: files, and how often the rows of each are in an epoch. At least one.
    pub train: Vec<Source>,
    /// Rows held out of training.
    pub eval: Option<PathBuf>,
    /// The share of the training rows that is held out instead (written as 0 where absent).
    pub held_out: Option<f64>,
    /// What a row holds; found from the first row where absent.
    pub format: Option<Format>,
    /// The longest row in tokens, at least 2.
    pub max_length: usize,
    /// What becomes of longer rows.
    pub over_long: OverLong,
    /// Whether several short rows share one.
    pub packing: bool,
    /// Put between prompt and completion, as part of the prompt.
    pub separator: String,
    /// Whether each completion or text ends with the tokenizer's end token.
    pub eos: bool,
    /// The classes in the order of the model's outputs; found from the training rows where absent.
    pub labels: Option<Vec<String>>,
    /// How many of the first rows of `eval` are used; all where absent.
    pub eval_limit: Option<usize>,
    /// The longest text to generate, in tokens.
    pub generate_max_tokens: usize,
}

/// `[train]`.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainSection {
    /// The device, as `burn_lora::device::parse` takes it.
    pub device: String,
    /// How long the run is.
    pub length: Length,
    /// Rows that go through the model at once.
    pub batch_size: usize,
    /// Batches per optimiser step.
    pub accumulate: usize,
    /// The highest learning rate.
    pub learning_rate: f64,
    /// How the learning rate falls after the warm-up.
    pub schedule: Schedule,
    /// Over how many steps the learning rate rises.
    pub warmup: Warmup,
    /// The largest norm of the whole gradient; not clipped where absent (written as 0).
    pub clip: Option<f64>,
    /// AdamW's weight decay.
    pub weight_decay: f64,
    /// Endings of the names of parameters that do not decay.
    pub no_decay: Vec<String>,
    /// How many times the learning rate of A that of B is (LoRA+).
    pub lora_plus: f64,
    /// The share of each target's probability that is spread over all classes.
    pub label_smoothing: f64,
    /// AdamW's decay rates of the first and second moment.
    pub betas: [f64; 2],
    /// AdamW's epsilon.
    pub epsilon: f64,
    /// Seed of initialisation, shuffling and dropout.
    pub seed: u64,
    /// Steps between evaluations; only before and after where absent (written as 0).
    pub eval_every: Option<usize>,
    /// Steps between checkpoints; only at the end where absent (written as 0).
    pub save_every: Option<usize>,
    /// Newest checkpoints that are kept, at least 1.
    pub keep: usize,
    /// Threads to compute with on the CPU; all where absent (written as 0).
    pub threads: Option<usize>,
    /// Whether the share of generated texts that are exactly right is measured before and after.
    pub exact_match: bool,
    /// Whether the BLEU of generated texts is measured before and after.
    pub bleu: bool,
    /// Sample outputs shown before and after.
    pub samples: usize,
    /// Evaluations without improvement after which the run ends; never where absent (written as 0).
    pub early_stopping: Option<usize>,
    /// What decides which evaluation is best.
    pub metric: Metric,
    /// Whether the adapter of the best evaluation is kept.
    pub keep_best: bool,
    /// Whether rows of like lengths are batched together.
    pub group_by_length: bool,
    /// Whether every epoch has a new order of the rows.
    pub shuffle: bool,
}

/// A measure of an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Held-out loss; lower is better.
    Loss,
    /// Share of targets whose likeliest class is right; higher is better.
    Accuracy,
    /// Share of generated texts that are exactly right; higher is better.
    ExactMatch,
    /// BLEU of generated texts; higher is better.
    Bleu,
}

/// How long a run is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Length {
    /// This many optimiser steps.
    Steps(usize),
    /// This many passes over the training rows.
    Epochs(f64),
}

impl Length {
    /// The optimiser steps of a run in which one epoch takes `per_epoch` steps: at least one, a
    /// fraction of a step counting as a whole one.
    pub fn steps(self, per_epoch: usize) -> usize {
        match self {
            Self::Steps(steps) => steps,
            Self::Epochs(epochs) => ((epochs * per_epoch as f64).ceil() as usize).max(1),
        }
    }
}

/// The steps in which the learning rate rises from 0 to its highest.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Warmup {
    /// A share of the run's steps, in `[0, 1)`.
    Share(f64),
    /// A number of steps.
    Steps(usize),
}

impl Warmup {
    /// The length of the warm-up in a run of `total` steps; a share need not give a whole number.
    pub fn steps(self, total: usize) -> f64 {
        match self {
            Self::Share(share) => share * total as f64,
            Self::Steps(steps) => steps as f64,
        }
    }
}

/// How the learning rate goes on after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Half a cosine down to 0.
    Cosine,
    /// A line down to 0.
    Linear,
    /// Stays as it is.
    Constant,
}

/// `[output]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutputSection {
    /// The run directory.
    pub dir: PathBuf,
}
