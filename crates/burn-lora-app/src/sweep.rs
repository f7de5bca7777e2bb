//! Many runs of one configuration: every point of a grid, one after the other, in one process.
//!
//! A [`Grid`] is axes (`adapter.rank=4,8,16`) and plain overrides; a [`Point`] of it is the
//! configuration file with overrides laid over it, run into a directory of its own below the
//! sweep's. All configurations are read before anything runs, so that a mistake in the last
//! point shows before the first. Where adapters are trained, the frozen base is loaded once and shared:
//! a run changes nothing of it.
//!
//! The directories are the state. A sweep that is started again passes over points whose run is
//! finished, goes on from the checkpoints of others and runs the rest; a directory that holds a run
//! of other settings stops it before anything runs. A point that fails becomes a row with its
//! error. After every point the sweep's directory has, written anew:
//!
//! - `sweep.json`: [`Results`], every point in the order of the grid;
//! - `sweep.md`: the same as a table, best first;
//! - `sweep.svg`: the metric over the first axis, a line for each combination of the others.
//!
//! Points are compared by `[train] metric`, measured after the last step; without held-out rows they
//! stay in order. Nothing is searched and no point is given up early: that is what the grid
//! leaves out.
//!
//! ```no_run
//! use burn_lora_train::observe::Observer;
//! use burn_lora_app::sweep::{Grid, Sweep};
//! use burn_train::Interrupter;
//!
//! let sets = ["adapter.rank=4,8,16", "train.learning_rate=1e-4,3e-4"].map(str::to_owned);
//! let sweep = Sweep::read("configs/quickstart.toml", &Grid::parse(&sets)?, None)?;
//! println!("{}", sweep.run(&Interrupter::new(), &Observer::silent())?);
//! # Ok::<(), burn_lora_app::sweep::SweepError>(())
//! ```

mod dry_sweep;
mod error;
#[cfg(test)]
mod fake;
mod found;
mod grid;
mod markdown;
mod plot;
mod results;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use burn_lora_config::{ConfigErrors, Metric, RunConfig};
use burn_lora_files::{self as files, IoError};
use burn_lora_report::summary::Summary;
use burn_lora_train::TrainError;
use burn_lora_train::base::BaseCache;
use burn_lora_train::metrics::figure;
use burn_lora_train::observe::{Event, Observer};
use burn_lora_train::run::{RunOptions, train_on};
use burn_train::Interrupter;
use serde::Deserialize;

pub use dry_sweep::{Action, DryPoint, DrySweep};
pub use error::SweepError;
pub use grid::{Axis, Grid, MAX_POINTS, Point};
pub use results::{PointResult, PointState, Results};

use found::{Found, found, measure};

/// A grid of runs, read and checked.
#[derive(Debug, Clone)]
pub struct Sweep {
    dir: PathBuf,
    axes: Vec<Axis>,
    plans: Vec<Plan>,
    no_memory_check: bool,
}

/// A point and its configuration, whose `output.dir` is the point's directory.
#[derive(Debug, Clone)]
struct Plan {
    point: Point,
    config: RunConfig,
}

impl Sweep {
    /// Reads the configuration file at `path`, as [`parse`](Self::parse) its text.
    ///
    /// # Errors
    ///
    /// A file that cannot be read; those of [`parse`](Self::parse).
    pub fn read(
        path: impl AsRef<Path>,
        grid: &Grid,
        out: Option<&Path>,
    ) -> Result<Self, SweepError> {
        let name = path.as_ref().display().to_string();
        let text = files::read_text(path.as_ref()).map_err(|error| SweepError::Config {
            errors: vec![ConfigErrors::unreadable(&name, error.source)],
        })?;
        Self::parse(&text, &name, grid, out)
    }

