//! What a run reads before its model: device, tokenizer and rows.
//!
//! Cheap things come first, so that a mistake in the data, or a run that needs too much memory, shows
//! before the weights are read.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use burn_lora_models::tokenizer::Tokenizer;
use burn_lora_models::{ClassifierConfig, ModelConfig, SequenceClassifierConfig};

use crate::base::Base;
use crate::learner::TrainableModel;
use crate::observe::Observer;
use crate::samples::scoring;
use crate::{TrainError, base};
use burn_lora_config::{DataSection, RunConfig, TrainSection};
use burn_lora_data::{
    Classes, DataError, DataReport, Draw, LabelBatch, LabelExample, Limit, Order, Packed, Place,
    Places, Prompt, Reading, RowFile, Rows, Source, Squad, TokenBatch, TokenExample, Tokenization,
    label_examples, pack_by, prompts, show, token_examples,
};

/// A run without its model; see [`Run`](super::Run) for what the fields are.
pub(crate) struct ReadRun<M: TrainableModel> {
    pub config: RunConfig,
    pub device: Device,
    pub tokenizer: Tokenizer,
    pub base: Base<M>,
    pub train: Rows<M::Batch>,
    pub eval: Option<Rows<M::Batch>>,
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

/// Which rows are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Those to train on and those held out.
    All,
    /// Those held out; no other file is opened.
    HeldOut,
}

