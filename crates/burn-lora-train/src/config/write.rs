//! A run configuration as the flat keys of its file.

use std::path::Path;

use burn_lora::Init;
use burn_lora_patch::Targets;
use serde::{Serialize, Serializer};

use super::sections::{
    AdapterSection, DataSection, Dtype, Length, LoraSection, Metric, ModelSection, ModelSource,
    OutputSection, RunConfig, Schedule, TrainSection, Warmup,
};
use crate::data::{Format, Source};

impl Serialize for RunConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        File {
            model: Model::from(&self.model),
            adapter: Adapter::from(&self.adapter),
            data: Data::from(&self.data),
            train: Train::from(&self.train),
            output: &self.output,
        }
        .serialize(serializer)
    }
}

#[derive(Serialize)]
struct File<'a> {
    model: Model<'a>,
    adapter: Adapter<'a>,
    data: Data<'a>,
    train: Train<'a>,
    output: &'a OutputSection,
}

#[derive(Serialize)]
struct Model<'a> {
    path: Option<&'a Path>,
    config: Option<&'a Path>,
    tokenizer: &'a Path,
    dtype: Dtype,
}

impl<'a> From<&'a ModelSection> for Model<'a> {
    fn from(model: &'a ModelSection) -> Self {
        let (path, config) = match &model.source {
            ModelSource::Pretrained(path) => (Some(path.as_path()), None),
            ModelSource::Random(config) => (None, Some(config.as_path())),
        };
        Self { path, config, tokenizer: &model.tokenizer, dtype: model.dtype }
    }
}

#[derive(Serialize)]
struct Adapter<'a> {
    method: &'static str,
    #[serde(flatten)]
    lora: Option<Lora<'a>>,
}

#[derive(Serialize)]
struct Lora<'a> {
    rank: usize,
    alpha: f64,
    dropout: f64,
    rslora: bool,
    init: Init,
    exclude: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    layers_to_transform: Option<&'a [usize]>,
    layers_pattern: &'a [String],
    modules_to_save: &'a [String],
    /// Last, because a regex is written as a table of its own.
    targets: &'a Targets,
}

impl<'a> From<&'a AdapterSection> for Adapter<'a> {
    fn from(adapter: &'a AdapterSection) -> Self {
        match adapter {
            AdapterSection::Full => Self { method: "full", lora: None },
            AdapterSection::Lora(section) => {
                Self { method: section.lora.method.as_str(), lora: Some(Lora::from(section)) }
            }
        }
    }
}

impl<'a> From<&'a LoraSection> for Lora<'a> {
    fn from(section: &'a LoraSection) -> Self {
        let lora = &section.lora;
        Self {
            rank: lora.rank,
            alpha: lora.alpha,
            dropout: lora.dropout,
            rslora: lora.rslora,
            init: lora.init,
            exclude: &section.exclude,
            layers_to_transform: section.layers_to_transform.as_deref(),
            layers_pattern: &section.layers_pattern,
            modules_to_save: &section.modules_to_save,
            targets: &section.targets,
        }
    }
}

#[derive(Serialize)]
struct Data<'a> {
    train: Files<'a>,
    eval: Option<&'a Path>,
    held_out: f64,
    format: &'static str,
    max_length: usize,
    over_long: &'static str,
    packing: bool,
    separator: &'a str,
    eos: bool,
    labels: Option<&'a [String]>,
    eval_limit: Option<usize>,
    generate_max_tokens: usize,
}

impl<'a> From<&'a DataSection> for Data<'a> {
    fn from(data: &'a DataSection) -> Self {
        Self {
            train: Files::from(&data.train[..]),
            eval: data.eval.as_deref(),
            held_out: data.held_out.unwrap_or(0.0),
            format: data.format.map_or("auto", Format::name),
            max_length: data.max_length,
            over_long: data.over_long.name(),
            packing: data.packing,
            separator: &data.separator,
            eos: data.eos,
            labels: data.labels.as_deref(),
            eval_limit: data.eval_limit,
            generate_max_tokens: data.generate_max_tokens,
        }
    }
}

/// One path as it is most often written, or a list of tables.
#[derive(Serialize)]
#[serde(untagged)]
enum Files<'a> {
    One(&'a Path),
    Several(Vec<Weighted<'a>>),
}

#[derive(Serialize)]
#[serde(untagged)]
enum Weighted<'a> {
    Once(&'a Path),
    Often { path: &'a Path, weight: f64 },
}

impl<'a> From<&'a [Source]> for Files<'a> {
    fn from(sources: &'a [Source]) -> Self {
        match sources {
            [Source { path, weight: 1.0 }] => Self::One(path),
            _ => Self::Several(sources.iter().map(Weighted::from).collect()),
        }
    }
}

impl<'a> From<&'a Source> for Weighted<'a> {
    fn from(Source { path, weight }: &'a Source) -> Self {
        match *weight {
            1.0 => Self::Once(path),
            weight => Self::Often { path, weight },
        }
    }
}

#[derive(Serialize)]
struct Train<'a> {
    device: &'a str,
    steps: Option<usize>,
    epochs: Option<f64>,
    batch_size: usize,
    accumulate: usize,
    learning_rate: f64,
    schedule: Schedule,
    warmup: Warmup,
    clip: f64,
    weight_decay: f64,
    no_decay: &'a [String],
    lora_plus: f64,
    label_smoothing: f64,
    betas: [f64; 2],
    epsilon: f64,
    seed: u64,
    eval_every: usize,
    save_every: usize,
    keep: usize,
    threads: usize,
    exact_match: bool,
    bleu: bool,
    samples: usize,
    early_stopping: usize,
    metric: Metric,
    keep_best: bool,
    group_by_length: bool,
    shuffle: bool,
}

impl<'a> From<&'a TrainSection> for Train<'a> {
    fn from(train: &'a TrainSection) -> Self {
        let (steps, epochs) = match train.length {
            Length::Steps(steps) => (Some(steps), None),
            Length::Epochs(epochs) => (None, Some(epochs)),
        };
        Self {
            device: &train.device,
            steps,
            epochs,
            batch_size: train.batch_size,
            accumulate: train.accumulate,
            learning_rate: train.learning_rate,
            schedule: train.schedule,
            warmup: train.warmup,
            clip: train.clip.unwrap_or(0.0),
            weight_decay: train.weight_decay,
            no_decay: &train.no_decay,
            lora_plus: train.lora_plus,
            label_smoothing: train.label_smoothing,
            betas: train.betas,
            epsilon: train.epsilon,
            seed: train.seed,
            eval_every: train.eval_every.unwrap_or(0),
            save_every: train.save_every.unwrap_or(0),
            keep: train.keep,
            threads: train.threads.unwrap_or(0),
            exact_match: train.exact_match,
            bleu: train.bleu,
            samples: train.samples,
            early_stopping: train.early_stopping.unwrap_or(0),
            metric: train.metric,
            keep_best: train.keep_best,
            group_by_length: train.group_by_length,
            shuffle: train.shuffle,
        }
    }
}
