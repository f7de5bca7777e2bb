//! What a run reads before its model: device, tokenizer and rows.
//!
//! Cheap things come first, so that a mistake in the data, or a run that needs too much memory, shows
//! before the weights are read.

use std::path::PathBuf;

use burn::tensor::Device;
use burn_lora_models::tokenizer::Tokenizer;
use burn_lora_models::{ClassifierConfig, ModelConfig, SequenceClassifierConfig};

use crate::learner::TrainableModel;
use crate::observe::Observer;
use crate::{TrainError, base};
use burn_lora_config::{DataSection, RunConfig, TrainSection};
use burn_lora_data::{
    Classes, DataReport, Draw, LabelBatch, Limit, Order, Packed, Prompt, Reading, RowFile, Rows,
    Squad, TokenBatch, TokenExample, Tokenization, label_examples, pack, prompts, show,
    token_examples,
};

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

/// The rows of a run, as batches of one kind are made of them.
pub struct ReadRows<B> {
    train: Rows<B>,
    eval: Option<Rows<B>>,
    prompts: Vec<Prompt>,
    sample: String,
    notes: Vec<String>,
}

/// Reads what the configuration names, but for the model's weights.
pub(crate) fn read<M: TrainableModel>(
    mut config: RunConfig,
    observer: &Observer,
) -> Result<ReadRun<M::Batch>, TrainError> {
    let device = burn_lora::device::parse(&config.train.device)?.autodiff();
    observer.stage("reading the data");
    let tokenizer = base::tokenizer(&config, observer)?;
    let base = base::place(&config, observer)?;
    let vocabulary = base::vocabulary::<M>(&base)?;
    let files = files(&config.data, config.train.seed, base, vocabulary)?;
    let rows = M::read(files, &tokenizer, &mut config)?;
    let ReadRows { train, eval, prompts, sample, notes } = rows;
    Ok(ReadRun { config, device, tokenizer, train, eval, prompts, sample, notes })
}

/// Any id that the model knows serves as padding, which is masked everywhere.
fn padding(tokenizer: &Tokenizer, vocabulary: usize) -> u32 {
    tokenizer.pad_id().filter(|&id| is_known(id, vocabulary)).unwrap_or(0)
}

fn is_known(id: u32, vocabulary: usize) -> bool {
    usize::try_from(id).is_ok_and(|id| id < vocabulary)
}

/// Sees to it that the model has a row for every token.
fn known<'a>(
    ids: impl IntoIterator<Item = &'a u32>,
    tokenizer: &Tokenizer,
    vocabulary: usize,
) -> Result<(), TrainError> {
    match ids.into_iter().find(|&&id| !is_known(id, vocabulary)) {
        None => Ok(()),
        Some(&id) => {
            let token = tokenizer.id_to_token(id).unwrap_or_default();
            Err(TrainError::UnknownToken { id, token, vocabulary })
        }
    }
}

/// Texts, as tokens that carry loss or not.
pub(crate) fn token_rows(
    files: Files,
    tokenizer: &Tokenizer,
    config: &RunConfig,
) -> Result<ReadRows<TokenBatch>, TrainError> {
    let (data, pad) = (&config.data, padding(tokenizer, files.vocabulary));
    let how = tokenization(data);
    let mut notes = Vec::new();
    let mut note = |report: DataReport| notes.push(report.to_string());
    let mut examples = Vec::with_capacity(files.train.len());
    for (file, weight) in &files.train {
        let (of_file, report) = token_examples(file, tokenizer, &how)?;
        known(of_file.iter().flat_map(|example| &example.ids), tokenizer, files.vocabulary)?;
        note(report);
        examples.push((of_file, *weight));
    }
    let first = examples.iter().find_map(|(of_file, _)| of_file.first());
    let sample = show::tokens(first, tokenizer);
    let train = match data.packing {
        true => Rows::of_packs(packed(examples, data.max_length), pad),
        false => Rows::of_tokens(examples, pad),
    };
    let mut eval = None;
    let mut held_prompts = Vec::new();
    if let Some(file) = &files.eval {
        let (examples, report) = token_examples(file, tokenizer, &how)?;
        known(examples.iter().flat_map(|example| &example.ids), tokenizer, files.vocabulary)?;
        note(report);
        eval = Some(Rows::<TokenBatch>::of_tokens(vec![(examples, 1.0)], pad));
        held_prompts = prompts(file, tokenizer, &how)?;
    }
    Ok(ReadRows { train, eval, prompts: held_prompts, sample, notes })
}

