//! A run from start to end: prepare, evaluate, step, save.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use burn::optim::ModuleOptimizer;
use burn_lora_files::digest::Digest;
use burn_lora_models::SaveDtype;
use burn_lora_models::conversation::Message;
use burn_lora_models::template::ChatTemplate;
use burn_lora_models::tokenizer::Tokenizer;
use burn_lora_patch::TaskType;
use burn_lora_patch::peft::{self, PeftConfig};
use burn_lora_report::figure::Figure;
use burn_lora_report::sample::{Sample, Scores, Scoring};
use burn_lora_report::summary::{Recomputed, Summary};
use burn_train::Interrupter;
use burn_train::renderer::MetricsRenderer;

use crate::base::BaseCache;
use crate::checkpoint::{Checkpoint, Checkpoints, Origin, Restored, State};
use crate::directory::RunDirectory;
use crate::early_stopping::{EarlyStopping, Seen};
use crate::elsewhere::computing;
use crate::exchange::{
    self, Exchange, Ranks, Seat, agree_on_origin, agree_on_weights, checkpoint_of_first, seat,
};
use crate::fit::{Fit, Fitted};
use crate::history::{Covered, History};
use crate::inputs::{Changed, Digesting};
use crate::learner::{OptimizerTap, TrainableModel};
use crate::metrics::figure;
use crate::observe::Observer;
use crate::optimizer::{StepFactor, adamw};
use crate::plain::PlainRenderer;
use crate::plan::{Shared, memory_plan};
use crate::prepare::{Adapt, Kind, Run, Wanted, build, draw, read};
use crate::samples::scoring;
use crate::scene::Surroundings;
use crate::strategy::Hooks;
use crate::{TrainError, artifacts, system_memory, with_model};
use burn_lora_config::{RunConfig, TrainSection};
use burn_lora_data::Prompt;

/// How to start a run, beside its configuration.
#[derive(Default)]
pub struct RunOptions {
    /// Go on from the newest checkpoint of the run directory.
    pub resume: bool,
    /// Remove the run that the directory holds.
    pub overwrite: bool,
    /// Where a run goes on: let it take more steps than it was to take. Its schedule is that of the longer run.
    pub extend: bool,
    /// Where a run goes on: what may have changed since its checkpoint.
    pub allow_changed: Vec<Changed>,
    /// Start even where the run needs more memory than there is.
    pub no_memory_check: bool,
    /// Shows the run; none: burn-train's own (a dashboard on a terminal).
    pub renderer: Option<Box<dyn MetricsRenderer>>,
    /// Stops the run after the step it is in, with a checkpoint.
    pub interrupter: Interrupter,
    /// The other ranks of the run, each of which is given the same configuration and options; none: this process is alone.
    pub exchange: Option<Rc<dyn Exchange>>,
}

impl RunOptions {
    /// Those of a new run that shows nothing.
    pub fn silent() -> Self {
        Self { renderer: Some(Box::new(PlainRenderer::silent())), ..Self::default() }
    }
}

/// Runs what the configuration describes: alone, or as one of several ranks, of which the first alone writes.
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
    let ranks = Ranks::new(options.exchange.clone());
    ranks.close(train_ranked(bases, config, options, &ranks, observer))
}

fn train_ranked(
    bases: Option<&BaseCache>,
    mut config: RunConfig,
    options: RunOptions,
    ranks: &Ranks,
    observer: &Observer,
) -> Result<Summary, TrainError> {
    let directory = RunDirectory::new(&config.output.dir);
    let seat = seat(ranks, &mut config, (&directory, options.resume), observer)?;
    if ranks.is_first() {
        directory.check(&config, &options)?;
    }
    set_threads(&config.train, &seat)?;
    let device = config.train.device.clone();
    computing(&device, || {
        with_model!(Kind::of(&config, observer)?, Model => {
            train_as::<Model>(bases, config, &directory, options, (ranks, &seat), observer)
        })
    })
}

