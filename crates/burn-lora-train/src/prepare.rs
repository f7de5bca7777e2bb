//! From a configuration to everything a run needs: device, tokenizer, data, model, adapter.
//!
//! `check`, `train` and `eval` all start here, so that what `check` accepts the others can use. Cheap things come first: a mistake in the data shows before the weights are read.

use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;
use burn_lora_models::LoadReport;
use burn_lora_models::bert::SequenceClassifier;
use burn_lora_models::llama::LlamaForCausalLM;
use burn_lora_models::tokenizer::Tokenizer;
use burn_lora_patch::peft::AdapterConfig;
use burn_lora_patch::{PatchConfig, PatchReport, grouped, patch};

use crate::base::BaseCache;
use crate::config::{AdapterSection, DataSection, LoraSection, ModelSource, RunConfig};
use crate::data::{
    Classes, DataReport, LabelBatch, Limit, Packed, Prompt, RowFile, TokenBatch, TokenExample,
    Tokenization, label_examples, pack, prompts, token_examples,
};
use crate::learner::Objective;
use crate::observe::Observer;
use crate::rows::Rows;
use crate::{TrainError, base, ids};

/// A run of either kind.
#[allow(clippy::large_enum_variant, reason = "one exists at a time")]
pub enum Prepared {
    /// A decoder and text.
    Causal(Run<LlamaForCausalLM>),
    /// An encoder and labelled rows.
    Classifier(Run<SequenceClassifier>),
}

/// Everything a run of a model of type `M` needs.
pub struct Run<M: Objective> {
    /// The configuration, with what the data decided filled in.
    pub config: RunConfig,
    /// The device to train on, with autodiff.
    pub device: Device,
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// The model on that device: adapted and frozen, or trainable as a whole.
    pub model: M,
    /// What the adapter came to; none for `method = "full"`.
    pub patched: Option<(PatchReport, AdapterConfig)>,
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
}