/// Texts with labels; the configuration is told which classes there are.
pub(crate) fn label_rows(
    files: Files,
    tokenizer: &Tokenizer,
    config: &mut RunConfig,
) -> Result<ReadRows<LabelBatch>, TrainError> {
    let (data, pad) = (&config.data, padding(tokenizer, files.vocabulary));
    if data.packing {
        return Err(TrainError::Packing);
    }
    let classes = match &data.labels {
        Some(names) => Classes::named(names.clone()),
        None => {
            let base = SequenceClassifierConfig::from_path(&files.base)?;
            Classes::of_head(files.train.iter().map(|(file, _)| file), base.labels())?
        }
    };
    let limit = tokenization(data).limit;
    let mut notes = Vec::new();
    let mut note = |report: DataReport| notes.push(report.to_string());
    let mut examples = Vec::with_capacity(files.train.len());
    for (file, weight) in &files.train {
        let (of_file, report) = label_examples(file, tokenizer, &classes, limit)?;
        known(of_file.iter().flat_map(|example| &example.ids), tokenizer, files.vocabulary)?;
        note(report);
        examples.push((of_file, *weight));
    }
    let first = examples.iter().find_map(|(of_file, _)| of_file.first());
    let sample = show::label(first, tokenizer, &classes);
    let train = Rows::of_labels(examples, pad);
    let mut eval = None;
    if let Some(file) = &files.eval {
        let (examples, report) = label_examples(file, tokenizer, &classes, limit)?;
        known(examples.iter().flat_map(|example| &example.ids), tokenizer, files.vocabulary)?;
        note(report);
        eval = Some(Rows::<LabelBatch>::of_labels(vec![(examples, 1.0)], pad));
    }
    // The order of the classes is the order of the head's outputs: a run must not lose it.
    config.data.labels = Some(classes.names().to_vec());
    Ok(ReadRows { train, eval, prompts: Vec::new(), sample, notes })
}

/// How the configuration has files read; at most `limit` rows of each.
pub fn reading(data: &DataSection, limit: Option<usize>) -> Reading {
    let (template, no_answer) = (data.squad_template.clone(), data.squad_no_answer.clone());
    Reading { format: data.format, limit, squad: Squad { template, no_answer } }
}

fn tokenization(data: &DataSection) -> Tokenization {
    Tokenization {
        limit: Limit { max_length: data.max_length, over_long: data.over_long },
        separator: data.separator.clone(),
        eos: data.eos,
    }
}

/// How the configuration has the rows of steps drawn.
pub(crate) fn draw(train: &TrainSection) -> Draw {
    Draw {
        batch_size: train.batch_size,
        accumulate: train.accumulate,
        seed: train.seed,
        order: Order::training(train.shuffle, train.group_by_length),
    }
}

/// The data files of a run.
pub struct Files {
    /// Those to train on, each with its weight.
    train: Vec<(RowFile, f64)>,
    /// The one to evaluate on, or what was held out of the one to train on.
    eval: Option<RowFile>,
    /// Where the model lies.
    base: PathBuf,
    /// Rows of the model's token table: ids lie below.
    vocabulary: usize,
}

fn files(
    data: &DataSection,
    seed: u64,
    base: PathBuf,
    vocabulary: usize,
) -> Result<Files, TrainError> {
    let mut train = Vec::with_capacity(data.train.len());
    for source in &data.train {
        train.push((source.read(&reading(data, None))?, source.weight));
    }
    let mut eval = match &data.eval {
        Some(path) => Some(RowFile::read(path, &reading(data, data.eval_limit))?),
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
    Ok(Files { train, eval, base, vocabulary })
}

/// The examples of each file, packed by itself: its weight is that of its rows.
fn packed(files: Vec<(Vec<TokenExample>, f64)>, max_length: usize) -> Vec<(Vec<Packed>, f64)> {
    files.into_iter().map(|(examples, weight)| (pack(examples, max_length), weight)).collect()
}