fn train_as<M: TrainableModel>(
    bases: Option<&BaseCache>,
    config: RunConfig,
    directory: &RunDirectory,
    options: RunOptions,
    (ranks, seat): (&Ranks, &Seat),
    observer: &Observer,
) -> Result<Summary, TrainError> {
    let digesting = Digesting::start(&config, bases, observer)?;
    let read = read::<M>(config, Wanted::All, observer)?;
    let process = bases.and_then(BaseCache::process);
    let shared = Shared { ranks: ranks.size(), neighbours: seat.neighbours };
    let plan = memory_plan(&read, process, shared)?;
    if !options.no_memory_check {
        plan.admit()?;
    }
    // Only now, and if no rank has failed: a run that cannot start must not remove the one that it would replace.
    ranks.any(false)?;
    let claimed = match ranks.is_first() {
        true => Some(directory.claim(&read.config, &options)?),
        false => None,
    };
    let (resumed, _lock) = claimed.unzip();
    let (resumed, _scratch) = checkpoint_of_first(ranks, resumed.flatten())?;
    let checkpoint = resumed.as_ref().map(|checkpoint| checkpoint.path.as_path());
    let run = build::<M>(bases, read, (Adapt::Fresh, checkpoint), observer)?;
    let origin = Origin {
        seed: run.config.train.seed,
        settings: Digest::of(run.config.deciding()?.as_bytes()).sha256,
        inputs: digesting.finish(bases)?,
        time: time_written(&run.tokenizer),
    };
    if let Some(checkpoint) = resumed.as_ref().filter(|_| ranks.is_first()) {
        goes_on(checkpoint, &origin, (directory, &run.tokenizer), &options, observer)?;
    }
    agree_on_origin(ranks, &run.config, &origin.inputs)?;
    if let Some(exchange) = plan.exchanging(ranks, run.config.train.accumulate)? {
        observer.line(exchange.to_string());
    }
    fit(run, directory, (resumed, origin), plan.recomputed, options, (ranks, observer))
}

/// Sees to it that a checkpoint is this run's, and that what both stand on is the same, or may be another.
fn goes_on(
    checkpoint: &Checkpoint,
    now: &Origin,
    (directory, tokenizer): (&RunDirectory, &Tokenizer),
    options: &RunOptions,
    observer: &Observer,
) -> Result<(), TrainError> {
    let then = &checkpoint.origin;
    if (then.seed, &then.settings) != (now.seed, &now.settings) {
        return Err(TrainError::OtherRun { path: checkpoint.path.clone() });
    }
    let changes = now.inputs.changes(&then.inputs);
    let refused: Vec<_> =
        changes.iter().filter(|(kind, _)| !options.allow_changed.contains(kind)).collect();
    if !refused.is_empty() {
        let mut kinds: Vec<Changed> = refused.iter().map(|(kind, _)| *kind).collect();
        kinds.dedup();
        let changes = refused.iter().map(|(_, line)| line.clone()).collect();
        return Err(TrainError::InputsChanged { dir: directory.path().to_owned(), changes, kinds });
    }
    if let (Some(then), Some(now)) = (then.time, now.time)
        && dated(tokenizer, then) != dated(tokenizer, now)
    {
        return Err(TrainError::OtherDate { dir: directory.path().to_owned(), time: then });
    }
    for (_, line) in &changes {
        observer.line(format!("warning: since the checkpoint {line}"));
    }
    Ok(())
}

/// The time that the chat template writes, if it writes one.
fn time_written(tokenizer: &Tokenizer) -> Option<i64> {
    let template = tokenizer.template().filter(|template| template.mentions("strftime_now"));
    template.and_then(ChatTemplate::time)
}

/// What the chat template makes of a turn at a time.
fn dated(tokenizer: &Tokenizer, time: i64) -> Option<String> {
    let template = tokenizer.template()?.clone().with_time(time);
    template.render(&[Message::new("user", "")], false).ok()
}

/// Threads wait for each other at every product: with more of them than this a step takes minutes, and nothing is gained by two.
const THREADS_A_CORE: usize = 8;

