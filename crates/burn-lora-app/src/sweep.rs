//! Many runs of one configuration: every point of a grid, one after the other in one process, or shared out among several.
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
//! - `sweep.svg`: the metric over the first axis, a line for each combination of the others;
//! - `points`: how each point ended, where its directory does not say.
//!
//! The table is made of what the directories and `points` hold, whoever left it there. So a [`Shard`] of the points can run in a process of its
//! own, on any machine that sees the directory; what all have left is [gathered](Sweep::gather) by the last of them. A [`Scheduler`] puts
//! shards where a cluster has room.
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
mod gather;
mod grid;
mod markdown;
mod note;
mod plot;
mod results;
mod run;
mod schedule;
mod shard;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use burn_lora_config::{ConfigErrors, RunConfig};
use burn_lora_files as files;

pub use dry_sweep::{Action, DryPoint, DrySweep};
pub use error::SweepError;
pub use grid::{Axis, Grid, MAX_POINTS, Point};
pub use results::{PointResult, PointState, Results};
pub use schedule::ray::Ray;
pub use schedule::slurm::Slurm;
pub use schedule::{Here, Launch, Outcome, Scheduler, Submitted};
pub use shard::Shard;

/// A grid of runs, read and checked.
#[derive(Debug, Clone)]
pub struct Sweep {
    dir: PathBuf,
    axes: Vec<Axis>,
    plans: Vec<Plan>,
    /// The configuration file, as it was read.
    text: String,
    shard: Shard,
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
        let (text, shard) = (text.to_owned(), Shard::WHOLE);
        Ok(Self { dir, axes, plans, text, shard, no_memory_check: false })
    }

    /// Runs the points of a shard alone.
    pub fn only(self, shard: Shard) -> Self {
        Self { shard, ..self }
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

    /// What [`Self::run`] would do with every point of the shard, by what the points' directories hold. Nothing is
    /// written, and neither data nor models are read.
    ///
    /// # Errors
    ///
    /// A directory that holds a run of other settings.
    pub fn dry_run(&self) -> Result<DrySweep, SweepError> {
        let own = self.shard.of(self.plans.iter().zip(self.look()?));
        let points = own.map(|(_, (plan, found))| DryPoint {
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
}