impl<M: Objective> Run<M> {
    /// The optimiser steps of one pass over the training rows.
    pub fn steps_per_epoch(&self) -> usize {
        self.train.training(&self.config.train).1
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
        match &self.patched {
            Some((report, _)) => report.trainable_line(),
            None => {
                let total = grouped(Module::num_params(&self.model));
                format!("trainable: {total} of {total} (100.00 %)")
            }
        }
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

/// Prepares a run.
///
/// # Errors
///
/// Whatever is wrong with device, tokenizer, data, model or targets.
pub fn prepare(
    config: RunConfig,
    adapt: Adapt,
    observer: &Observer,
) -> Result<Prepared, TrainError> {
    prepare_on(None, config, adapt, observer)
}

/// [`prepare`], with base models of earlier runs to take up.
pub(crate) fn prepare_on(
    bases: Option<&BaseCache>,
    mut config: RunConfig,
    adapt: Adapt,
    observer: &Observer,
) -> Result<Prepared, TrainError> {
    let device = burn_lora::device::parse(&config.train.device)?.autodiff();
    let causal = base::architecture(&config.model.source, observer)?.is_causal();
    observer.stage("reading the data");
    let tokenizer = base::tokenizer(&config, observer)?;
    let data = &config.data;
    let Files { train, eval } = files(data, config.train.seed)?;
    let mut notes = Vec::new();
    let mut note = |report: DataReport| notes.push(report.to_string());
    // Padding is masked everywhere; any id of the vocabulary serves.
    let pad = tokenizer.pad_id().unwrap_or(0);

    if causal {
        let how = Tokenization::from(data);
        let mut examples = Vec::with_capacity(train.len());
        for (file, weight) in &train {
            let (of_file, report) = token_examples(file, &tokenizer, &how)?;
            note(report);
            examples.push((of_file, *weight));
        }
        let first = examples.iter().find_map(|(of_file, _)| of_file.first());
        let sample = crate::sample::tokens(first, &tokenizer);
        let train = match data.packing {
            true => Rows::of_packs(packed(examples, data.max_length), pad),
            false => Rows::of_tokens(examples, pad),
        };
        let mut held_out = None;
        let mut held_prompts = Vec::new();
        if let Some(file) = &eval {
            let (examples, report) = token_examples(file, &tokenizer, &how)?;
            note(report);
            held_out = Some(Rows::<TokenBatch>::of_tokens(vec![(examples, 1.0)], pad));
            held_prompts = prompts(file, &tokenizer, &how)?;
        }
        let (model, loaded) = BaseCache::causal(bases, &config, &device, observer)?;
        fits(config.data.max_length, model.config().max_position_embeddings)?;
        let (model, patched) = adapted(model, &config, adapt)?;
        return Ok(Prepared::Causal(Run {
            device,
            tokenizer,
            model,
            patched,
            train,
            eval: held_out,
            prompts: held_prompts,
            sample,
            notes: [notes, load_notes(&loaded)].concat(),
            config,
        }));
    }

    if data.packing {
        return Err(TrainError::Packing);
    }
    let classes = match &data.labels {
        Some(names) => Classes::named(names.clone()),
        None => Classes::of(train.iter().map(|(file, _)| file))?,
    };
    let limit = Limit::from(&Tokenization::from(data));
    let max_length = data.max_length;
    let mut examples = Vec::with_capacity(train.len());
    for (file, weight) in &train {
        let (of_file, report) = label_examples(file, &tokenizer, &classes, limit)?;
        note(report);
        examples.push((of_file, *weight));
    }
    let first = examples.iter().find_map(|(of_file, _)| of_file.first());
    let sample = crate::sample::label(first, &tokenizer, &classes);
    let train = Rows::of_labels(examples, pad);
    let mut held_out = None;
    if let Some(file) = &eval {
        let (examples, report) = label_examples(file, &tokenizer, &classes, limit)?;
        note(report);
        held_out = Some(Rows::<LabelBatch>::of_labels(vec![(examples, 1.0)], pad));
    }
    // The order of the classes is the order of the head's outputs: a run must not lose it.
    config.data.labels = Some(classes.names().to_vec());
    let (model, loaded) = BaseCache::classifier(bases, &config, &device, observer)?;
    fits(max_length, model.config().max_tokens())?;
    let (model, patched) = adapted(model, &config, adapt)?;
    Ok(Prepared::Classifier(Run {
        device,
        tokenizer,
        model,
        patched,
        train,
        eval: held_out,
        prompts: Vec::new(),
        sample,
        notes: [notes, load_notes(&loaded)].concat(),
        config,
    }))
}

/// The data files of a run.
struct Files {
    /// Those to train on, each with its weight.
    train: Vec<(RowFile, f64)>,
    /// The one to evaluate on, or what was held out of the one to train on.
    eval: Option<RowFile>,
}

fn files(data: &DataSection, seed: u64) -> Result<Files, TrainError> {
    let mut train = Vec::with_capacity(data.train.len());
    for source in &data.train {
        train.push((source.read(data.format)?, source.weight));
    }
    let mut eval = match &data.eval {
        Some(path) => Some(RowFile::read(path, data.format, data.eval_limit)?),
        None => None,
    };
    // The configuration sees to it that there is one file to hold rows out of.
    if let (Some(share), 1) = (data.held_out, train.len())
        && let Some((file, weight)) = train.pop()
    {
        let (kept, held) = file.hold_out(share, seed)?;
        train.push((kept, weight));
        eval = Some(held);
    }
    Ok(Files { train, eval })
}

/// The examples of each file, packed by itself: its weight is that of its rows.
fn packed(files: Vec<(Vec<TokenExample>, f64)>, max_length: usize) -> Vec<(Vec<Packed>, f64)> {
    files.into_iter().map(|(examples, weight)| (pack(examples, max_length), weight)).collect()
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

fn fits(max_length: usize, limit: usize) -> Result<(), TrainError> {
    if max_length > limit {
        return Err(TrainError::TooLong { max_length, limit });
    }
    Ok(())
}

/// Patches the model where an adapter is to be trained, and gives every parameter an identity that
/// a later process gives it again.
fn adapted<M: Objective>(
    mut model: M,
    config: &RunConfig,
    adapt: Adapt,
) -> Result<(M, Option<(PatchReport, AdapterConfig)>), TrainError> {
    let mut patched = None;
    if let (AdapterSection::Lora(section), Adapt::Fresh) = (&config.adapter, adapt) {
        let patch_config = patch_config(section, M::TASK, config.train.seed);
        let report = patch(&mut model, &patch_config)?;
        let mut adapter = AdapterConfig::from_patch(&patch_config);
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

fn patch_config(section: &LoraSection, task: burn_lora_patch::TaskType, seed: u64) -> PatchConfig {
    let mut config = PatchConfig::new(section.lora.clone(), section.targets.clone())
        .with_task_type(task)
        .with_exclude(section.exclude.clone())
        .with_modules_to_save(section.modules_to_save.clone())
        .with_seed(seed);
    config.layers_to_transform = section.layers_to_transform.clone();
    config.layers_pattern = section.layers_pattern.clone();
    config
}
