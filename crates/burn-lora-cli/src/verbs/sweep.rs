//! `burn-lora sweep CONFIG --set KEY=V1,V2`: the runs of a grid, one after the other or shared out.

mod on;

use std::path::PathBuf;
use std::process::ExitCode;

use burn_lora_app::AppError;
use burn_lora_app::sweep::{
    self, Grid, Outcome, PointResult, PointState, Results, Shard, SweepError,
};
use burn_train::Interrupter;
use clap::ValueHint;

use super::train::INTERRUPTED;
use crate::place::{configuration_text, directory, input};
use crate::{output, terminal};

/// Fine-tune with every combination of some values, and compare
///
/// Exits with 75 where points were stopped, or have not come to an end elsewhere; the same command goes on.
#[derive(clap::Args)]
pub struct Sweep {
    /// The run configuration
    #[arg(value_hint = ValueHint::FilePath, value_parser = input())]
    config: PathBuf,
    /// A key and the values to try, such as `--set adapter.rank=4,8,16`; with one value an override;
    /// may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE,...")]
    set: Vec<String>,
    /// The directory of the sweep, with a run directory for each combination below it [default: the
    /// configuration's `[output] dir`]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, value_parser = directory())]
    out: Option<PathBuf>,
    /// Run a share of the points: of 0/4 to 3/4 each takes every fourth. Shares may run at the same time, on any
    /// machine that sees the directory; the last to end writes the table
    #[arg(long, value_name = "I/N", value_parser = shard, conflicts_with_all = ["gather", "on"])]
    shard: Option<Shard>,
    /// Run nothing, and write the table of what all shares have come to by now
    #[arg(long, conflicts_with_all = ["on", "dry_run"])]
    gather: bool,
    #[command(flatten)]
    on: on::On,
    /// Print what sweep.json holds instead of the table; progress goes to standard error
    #[arg(long)]
    json: bool,
    /// List the points and what would become of each, and run nothing
    #[arg(long)]
    dry_run: bool,
    /// Start runs even if they need more memory than there is
    #[arg(long)]
    no_memory_check: bool,
}

fn shard(text: &str) -> Result<Shard, String> {
    text.parse().map_err(|error: SweepError| error.to_string())
}

impl Sweep {
    /// Fails where the sweep cannot run, or where no point of it came to anything.
    pub fn run(self) -> Result<ExitCode, AppError> {
        self.on.check();
        let sweep = self.read()?;
        if self.dry_run {
            output::dry_run(&sweep.dry_run()?, self.json)?;
            return Ok(ExitCode::SUCCESS);
        }
        let results = match self.outcome(&sweep)? {
            Outcome::Results(results) => results,
            Outcome::Submitted(submitted) => {
                output::told(&submitted, self.json)?;
                output::note(
                    "note: the last task to end writes the table, and `--gather` in the place of `--on` does at any time; \
                     the same command again submits what is not finished then",
                );
                return Ok(ExitCode::SUCCESS);
            }
        };
        match self.json {
            true => output::json(&results)?,
            false => output::shown(&format!("\n{results}"))?,
        }
        self.tell_what_is_left(&results);
        let own = self.shard.unwrap_or(Shard::WHOLE).of(&results.points);
        Ok(exit_code(own.map(|(_, point)| point)))
    }

    fn read(&self) -> Result<sweep::Sweep, SweepError> {
        let grid = Grid::parse(&self.set)?;
        let (name, text) = configuration_text(&self.config)
            .map_err(|error| SweepError::Config { errors: vec![error] })?;
        let sweep = sweep::Sweep::parse(&text, &name, &grid, self.out.as_deref())?;
        let sweep = sweep.only(self.shard.unwrap_or(Shard::WHOLE));
        Ok(if self.no_memory_check { sweep.without_memory_check() } else { sweep })
    }

    fn outcome(&self, sweep: &sweep::Sweep) -> Result<Outcome, AppError> {
        if self.gather {
            return Ok(Outcome::Results(sweep.gather()?));
        }
        let interrupter = Interrupter::new();
        // What SLURM has runs on without this process, which has nothing to end well.
        if !self.on.leaves() {
            terminal::stop_on_interrupt(
                interrupter.clone(),
                "interrupted; the same command goes on",
                "stopping after this step, the same command goes on; again to stop at once",
            );
        }
        let scheduler = self.on.scheduler(|| self.shares(sweep))?;
        Ok(scheduler.run(sweep, &interrupter, &terminal::observer(self.json))?)
    }

    /// Says of a share that others have not ended theirs.
    fn tell_what_is_left(&self, results: &Results) {
        let open = results.points.iter();
        let open = open.filter(|point| point.state == PointState::Pending).count();
        if self.shard.is_some_and(|shard| !shard.is_whole()) && open > 0 {
            output::note(&format!(
                "note: {open} of {} points have not come to an end; the last share to end writes the table, and `--gather` in \
                 the place of `--shard` does at any time",
                results.points.len()
            ));
        }
    }
}

/// What a script has to know of these points.
fn exit_code<'a>(points: impl Iterator<Item = &'a PointResult>) -> ExitCode {
    let states: Vec<PointState> = points.map(|point| point.state).collect();
    let open = |state: &PointState| matches!(state, PointState::Interrupted | PointState::Pending);
    if states.iter().any(open) {
        return ExitCode::from(INTERRUPTED);
    }
    let nothing = !states.is_empty() && states.iter().all(|state| *state == PointState::Failed);
    if nothing { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
