//! What a run reads before its model: device, tokenizer and rows.
//!
//! Cheap things come first, so that a mistake in the data, or a run that needs too much memory, shows
//! before the weights are read.

use burn::tensor::Device;
use burn_lora_models::tokenizer::Tokenizer;

use crate::config::{DataSection, RunConfig};
use crate::data::{
    Classes, DataReport, LabelBatch, Limit, Packed, Prompt, RowFile, TokenBatch, TokenExample,
    Tokenization, label_examples, pack, prompts, token_examples,
};
use crate::observe::Observer;
use crate::rows::Rows;
use crate::{TrainError, base};

/// What a run of either kind has read.
#[allow(clippy::large_enum_variant, reason = "one exists at a time")]
pub(crate) enum Read {
    /// For a decoder.
    Causal(ReadRun<TokenBatch>),
    /// For an encoder with a head.
    Classifier(ReadRun<LabelBatch>),
}

impl Read {
    pub(crate) fn config(&self) -> &RunConfig {
        match self {
            Self::Causal(run) => &run.config,
            Self::Classifier(run) => &run.config,
        }
    }
}

/// A run without its model; see [`Run`](super::Run) for what the fields are.
pub(crate) struct ReadRun<B> {
    pub config: RunConfig,
    pub device: Device,
    pub tokenizer: Tokenizer,
    pub train: Rows<B>,
    pub eval: Option<Rows<B>>,
    pub prompts: Vec<Prompt>,
    pub sample: String,
    pub notes: Vec<String>,
}

/// Reads what the configuration names, but for the model's weights.
pub(crate) fn read(mut config: RunConfig, observer: &Observer) -> Result<Read, TrainError> {
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
        let sample = super::sample::tokens(first, &tokenizer);
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
        return Ok(Read::Causal(ReadRun {
            device,
            tokenizer,
            train,
            eval: held_out,
            prompts: held_prompts,
            sample,
            notes,
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
    let mut examples = Vec::with_capacity(train.len());
    for (file, weight) in &train {
        let (of_file, report) = label_examples(file, &tokenizer, &classes, limit)?;
        note(report);
        examples.push((of_file, *weight));
    }
    let first = examples.iter().find_map(|(of_file, _)| of_file.first());
    let sample = super::sample::label(first, &tokenizer, &classes);
    let train = Rows::of_labels(examples, pad);
    let mut held_out = None;
    if let Some(file) = &eval {
        let (examples, report) = label_examples(file, &tokenizer, &classes, limit)?;
        note(report);
        held_out = Some(Rows::<LabelBatch>::of_labels(vec![(examples, 1.0)], pad));
    }
    // The order of the classes is the order of the head's outputs: a run must not lose it.
    config.data.labels = Some(classes.names().to_vec());
    Ok(Read::Classifier(ReadRun {
        device,
        tokenizer,
        train,
        eval: held_out,
        prompts: Vec::new(),
        sample,
        notes,
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