/// Reads what the configuration names, but for the model's weights.
pub(crate) fn read<M: TrainableModel>(
    mut config: RunConfig,
    wanted: Wanted,
    observer: &Observer,
) -> Result<ReadRun<M>, TrainError> {
    let device = burn_lora::device::parse(&config.train.device)?.autodiff();
    observer.stage("reading the data");
    let tokenizer = base::tokenizer(&config, observer)?;
    let base = Base::<M>::of(&config, observer)?;
    let files = files(&config.data, wanted, config.train.seed, &base)?;
    let rows = M::read(files, &tokenizer, &mut config)?;
    let ReadRows { train, eval, prompts, sample, notes } = rows;
    ends_known(&tokenizer, base.vocabulary())?;
    let notes = [notes, seen(&config.data).into_iter().collect(), base.notes(&tokenizer)].concat();
    Ok(ReadRun { config, device, tokenizer, base, train, eval, prompts, sample, notes })
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

/// What is said where the rows to evaluate on are trained on.
fn seen(data: &DataSection) -> Option<String> {
    let eval = data.eval.as_ref()?;
    let place = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let is_trained = data.train.iter().any(|source| place(&source.path) == place(eval));
    is_trained.then(|| {
        format!(
            "{}: is trained on and evaluated on, so that its loss is no held-out loss: give other rows as data.eval, or data.held_out",
            eval.display()
        )
    })
}

/// Sees to it that the model can give every token that ends a text.
fn ends_known(tokenizer: &Tokenizer, vocabulary: usize) -> Result<(), TrainError> {
    let ends = tokenizer.eos_ids();
    match ends.iter().find(|id| !is_known(**id, vocabulary)) {
        None => Ok(()),
        Some(&id) => Err(match tokenizer.id_to_token(id) {
            Some(token) => TrainError::UnknownToken { id, token, vocabulary },
            None => TrainError::UnknownEnd { id, vocabulary },
        }),
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
    let (mut examples, mut packs) = (Vec::new(), Vec::new());
    let (mut places, mut sample) = (Places::default(), String::new());
    for (file, weight) in &files.train {
        let (of_file, report) = token_examples(file, tokenizer, &how)?;
        known(of_file.iter().flat_map(|example| &example.ids), tokenizer, files.vocabulary)?;
        if sample.is_empty() {
            sample = show::tokens(of_file.first(), tokenizer);
        }
        match data.packing {
            true => {
                let (of_file, stand) = packed(of_file, &report, data.max_length);
                places.add_packed(&file.path, stand);
                packs.push((of_file, *weight));
            }
            false => {
                places.add(&file.path, report.places.clone());
                examples.push((of_file, *weight));
            }
        }
        note(report);
    }
    let train = match data.packing {
        true => Rows::of_packs(packs, pad),
        false => Rows::of_tokens(examples, pad),
    };
    let train = train.standing(places);
    let mut eval = None;
    let mut held_prompts = Vec::new();
    if let Some(file) = &files.eval {
        let (examples, report) = token_examples(file, tokenizer, &how)?;
        known(examples.iter().flat_map(|example| &example.ids), tokenizer, files.vocabulary)?;
        let rows = Rows::<TokenBatch>::of_tokens(vec![(examples, 1.0)], pad);
        eval = Some(rows.standing(of_one(file, &report)));
        note(report);
        held_prompts = prompts(file, tokenizer, &how)?;
        let scoring = scoring(&config.train);
        if held_prompts.is_empty() && (scoring.exact_match || scoring.bleu) {
            return Err(TrainError::NothingToScore { path: file.path.clone() });
        }
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
    let mut places = Places::default();
    for (file, weight) in &files.train {
        let (of_file, report) = label_examples(file, tokenizer, &classes, limit)?;
        known(of_file.iter().flat_map(|example| &example.ids), tokenizer, files.vocabulary)?;
        places.add(&file.path, report.places.clone());
        note(report);
        examples.push((of_file, *weight));
    }
    let mut all = examples.iter().flat_map(|(of_file, _)| of_file);
    let first = all.next();
    several_classes(&files, first, all, &classes)?;
    let sample = show::label(first, tokenizer, &classes);
    let train = Rows::of_labels(examples, pad).standing(places);
    let mut eval = None;
    if let Some(file) = &files.eval {
        let (examples, report) = label_examples(file, tokenizer, &classes, limit)?;
        known(examples.iter().flat_map(|example| &example.ids), tokenizer, files.vocabulary)?;
        let rows = Rows::<LabelBatch>::of_labels(vec![(examples, 1.0)], pad);
        eval = Some(rows.standing(of_one(file, &report)));
        note(report);
    }
    // The order of the classes is the order of the head's outputs: a run must not lose it.
    config.data.labels = Some(classes.names().to_vec());
    Ok(ReadRows { train, eval, prompts: Vec::new(), sample, notes })
}

/// Sees to it that the rows to train on are not all of one class.
fn several_classes<'a>(
    files: &Files,
    first: Option<&LabelExample>,
    mut others: impl Iterator<Item = &'a LabelExample>,
    classes: &Classes,
) -> Result<(), TrainError> {
    match (first, files.train.first()) {
        (Some(first), Some((file, _))) if others.all(|other| other.label == first.label) => {
            let class = classes.names().get(first.label).cloned().unwrap_or_default();
            Err(DataError::OneClass { path: file.path.clone(), class }.into())
        }
        _ => Ok(()),
    }
}

/// Where the rows of one file stand.
fn of_one(file: &RowFile, report: &DataReport) -> Places {
    let mut places = Places::default();
    places.add(&file.path, report.places.clone());
    places
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
        answers: data.answers,
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

fn files<M: TrainableModel>(
    data: &DataSection,
    wanted: Wanted,
    seed: u64,
    base: &Base<M>,
) -> Result<Files, TrainError> {
    // What is held out of a file to train on is found in that file alone.
    let opened: &[Source] = match (wanted, data.held_out) {
        (Wanted::HeldOut, None) => &[],
        _ => &data.train,
    };
    let mut train = Vec::with_capacity(opened.len());
    for source in opened {
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
        if wanted == Wanted::All {
            train.push((kept, weight));
        }
        eval = Some(held);
    }
    let vocabulary = base.vocabulary();
    Ok(Files { train, eval, base: base.place.clone(), vocabulary })
}

/// The examples of a file, packed by themselves since its weight is that of its rows; and where those of each pack stand.
fn packed(
    examples: Vec<TokenExample>,
    report: &DataReport,
    max_length: usize,
) -> (Vec<Packed>, Vec<Vec<Place>>) {
    let placed: Vec<(TokenExample, Place)> =
        examples.into_iter().zip(report.places.iter().cloned()).collect();
    let packs = pack_by(placed, max_length, |(example, _)| example.ids.len());
    packs
        .into_iter()
        .map(|pack| {
            let (examples, places) = pack.into_iter().unzip();
            (Packed { examples }, places)
        })
        .unzip()
}