    /// Reads the configuration `text` for every point of the grid; `name` stands for its file in messages. The points' directories
    /// lie in `out`, or in the configuration's `output.dir`.
    ///
    /// # Errors
    ///
    /// Every problem of the configurations of all points; two points that are the same run.
    pub fn parse(
        text: &str,
        name: &str,
        grid: &Grid,
        out: Option<&Path>,
    ) -> Result<Self, SweepError> {
        let axes: Vec<Axis> = grid.axes().cloned().collect();
        if axes.iter().any(|axis| axis.key == "output.dir") {
            return Err(SweepError::Directories);
        }
        let mut plans: Vec<Plan> = Vec::new();
        let mut errors = Vec::new();
        let mut seen: HashMap<String, String> = HashMap::new();
        for point in grid.points() {
            let mut overrides = point.overrides.clone();
            // Quoted, so that it is taken for nothing but a string.
            overrides.extend(
                out.map(|out| {
                    format!("output.dir={}", toml::Value::from(out.display().to_string()))
                }),
            );
            match RunConfig::parse(text, name, &overrides) {
                Ok(config) => {
                    // A configuration that cannot be written is found when its run begins.
                    let text = config.to_toml().unwrap_or_else(|_| point.name.clone());
                    if let Some(first) = seen.insert(text, point.name.clone()) {
                        return Err(SweepError::Same { first, second: point.name });
                    }
                    plans.push(Plan { point, config });
                }
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            return Err(SweepError::Config { errors });
        }
        let mut dir = out.map(Path::to_owned).unwrap_or_default();
        for Plan { point, config } in &mut plans {
            if out.is_none() {
                dir.clone_from(&config.output.dir);
            }
            config.output.dir = dir.join(&point.name);
        }
        Ok(Self { dir, axes, plans, no_memory_check: false })
    }

    /// Starts points even where they need more memory than there is.
    pub fn without_memory_check(self) -> Self {
        Self { no_memory_check: true, ..self }
    }

    /// The directory of the sweep.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The points, in the order in which they run.
    pub fn points(&self) -> impl Iterator<Item = &Point> {
        self.plans.iter().map(|plan| &plan.point)
    }

    /// What [`Self::run`] would do with every point, by what the points' directories hold. Nothing is
    /// written, and neither data nor models are read.
    ///
    /// # Errors
    ///
    /// A directory that holds a run of other settings.
    pub fn dry_run(&self) -> Result<DrySweep, SweepError> {
        let points = self.plans.iter().zip(self.look()?).map(|(plan, found)| DryPoint {
            name: plan.point.name.clone(),
            dir: plan.config.output.dir.clone(),
            overrides: plan.point.overrides.clone(),
            values: plan.point.values.clone(),
            action: Action::of(&found),
            error: found.err().map(|error| error.to_string()),
        });
        let points = points.collect();
        Ok(DrySweep { dir: self.dir.clone(), axes: self.axes.clone(), points })
    }

    /// Runs every point that is not finished. The interrupter ends the sweep after the step it is in,
    /// with a checkpoint; the observer is told a line when a point begins and when it ends, and of
    /// the stages within.
    ///
    /// # Errors
    ///
    /// A directory that holds a run of other settings; the sweep's own files cannot be written. What
    /// goes wrong in a point is in its result.
    pub fn run(
        &self,
        interrupter: &Interrupter,
        observer: &Observer,
    ) -> Result<Results, SweepError> {
        let bases = BaseCache::default();
        let within = without_lines(observer);
        self.run_by(interrupter, observer, |config, options| {
            train_on(Some(&bases), config, options, &within)
        })
    }

    fn run_by(
        &self,
        interrupter: &Interrupter,
        observer: &Observer,
        mut train: impl FnMut(RunConfig, RunOptions) -> Result<Summary, TrainError>,
    ) -> Result<Results, SweepError> {
        let mut results = Results {
            metric: self.plans.first().map_or(Metric::Loss, |plan| plan.config.train.metric),
            best: None,
            axes: self.axes.clone(),
            points: self.plans.iter().map(|plan| PointResult::pending(&plan.point)).collect(),
        };
        let all_found = self.look()?;
        for ((plan, found), row) in self.plans.iter().zip(&all_found).zip(&mut results.points) {
            if let Ok(Found::Finished) = found {
                let measured = measure(row, &plan.config);
                note(row, measured);
            }
        }
        self.write(&mut results)?;

        let count = self.plans.len();
        for (index, (plan, found)) in self.plans.iter().zip(all_found).enumerate() {
            if interrupter.should_stop() {
                break;
            }
            let head = format!("[{}/{count}] {}", index + 1, plan.point.name);
            let outcome = match found {
                Ok(Found::Finished) => {
                    observer.line(format!("{head}: finished before, passed over"));
                    continue;
                }
                Err(error) => Err(error),
                Ok(found) => {
                    let (resume, overwrite) =
                        (found == Found::Checkpoint, found == Found::Abandoned);
                    let begins = if resume { "goes on from its checkpoint" } else { "starts" };
                    observer.line(format!("{head}: {begins}"));
                    let options = RunOptions {
                        resume,
                        overwrite,
                        interrupter: interrupter.clone(),
                        no_memory_check: self.no_memory_check,
                        ..RunOptions::silent()
                    };
                    train(plan.config.clone(), options)
                }
            };
            // An error inside of burn-train stops whoever holds the interrupter, but only this
            // point is concerned.
            if interrupter.error().is_some() {
                interrupter.reset();
            }
            let interrupted = matches!(&outcome, Ok(Summary { steps, planned_steps, .. })
                if steps < planned_steps && interrupter.should_stop());
            let Some(row) = results.points.get_mut(index) else { continue };
            if interrupted {
                row.state = PointState::Interrupted;
            } else {
                let measured = outcome.and_then(|_| measure(row, &plan.config));
                note(row, measured);
            }
            let ends = end_line(&results, index);
            self.write(&mut results)?;
            observer.line(format!("{head}: {ends}"));
        }
        Ok(results)
    }

    /// What the points' directories hold.
    fn look(&self) -> Result<Vec<Result<Found, TrainError>>, SweepError> {
        let steps = self.noted_steps();
        let mut others = Vec::new();
        let mut all = Vec::with_capacity(self.plans.len());
        for Plan { point, config } in &self.plans {
            let found = found(config, steps.get(&point.name).copied());
            if let Ok(Found::Other(differences)) = &found {
                others.push((config.output.dir.clone(), differences.clone()));
            }
            all.push(found);
        }
        match others.is_empty() {
            true => Ok(all),
            false => Err(SweepError::Differs { runs: others }),
        }
    }

    /// The steps of the runs that an earlier sweep saw finished. Only a note: the directories decide,
    /// and where it is missing a run is gone through again from its last checkpoint.
    fn noted_steps(&self) -> HashMap<String, usize> {
        #[derive(Deserialize)]
        struct Noted {
            points: Vec<NotedPoint>,
        }
        #[derive(Deserialize)]
        struct NotedPoint {
            name: String,
            state: PointState,
            steps: Option<usize>,
        }
        let text = burn_lora_files::read_text(&self.dir.join("sweep.json")).unwrap_or_default();
        let noted = serde_json::from_str(&text).unwrap_or(Noted { points: Vec::new() });
        noted
            .points
            .into_iter()
            .filter(|point| point.state == PointState::Finished)
            .filter_map(|point| Some((point.name, point.steps?)))
            .collect()
    }

    fn write(&self, results: &mut Results) -> Result<(), SweepError> {
        results.choose();
        let path = |name: &str| self.dir.join(name);
        let json = results
            .to_json()
            .map_err(|error| IoError::at("write", path("sweep.json"))(error.into()))?;
        files::write(&path("sweep.json"), json.as_bytes())?;
        files::write(&path("sweep.md"), results.to_string().as_bytes())?;
        match plot::draw(results)? {
            Some(svg) => Ok(files::write(&path("sweep.svg"), svg.as_bytes())?),
            None => Ok(()),
        }
    }
}

/// Takes down why a point failed, if it did.
fn note(row: &mut PointResult, outcome: Result<(), TrainError>) {
    if let Err(error) = outcome {
        row.state = PointState::Failed;
        row.error = Some(error.to_string());
    }
}

/// How a point ended, in a line.
fn end_line(results: &Results, index: usize) -> String {
    let Some(row) = results.points.get(index) else { return String::new() };
    match (row.state, &row.error) {
        (PointState::Failed, Some(error)) => format!("failed: {error}"),
        (PointState::Finished, _) => {
            let figure = figure(results.metric);
            let seconds = row.seconds.unwrap_or(0.0);
            let change = row.before.zip(row.after);
            match change.and_then(|(before, after)| figure.change(&before, &after)) {
                Some(change) => format!("{} {change}, {seconds:.1} s", figure.name),
                None => format!("finished, {seconds:.1} s"),
            }
        }
        (state, _) => state.name().to_owned(),
    }
}

/// Passes on everything but the lines that a single run tells.
fn without_lines(observer: &Observer) -> Observer {
    let observer = observer.clone();
    Observer::new(move |event| match event {
        Event::Stage(name) => observer.stage(name),
        Event::Progress { done, total } => observer.progress(done, total),
        Event::Done => observer.done(),
        // Lines are those of a single run.
        _ => {}
    })
}
