//! What a run (or its base model) is worth on the held-out rows.

use std::fmt;
use std::path::Path;

use burn::data::dataloader::DataLoader;
use burn::data::dataset::DatasetError;
use burn::module::Module;
use burn_lora_config::RunConfig;
use burn_lora_files::digest::Digest;
use burn_lora_patch::LoadOptions;
use burn_lora_report::figure;
use burn_lora_report::record::EvalRecord;
use burn_lora_report::sample::{Sample, Scores};

use crate::checkpoint::Checkpoints;
use crate::directory::RunDirectory;
use crate::elsewhere::computing;
use crate::exchange::{Ranks, tallies};
use crate::learner::{Micro, OptimizerTap, TrainableModel, Trainee};
use crate::loader::StepLoader;
use crate::metrics::Tally;
use crate::observe::Observer;
use crate::prepare::{Kind, Run, draw, prepare_held_out};
use crate::samples::scoring;
use crate::scene::{Scene, Surroundings};
use crate::{TrainError, adapter, with_model};

/// The measures of one evaluation.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// Sums over the held-out targets.
    pub tally: Tally,
    /// Whether targets are rows to classify.
    pub classifies: bool,
    /// Generated texts, where scores of them were asked for.
    pub samples: Vec<Sample>,
    /// Those scores.
    pub scores: Scores,
}

impl Evaluation {
    /// The measures under the names that `metrics.jsonl` has; `step` is 0, which the files do not say.
    pub fn record(&self) -> EvalRecord {
        record(0, &self.tally, &self.scores)
    }
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = self.record();
        let figures = figure::telling(self.classifies);
        // BLEU tells its parts, below.
        let lines: Vec<String> = figures
            .iter()
            .filter(|figure| figure.tag != figure::BLEU.tag)
            .filter_map(|figure| Some(format!("{}: {}", figure.name, figure.shown(&record)?)))
            .chain(self.scores.bleu.map(|bleu| bleu.to_string()))
            .collect();
        f.write_str(&lines.join("\n"))
    }
}

/// What an evaluation after `step` steps measured.
pub(crate) fn record(step: usize, tally: &Tally, scores: &Scores) -> EvalRecord {
    EvalRecord {
        step,
        eval_loss: tally.mean_loss(),
        perplexity: tally.perplexity(),
        accuracy: tally.accuracy(),
        exact_match: scores.exact_match,
        bleu: scores.bleu.map(|bleu| bleu.score),
    }
}

/// Adds up what the batches measure, in their order, and tells of each. Ranks measure them in turn.
///
/// # Errors
///
/// A batch or a number that cannot be read; a loss that is not finite; a rank that has ended. `step` says after how many steps, where
/// that is known.
pub(crate) fn tallied<M: TrainableModel>(
    ranks: &Ranks,
    trainee: &Trainee<M>,
    batches: impl Iterator<Item = Result<Micro<M::Batch>, DatasetError>>,
    step: Option<usize>,
    mut told: impl FnMut(usize, Tally),
) -> Result<Tally, TrainError> {
    let mut sum = Tally::default();
    let mut count = |index: usize, tally: Tally| {
        if !tally.loss.is_finite() {
            let scene = Scene::in_batch(Some(index));
            return Err(TrainError::EvaluationNotFinite { step, value: tally.loss, scene });
        }
        sum.add(tally);
        told(index + 1, tally);
        Ok(())
    };
    let mut mine = Vec::new();
    for (index, micro) in batches.enumerate() {
        let micro = micro.map_err(TrainError::burn("reading a held-out batch"))?;
        if ranks.turn(index) != ranks.rank() {
            continue;
        }
        let tally =
            trainee.measure(&micro).map_err(TrainError::burn("reading the held-out loss"))?;
        match ranks.are_one() {
            true => count(index, tally)?,
            false => mine.push(tally),
        }
    }
    for (index, tally) in tallies(ranks, mine)?.into_iter().enumerate() {
        count(index, tally)?;
    }
    Ok(sum)
}

