//! What a run (or its base model) is worth on the held-out rows.

use std::fmt;
use std::path::Path;

use burn::module::Module;
use burn_lora_patch::peft;
use burn_train::InferenceStep;

use crate::directory::RunDirectory;
use crate::learner::{Objective, OptimizerTap, Trainee};
use crate::loader::StepLoader;
use crate::metrics::Tally;
use crate::observe::Observer;
use crate::prepare::{Adapt, Kind, Run, prepare};
use crate::score::{Sample, Scores, Scoring};
use crate::{TrainError, with_model};
use burn::data::dataloader::DataLoader;

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

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "held-out loss: {:.4}", self.tally.mean_loss())?;
        if self.classifies {
            write!(f, "\naccuracy: {:.1} %", 100.0 * self.tally.accuracy())?;
        } else {
            write!(f, "\nperplexity: {:.3}", self.tally.perplexity())?;
        }
        if let Some(share) = self.scores.exact_match {
            write!(f, "\nexact match: {:.1} %", 100.0 * share)?;
        }
        if let Some(bleu) = &self.scores.bleu {
            write!(f, "\n{bleu}")?;
        }
        Ok(())
    }
}

/// Evaluates a finished run on its held-out rows; `overrides` change its configuration, such as
/// `data.eval=other.jsonl`.
///
/// # Errors
///
/// No finished run at `dir`, or its files do not fit.
pub fn evaluate(
    dir: &Path,
    overrides: &[String],
    observer: &Observer,
) -> Result<Evaluation, TrainError> {
    let directory = RunDirectory::new(dir);
    let mut config = directory.read_config(overrides)?;
    let adapter = directory.trained(&mut config);
    with_model!(Kind::of(&config, observer)?, Model => {
        let run = prepare::<Model>(config, Adapt::Base, observer)?;
        measure(run, adapter.as_deref(), observer)
    })
}

fn measure<M: Objective>(
    mut run: Run<M>,
    adapter: Option<&Path>,
    observer: &Observer,
) -> Result<Evaluation, TrainError> {
    if let Some(dir) = adapter {
        peft::load(&mut run.model, dir, &peft::LoadOptions::default())?;
    }
    let rows = run.eval.as_ref().unwrap_or(&run.train);
    let (make, batches) = rows.evaluation(run.config.train.batch_size);
    let trainee = Trainee::new(run.model, OptimizerTap::default()).valid();
    let mut tally = Tally::default();
    observer.stage("evaluating");
    for (done, micro) in StepLoader::new(make, 0..batches).iter().enumerate() {
        observer.progress(done as u64, batches as u64);
        let micro = micro.map_err(|error| TrainError::Training(error.to_string()))?;
        tally.add(InferenceStep::step(&trainee, micro));
    }
    observer.done();
    let mut samples = Vec::new();
    let scoring = Scoring::from(&run.config.train);
    if scoring.is_asked() {
        observer.stage("generating");
        let max_tokens = run.config.data.generate_max_tokens;
        samples = trainee.model.samples(&run.tokenizer, &run.prompts, max_tokens, observer)?;
        observer.done();
    }
    let classifies = M::TASK == burn_lora_patch::TaskType::SeqCls;
    let scores = scoring.scores(&samples);
    Ok(Evaluation { tally, classifies, samples, scores })
}
