//! A run from start to end: prepare, evaluate, step, save.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use burn_lora_models::SaveDtype;
use burn_lora_models::tokenizer::Tokenizer;
use burn_lora_patch::peft::{self, AdapterConfig};
use burn_train::Interrupter;
use burn_train::renderer::MetricsRenderer;

use crate::base::BaseCache;
use crate::checkpoint::{Checkpoints, Restored, State, restore};
use crate::config::{ModelSource, RunConfig, TrainSection};
use crate::data::Prompt;
use crate::directory::RunDirectory;
use crate::fit::{Fit, Fitted};
use crate::history::{History, Record};
use crate::learner::{Objective, OptimizerTap};
use crate::observe::Observer;
use crate::optimizer::adamw;
use crate::patience::{Patience, Seen};
use crate::plan::memory_plan;
use crate::prepare::{Adapt, Kind, Run, build, draw, read};
use crate::score::{Sample, Scores, Scoring};
use crate::strategy::Hooks;
use crate::summary::Summary;
use crate::{TrainError, files, left_behind, located, system_memory, with_model};

/// How to start a run, beside its configuration.
#[derive(Default)]
pub struct RunOptions {
    /// Go on from the newest checkpoint of the run directory.
    pub resume: bool,
    /// Remove the run that the directory holds.
    pub overwrite: bool,
    /// Start even where the run needs more memory than there is.
    pub no_memory_check: bool,
    /// Shows the run; none: burn-train's own (a dashboard on a terminal).
    pub renderer: Option<Box<dyn MetricsRenderer>>,
    /// Stops the run after the step it is in, with a checkpoint.
    pub interrupter: Interrupter,
}

/// Runs what the configuration describes.
///
/// # Errors
///
/// Whatever is wrong with configuration, data, model, targets or files; a loss that is not finite.
pub fn train(
    config: RunConfig,
    options: RunOptions,
    observer: &Observer,
) -> Result<Summary, TrainError> {
    train_on(None, config, options, observer)
}

/// [`train`], with base models of earlier runs to take up.
pub(crate) fn train_on(
    bases: Option<&BaseCache>,
    config: RunConfig,
    options: RunOptions,
    observer: &Observer,
) -> Result<Summary, TrainError> {
    let directory = RunDirectory::new(&config.output.dir);
    directory.check(&config, options.resume, options.overwrite)?;
    set_threads(&config.train)?;
    with_model!(Kind::of(&config, observer)?, Model => {
        train_as::<Model>(bases, config, &directory, options, observer)
    })
}

fn train_as<M: Objective>(
    bases: Option<&BaseCache>,
    config: RunConfig,
    directory: &RunDirectory,
    options: RunOptions,
    observer: &Observer,
) -> Result<Summary, TrainError> {
    let read = read::<M>(config, observer)?;
    if !options.no_memory_check {
        let process = bases.and_then(BaseCache::process);
        memory_plan::<M>(&read, process, observer)?.admit()?;
    }
    // Only now: a run that cannot start must not remove the one that it would replace.
    let resumed = directory.claim(&read.config, options.resume, options.overwrite)?;
    let run = build::<M>(bases, read, Adapt::Fresh, observer)?;
    fit(run, directory, resumed, options, observer)
}

fn set_threads(train: &TrainSection) -> Result<(), TrainError> {
    let Some(threads) = train.threads else { return Ok(()) };
    match rayon::ThreadPoolBuilder::new().num_threads(threads).build_global() {
        // An earlier run in this process set the same.
        Err(_) if rayon::current_num_threads() == threads => Ok(()),
        set => set.map_err(|error| TrainError::Threads { threads, reason: error.to_string() }),
    }
}