/// Evaluates a finished run on its held-out rows; `overrides` change its configuration, such as
/// `data.eval=other.jsonl`. A file to train on is opened only where rows are held out of it.
///
/// # Errors
///
/// No finished run at `dir`, no rows held out, rows held out of a file otherwise than the run did, or files that do not fit.
pub fn evaluate(
    dir: &Path,
    overrides: &[String],
    observer: &Observer,
) -> Result<Evaluation, TrainError> {
    let directory = RunDirectory::new(dir);
    let mut config = directory.read_config(overrides)?;
    if config.data.eval.is_none() && config.data.held_out.is_none() {
        return Err(nothing_held_out(dir));
    }
    held_out_of_training(&directory, &config)?;
    let adapter = directory.trained(&mut config)?;
    let device = config.train.device.clone();
    computing(&device, || {
        with_model!(Kind::of(&config, observer)?, Model => {
            let run = prepare_held_out::<Model>(config, observer)?;
            measure(run, dir, adapter.as_deref(), observer)
        })
    })
}

/// Sees to it that rows which are to be held out of the training rows were held out when the run was trained.
fn held_out_of_training(directory: &RunDirectory, config: &RunConfig) -> Result<(), TrainError> {
    if config.data.eval.is_some() {
        return Ok(());
    }
    let then = directory.written_config()?;
    let dir = || directory.path().to_owned();
    let shares = |config: &RunConfig| (config.data.held_out, config.train.seed);
    let files = |config: &RunConfig| config.data.train.len();
    if then.data.eval.is_some() || shares(&then) != shares(config) || files(&then) != files(config)
    {
        return Err(TrainError::OtherHeldOut { dir: dir() });
    }
    // A checkpoint knows what the files held; a run that kept none is taken at its word.
    let Ok(Some(checkpoint)) = Checkpoints::new(directory.checkpoints(), 1).newest() else {
        return Ok(());
    };
    let known: Vec<_> = checkpoint.origin.inputs.data.values().collect();
    for source in config.data.train.iter().filter(|source| source.path.is_file()) {
        if !known.contains(&&Digest::of_file(&source.path)?) {
            return Err(TrainError::HeldOutChanged { dir: dir(), path: source.path.clone() });
        }
    }
    Ok(())
}

fn nothing_held_out(dir: &Path) -> TrainError {
    TrainError::NothingHeldOut { dir: dir.to_owned() }
}

fn measure<M: TrainableModel>(
    mut run: Run<M>,
    dir: &Path,
    adapter: Option<&Path>,
    observer: &Observer,
) -> Result<Evaluation, TrainError> {
    if let Some(dir) = adapter {
        adapter::load(&mut run.model, dir, &LoadOptions::default(), observer)?;
    }
    let draw = draw(&run.config.train);
    let rows = run.eval.as_ref().ok_or_else(|| nothing_held_out(dir))?;
    let (make, batches) = rows.evaluation(draw.batch_size);
    let trainee = Trainee::new(run.model, OptimizerTap::default()).valid();
    observer.stage("evaluating");
    let loader = StepLoader::new(make, 0..batches, 0);
    let told = |done: usize, _: Tally| observer.progress(done as u64, batches as u64);
    let around = Surroundings { train: &run.train, draw, held_out: Some(rows), checkpoints: None };
    let tally = tallied(&Ranks::alone(), &trainee, loader.iter(), None, told)
        .map_err(|error| around.tell(error))?;
    observer.done();
    let mut samples = Vec::new();
    let asked = scoring(&run.config.train);
    if asked.is_asked() {
        observer.stage("generating");
        let max_tokens = run.config.data.generate_max_tokens;
        samples = trainee.model().samples(&run.tokenizer, &run.prompts, max_tokens, observer)?;
        observer.done();
    }
    let classifies = M::TASK == burn_lora_patch::TaskType::SeqCls;
    let scores = asked.scores(&samples);
    Ok(Evaluation { tally, classifies, samples, scores })
}