fn set_threads(train: &TrainSection, seat: &Seat) -> Result<(), TrainError> {
    if let Some(threads) = seat.threads {
        // A process that computes already keeps the threads that it has.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    }
    let Some(threads) = train.threads else { return Ok(()) };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    if threads > THREADS_A_CORE * cores {
        return Err(TrainError::TooManyThreads { threads, cores });
    }
    match rayon::ThreadPoolBuilder::new().num_threads(threads).build_global() {
        // An earlier run in this process set the same.
        Err(_) if rayon::current_num_threads() == threads => Ok(()),
        set => set.map_err(|error| TrainError::Threads { threads, reason: error.to_string() }),
    }
}

/// The run, from its model to what it leaves.
fn fit<M: TrainableModel>(
    mut run: Run<M>,
    directory: &RunDirectory,
    (resumed, origin): (Option<Checkpoint>, Origin),
    recomputed: Option<Recomputed>,
    options: RunOptions,
    (ranks, observer): (&Ranks, &Observer),
) -> Result<Summary, TrainError> {
    tell(&run, observer);
    let start = Start::of(&mut run, resumed.as_ref(), observer)?;
    let (trainable, total) = (run.trained(), run.total());
    let config = &run.config;
    let (make_step, per_epoch) = run.train.training(draw(&config.train));
    let steps = config.train.length.steps(per_epoch);
    if options.extend && steps <= start.state.step {
        let (dir, taken) = (directory.path().to_owned(), start.state.step);
        return Err(TrainError::NotLonger { dir, taken, steps });
    }
    let history = match ranks.is_first() {
        true => history(directory, resumed.as_ref(), &options)?,
        false => History::default(),
    };
    if ranks.is_first() {
        directory.write_config(config)?;
    }
    let held_out = match &run.eval {
        Some(rows) => rows.evaluation(config.train.batch_size),
        None => (make_step.clone(), 0),
    };
    let checkpoints = Checkpoints::new(directory.checkpoints(), config.train.keep);
    let tap = OptimizerTap::default();
    let early_stopping =
        EarlyStopping::new(config.train.early_stopping.unwrap_or(0), start.state.seen);
    let scored = Rc::default();
    let fit = Fit {
        model: run.model,
        optimizer: start.optimizer,
        factor: start.factor,
        train: &config.train,
        start: start.state.step,
        steps,
        make_step,
        held_out,
        tap: tap.clone(),
        early_stopping: early_stopping.clone(),
        history,
        hooks: Box::new(RunHooks {
            tokenizer: run.tokenizer.clone(),
            prompts: run.prompts,
            scoring: scoring(&config.train),
            shown: config.train.samples,
            max_tokens: config.data.generate_max_tokens,
            last: steps,
            adapter: run.patched.as_ref().map(|(_, config)| config.clone()),
            best: config.train.keep_best.then(|| directory.best()),
            checkpoints: checkpoints.clone(),
            tap,
            early_stopping,
            directory: directory.clone(),
            origin,
            scored: Rc::clone(&scored),
            ranks: ranks.clone(),
            observer: observer.clone(),
        }),
        ranks: ranks.clone(),
        renderer: options.renderer,
        interrupter: options.interrupter,
    };
    observer.stage("training");
    let fitted = fit.launch();
    observer.done();
    let around = Surroundings {
        train: &run.train,
        draw: draw(&config.train),
        held_out: run.eval.as_ref(),
        checkpoints: Some(&checkpoints),
    };
    let Fitted { model, history, interrupted } = fitted.map_err(|error| around.tell(error))?;
    let patched = run.patched.as_ref();
    let adapter = patched.map(|(_, config)| config);
    let adapter_bytes = match ranks.is_first() {
        true => {
            directory.is_there()?;
            save(&model, adapter, &run.tokenizer, directory)?
        }
        false => None,
    };
    let mut summary = Summary {
        dir: directory.path().to_owned(),
        planned_steps: steps,
        interrupted: interrupted.is_some(),
        trainable,
        total,
        adapter_bytes,
        model_bytes: adapter_bytes.map(|_| run.loaded_bytes),
        peak_memory: system_memory::peak(),
        recomputed,
        samples: compared(&scored.borrow(), config.train.samples),
        ..Summary::of(history.records(), M::TASK == TaskType::SeqCls)
    };
    summary.stopped = interrupted.or_else(|| ended_early(&summary, &figure(config.train.metric)));
    if ranks.is_first() {
        let report = patched.map_or_else(String::new, |(report, _)| report.to_string());
        artifacts::write(directory, config, history.records(), &summary, &report, observer);
    }
    Ok(summary)
}

/// What preparing came to.
fn tell<M: TrainableModel>(run: &Run<M>, observer: &Observer) {
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
    factor: StepFactor,
    state: State,
}

impl Start {
    /// Reads the checkpoint, if there is one, into the run's model.
    fn of<M: TrainableModel>(
        run: &mut Run<M>,
        resumed: Option<&Checkpoint>,
        observer: &Observer,
    ) -> Result<Self, TrainError> {
        let factor = StepFactor::default();
        let optimizer = adamw(&run.model, &run.config.train, &factor)?;
        let Some(checkpoint) = resumed else {
            let state = State { step: 0, seed: run.config.train.seed, seen: Seen::default() };
            return Ok(Self { optimizer, factor, state });
        };
        let Restored { state, optimizer: record } = checkpoint.restore(&mut run.model)?;
        let path = checkpoint.path.display();
        observer.line(format!("resumed from {path} at step {}", state.step));
        let optimizer = match record {
            Some(record) => optimizer.load_record(record),
            None => optimizer,
        };
        Ok(Self { optimizer, factor, state })
    }
}

/// The records of the run: a new file, or what a checkpoint covers of the one that is there.
fn history(
    directory: &RunDirectory,
    resumed: Option<&Checkpoint>,
    options: &RunOptions,
) -> Result<History, TrainError> {
    let path = directory.metrics();
    match resumed {
        None => History::create(&path),
        Some(checkpoint) => match History::resume(&path, &checkpoint.metrics) {
            Err(_) if options.allow_changed.contains(&Changed::Metrics) => {
                History::salvage(&path, checkpoint.step)
            }
            resumed => resumed,
        },
    }
}

/// Writes what was trained: the adapter, whose size in bytes is returned, or the model with its tokenizer.
fn save<M: TrainableModel>(
    model: &M,
    adapter: Option<&PeftConfig>,
    tokenizer: &Tokenizer,
    directory: &RunDirectory,
) -> Result<Option<u64>, TrainError> {
    let Some(config) = adapter else {
        directory.writing(&directory.model(), || {
            model.save(&directory.model(), SaveDtype::F32)?;
            write_tokenizer(tokenizer, &directory.model())
        })?;
        return Ok(None);
    };
    let adapter = directory.adapter();
    directory.writing(&adapter, || Ok::<_, TrainError>(peft::save(model, &adapter, config)?))?;
    let path = directory.adapter().join(peft::TENSORS_FILE);
    Ok(Some(std::fs::metadata(&path).map_err(TrainError::io("read", path))?.len()))
}

/// Why a run that nobody stopped took fewer steps than it could: its metric no longer got better.
fn ended_early(summary: &Summary, figure: &Figure) -> Option<String> {
    (summary.steps < summary.planned_steps).then(|| format!("{} no longer improved", figure.name))
}

/// Some samples of the last evaluation, with what was written at the first.
fn compared(scored: &[(usize, Vec<Sample>)], shown: usize) -> Vec<Sample> {
    let Some((last, after)) = scored.last() else { return Vec::new() };
    let before = scored.first().filter(|(step, _)| step < last).map(|(_, samples)| samples);
    let pair = |(index, after): (usize, &Sample)| {
        let before = before.and_then(|before| before.get(index));
        Sample { before: before.map(|before| before.output.clone()), ..after.clone() }
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
    directory: RunDirectory,
    origin: Origin,
    scored: Rc<RefCell<Scored>>,
    ranks: Ranks,
    observer: Observer,
}

impl<M: TrainableModel> Hooks<M> for RunHooks {
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
        let (rank, size) = (self.ranks.rank(), self.ranks.size());
        let prompts = self.prompts[..count].iter().skip(rank).step_by(size);
        let prompts: Vec<Prompt> = prompts.cloned().collect();
        let samples = model.samples(&self.tokenizer, &prompts, self.max_tokens, &self.observer)?;
        let samples = exchange::samples(&self.ranks, samples)?;
        let scores = self.scoring.scores(&samples);
        self.scored.borrow_mut().push((step, samples));
        Ok(scores)
    }

    fn best(&self, model: &M) -> Result<(), TrainError> {
        if let (Some(dir), Some(config), true) = (&self.best, &self.adapter, self.ranks.is_first())
        {
            let write = || Ok::<_, TrainError>(peft::save(model, dir, config)?);
            self.directory.writing(dir, write)?;
        }
        Ok(())
    }

    fn save(&self, model: &M, step: usize, metrics: &Covered) -> Result<(), TrainError> {
        // What is written is what every rank goes on with.
        agree_on_weights(&self.ranks, model, step)?;
        if !self.ranks.is_first() {
            return Ok(());
        }
        self.directory.is_there()?;
        let state = State { step, seed: self.origin.seed, seen: self.early_stopping.seen() };
        let (adapter, of) = (self.adapter.as_ref(), (&self.origin, metrics));
        self.checkpoints.save(model, adapter, self.tap.take(), &state, of)?;
        Ok(())
    }
}