fn fit<M: Objective>(
    mut run: Run<M>,
    directory: &RunDirectory,
    resumed: Option<PathBuf>,
    options: RunOptions,
    observer: &Observer,
) -> Result<Summary, TrainError> {
    for note in &run.notes {
        observer.line(note);
    }
    if let Some((report, _)) = &run.patched {
        observer.line(report.to_string());
    }
    let (trainable, trained, total) = (run.trainable_line(), run.trained(), run.total());
    directory.write_config(&run.config)?;

    let mut optimizer = adamw(&run.model, &run.config.train)?;
    let mut state = State { step: 0, seed: run.config.train.seed, seen: Seen::default() };
    if let Some(path) = &resumed {
        let Restored { state: found, optimizer: record } = restore(&mut run.model, path)?;
        if let Some(record) = record {
            optimizer = optimizer.load_record(record);
        }
        observer.line(format!("resumed from {} at step {}", path.display(), found.step));
        state = found;
    }

    let train = run.config.train.clone();
    let (make_step, per_epoch) = run.train.training(draw(&train));
    let steps = train.length.steps(per_epoch);
    let (make_eval, eval_batches) = match &run.eval {
        Some(rows) => rows.evaluation(train.batch_size),
        None => (make_step.clone(), 0),
    };
    let tap = OptimizerTap::default();
    let patience = Patience::new(train.early_stopping.unwrap_or(0), state.seen);
    let scored = Rc::new(RefCell::new(Vec::new()));
    let adapter = run.patched.as_ref().map(|(_, config)| config.clone());
    let fit = Fit {
        model: run.model,
        device: run.device.clone(),
        optimizer,
        train: &train,
        start: state.step,
        steps,
        make_step,
        held_out: (make_eval, eval_batches),
        tap: tap.clone(),
        patience: patience.clone(),
        history: History::open(&directory.metrics(), state.step)?,
        hooks: Box::new(RunHooks {
            tokenizer: run.tokenizer.clone(),
            prompts: run.prompts.clone(),
            scoring: Scoring::from(&train),
            shown: train.samples,
            max_tokens: run.config.data.generate_max_tokens,
            last: steps,
            adapter: adapter.clone(),
            best: train.keep_best.then(|| directory.best()),
            checkpoints: Checkpoints::new(directory.checkpoints(), train.keep),
            tap: tap.clone(),
            patience: patience.clone(),
            seed: train.seed,
            scored: scored.clone(),
            observer: observer.clone(),
        }),
        renderer: options.renderer,
        interrupter: options.interrupter,
    };
    observer.stage("training");
    let fitted = fit.launch();
    observer.done();
    let Fitted { model, history, interrupted } = fitted?;

    let adapter_bytes = match &adapter {
        Some(config) => {
            peft::save(&model, directory.adapter(), config)?;
            let base = match &run.config.model.source {
                ModelSource::Pretrained(dir) => weight_bytes(&located(dir, observer)?),
                ModelSource::Random(_) => 0,
            };
            Some((weight_bytes(&directory.adapter()), base))
        }
        None => {
            model.save(&directory.model(), SaveDtype::F32)?;
            copy_tokenizer(&run.tokenizer, &directory.model())?;
            None
        }
    };
    let mut summary = Summary {
        dir: directory.path().to_owned(),
        steps: (0, steps),
        stopped: interrupted,
        evaluations: Summary::evaluations(history.records()),
        classifies: M::TASK == burn_lora_patch::TaskType::SeqCls,
        seconds: 0.0,
        tokens: 0,
        rows: 0,
        trainable,
        trained,
        total,
        adapter_bytes,
        peak_memory: system_memory::peak(),
        samples: compared(&scored.borrow(), train.samples),
    };
    for record in history.records() {
        if let Record::Step(record) = record {
            summary.steps.0 = record.step;
            summary.seconds += record.seconds;
            summary.tokens += record.tokens;
            summary.rows += if summary.classifies { record.targets } else { 0 };
        }
    }
    if summary.stopped.is_none() && summary.steps.0 < steps {
        summary.stopped = Some("held-out loss no longer improved".to_owned());
    }
    let report = run.patched.map_or_else(String::new, |(report, _)| report.to_string());
    left_behind::write(directory, &run.config, history.records(), &summary, &report)?;
    Ok(summary)
}

/// Pairs the samples of the first evaluation with those of the last.
fn compared(scored: &[(usize, Vec<Sample>)], shown: usize) -> Vec<(Option<Sample>, Sample)> {
    let Some((last, after)) = scored.last() else { return Vec::new() };
    let before = scored.first().filter(|(step, _)| step < last).map(|(_, samples)| samples);
    let pair = |(index, after): (usize, &Sample)| {
        (before.and_then(|before| before.get(index).cloned()), after.clone())
    };
    after.iter().take(shown).enumerate().map(pair).collect()
}

fn weight_bytes(dir: &Path) -> u64 {
    if dir.is_file() {
        return std::fs::metadata(dir).map_or(0, |meta| meta.len());
    }
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let weights = entries.flatten().filter(|entry| {
        entry.path().extension().is_some_and(|extension| extension == "safetensors")
    });
    // A model's directory may hold links into a cache.
    weights.filter_map(|entry| std::fs::metadata(entry.path()).ok()).map(|meta| meta.len()).sum()
}

/// Copies the tokenizer's files beside a model's.
pub(crate) fn copy_tokenizer(tokenizer: &Tokenizer, dir: &Path) -> Result<(), TrainError> {
    for (name, bytes) in tokenizer.files()? {
        files::write(&dir.join(name), &bytes)?;
    }
    Ok(())
}

/// Steps taken, and what the model wrote then.
type Scored = Vec<(usize, Vec<Sample>)>;

/// What the loop asks of a run.
struct RunHooks {
    tokenizer: Tokenizer,
    prompts: Vec<Prompt>,
    scoring: Scoring,
    shown: usize,
    max_tokens: usize,
    last: usize,
    adapter: Option<AdapterConfig>,
    /// Where the adapter of the best evaluation goes, if it is kept.
    best: Option<PathBuf>,
    checkpoints: Checkpoints,
    tap: OptimizerTap,
    patience: Patience,
    seed: u64,
    scored: Rc<RefCell<Scored>>,
    observer: Observer,
}

impl<M: Objective> Hooks<M> for RunHooks {
    fn score(&self, model: &M, step: usize) -> Result<Scores, TrainError> {
        let shown = if step == 0 || step == self.last { self.shown } else { 0 };
        let count = if self.scoring.is_asked() {
            self.prompts.len()
        } else {
            shown.min(self.prompts.len())
        };
        if count == 0 {
            return Ok(Scores::default());
        }
        let prompts = &self.prompts[..count];
        let samples = model.samples(&self.tokenizer, prompts, self.max_tokens, &self.observer)?;
        let scores = self.scoring.scores(&samples);
        self.scored.borrow_mut().push((step, samples));
        Ok(scores)
    }

    fn best(&self, model: &M) -> Result<(), TrainError> {
        if let (Some(dir), Some(config)) = (&self.best, &self.adapter) {
            peft::save(model, dir, config)?;
        }
        Ok(())
    }

    fn save(&self, model: &M, step: usize) -> Result<(), TrainError> {
        let state = State { step, seed: self.seed, seen: self.patience.seen() };
        self.checkpoints.save(model, self.adapter.as_ref(), self.tap.take(), &state)?;
        Ok(())
    }
}
