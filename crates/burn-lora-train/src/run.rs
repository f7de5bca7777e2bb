//! A run from start to end: prepare, evaluate, step, save.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use burn::optim::ModuleOptimizer;
use burn_lora_models::SaveDtype;
use burn_lora_models::tokenizer::Tokenizer;
use burn_lora_patch::peft::{self, PeftConfig};
use burn_lora_report::figure::Figure;
use burn_lora_report::record::{Record, Totals, first_and_last};
use burn_lora_report::sample::{Sample, Scores, Scoring};
use burn_lora_report::summary::Summary;
use burn_train::Interrupter;
use burn_train::renderer::MetricsRenderer;

use crate::base::BaseCache;
use crate::checkpoint::{Checkpoints, Restored, State, restore};
use crate::config::{RunConfig, TrainSection};
use crate::data::Prompt;
use crate::directory::RunDirectory;
use crate::early_stopping::{EarlyStopping, Seen};
use crate::fit::{Fit, Fitted};
use crate::history::History;
use crate::learner::{Objective, OptimizerTap};
use crate::metrics::figure;
use crate::observe::Observer;
use crate::optimizer::adamw;
use crate::plan::memory_plan;
use crate::prepare::{Adapt, Kind, Run, build, draw, read};
use crate::samples::scoring;
use crate::strategy::Hooks;
use crate::{TrainError, artifacts, system_memory, with_model};

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
///
/// # Errors
///
/// Those of [`train`].
pub fn train_on(
    bases: Option<&BaseCache>,
    config: RunConfig,
    options: RunOptions,
    observer: &Observer,
) -> Result<Summary, TrainError> {
    let directory = RunDirectory::new(&config.output.dir);
    directory.check(&config, options.resume, options.overwrite)?;
    set_threads(&config.train)?;
    with_model!(Kind::of_run(&config, observer)?, Model => {
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

/// The run, from its model to what it leaves.
fn fit<M: Objective>(
    mut run: Run<M>,
    directory: &RunDirectory,
    resumed: Option<PathBuf>,
    options: RunOptions,
    observer: &Observer,
) -> Result<Summary, TrainError> {
    tell(&run, observer);
    directory.write_config(&run.config)?;
    let start = Start::of(&mut run, resumed.as_deref(), observer)?;
    let sizes = Sizes::of(&run);
    let config = &run.config;
    let (make_step, per_epoch) = run.train.training(draw(&config.train));
    let steps = config.train.length.steps(per_epoch);
    let held_out = match &run.eval {
        Some(rows) => rows.evaluation(config.train.batch_size),
        None => (make_step.clone(), 0),
    };
    let tap = OptimizerTap::default();
    let early_stopping =
        EarlyStopping::new(config.train.early_stopping.unwrap_or(0), start.state.seen);
    let scored = Rc::default();
    let fit = Fit {
        model: run.model,
        device: run.device,
        optimizer: start.optimizer,
        train: &config.train,
        start: start.state.step,
        steps,
        make_step,
        held_out,
        tap: tap.clone(),
        early_stopping: early_stopping.clone(),
        history: History::open(&directory.metrics(), start.state.step)?,
        hooks: Box::new(RunHooks {
            tokenizer: run.tokenizer.clone(),
            prompts: run.prompts,
            scoring: scoring(&config.train),
            shown: config.train.samples,
            max_tokens: config.data.generate_max_tokens,
            last: steps,
            adapter: run.patched.as_ref().map(|(_, config)| config.clone()),
            best: config.train.keep_best.then(|| directory.best()),
            checkpoints: Checkpoints::new(directory.checkpoints(), config.train.keep),
            tap,
            early_stopping,
            seed: config.train.seed,
            scored: Rc::clone(&scored),
            observer: observer.clone(),
        }),
        renderer: options.renderer,
        interrupter: options.interrupter,
    };
    observer.stage("training");
    let fitted = fit.launch();
    observer.done();
    let Fitted { model, history, interrupted } = fitted?;

    let patched = run.patched.as_ref();
    let adapter = patched.map(|(_, config)| config);
    let adapter_bytes = save(&model, adapter, &run.tokenizer, directory)?;
    let mut summary = sizes.summary::<M>(directory, steps, history.records());
    summary.stopped = interrupted.or_else(|| ended_early(&summary, &figure(config.train.metric)));
    summary.adapter_bytes = adapter_bytes.map(|adapter| (adapter, run.loaded_bytes));
    summary.samples = compared(&scored.borrow(), config.train.samples);
    let report = patched.map_or_else(String::new, |(report, _)| report.to_string());
    artifacts::write(directory, config, history.records(), &summary, &report, observer);
    Ok(summary)
}

/// What preparing came to.
fn tell<M: Objective>(run: &Run<M>, observer: &Observer) {
    for note in &run.notes {
        observer.line(note);
    }
    if let Some((report, _)) = &run.patched {
        observer.line(report.to_string());
    }
}

/// Where a run begins: at its first step, or where a checkpoint left it.
struct Start {
    optimizer: ModuleOptimizer,
    state: State,
}

impl Start {
    /// Reads the checkpoint, if there is one, into the run's model.
    fn of<M: Objective>(
        run: &mut Run<M>,
        resumed: Option<&Path>,
        observer: &Observer,
    ) -> Result<Self, TrainError> {
        let optimizer = adamw(&run.model, &run.config.train)?;
        let Some(path) = resumed else {
            let state = State { step: 0, seed: run.config.train.seed, seen: Seen::default() };
            return Ok(Self { optimizer, state });
        };
        let Restored { state, optimizer: record } = restore(&mut run.model, path)?;
        observer.line(format!("resumed from {} at step {}", path.display(), state.step));
        let optimizer = match record {
            Some(record) => optimizer.load_record(record),
            None => optimizer,
        };
        Ok(Self { optimizer, state })
    }
}

/// Writes what was trained: the adapter, whose size in bytes is returned, or the model with its tokenizer.
fn save<M: Objective>(
    model: &M,
    adapter: Option<&PeftConfig>,
    tokenizer: &Tokenizer,
    directory: &RunDirectory,
) -> Result<Option<u64>, TrainError> {
    let Some(config) = adapter else {
        model.save(&directory.model(), SaveDtype::F32)?;
        write_tokenizer(tokenizer, &directory.model())?;
        return Ok(None);
    };
    peft::save(model, directory.adapter(), config)?;
    let path = directory.adapter().join(peft::TENSORS_FILE);
    Ok(Some(std::fs::metadata(&path).map_err(TrainError::io("read", path))?.len()))
}

/// How large the model is, told before the learner takes it.
struct Sizes {
    trainable: String,
    trained: usize,
    total: usize,
}

impl Sizes {
    fn of<M: Objective>(run: &Run<M>) -> Self {
        Self { trainable: run.trainable_line(), trained: run.trained(), total: run.total() }
    }

    fn summary<M: Objective>(
        self,
        directory: &RunDirectory,
        steps: usize,
        records: &[Record],
    ) -> Summary {
        let classifies = M::TASK == burn_lora_patch::TaskType::SeqCls;
        let totals = Totals::of(records);
        Summary {
            dir: directory.path().to_owned(),
            steps: (totals.steps, steps),
            stopped: None,
            evaluations: first_and_last(records),
            classifies,
            seconds: totals.seconds,
            tokens: totals.tokens,
            rows: if classifies { totals.targets } else { 0 },
            trainable: self.trainable,
            trained: self.trained,
            total: self.total,
            adapter_bytes: None,
            peak_memory: system_memory::peak(),
            samples: Vec::new(),
        }
    }
}

/// Why a run that nobody stopped took fewer steps than it could: its metric no longer got better.
fn ended_early(summary: &Summary, figure: &Figure) -> Option<String> {
    let (taken, steps) = summary.steps;
    (taken < steps).then(|| format!("{} no longer improved", figure.name))
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

/// Writes the tokenizer's files beside a model's.
///
/// # Errors
///
/// A file cannot be written.
pub fn write_tokenizer(tokenizer: &Tokenizer, dir: &Path) -> Result<(), TrainError> {
    for (name, bytes) in tokenizer.files()? {
        burn_lora_files::write(&dir.join(name), &bytes)?;
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
    adapter: Option<PeftConfig>,
    /// Where the adapter of the best evaluation goes, if it is kept.
    best: Option<PathBuf>,
    checkpoints: Checkpoints,
    tap: OptimizerTap,
    early_stopping: EarlyStopping,
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
        let state = State { step, seed: self.seed, seen: self.early_stopping.seen() };
        self.checkpoints.save(model, self.adapter.as_ref(), self.tap.take(), &state)?;
        Ok(())
    }
}
