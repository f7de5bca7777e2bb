//! `burn-lora sweep CONFIG --set KEY=V1,V2`: the runs of a grid, one after the other.

use std::path::PathBuf;
use std::process::ExitCode;

use burn_lora_app::AppError;
use burn_lora_app::sweep::{self, Grid, PointState, Results, SweepError};
use burn_train::Interrupter;
use clap::ValueHint;

use crate::place::{configuration_text, directory, input};
use crate::{output, terminal};

/// Fine-tune with every combination of some values, and compare
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

impl Sweep {
    /// Fails where the sweep cannot run, or where no point of it came to anything.
    pub fn run(self) -> Result<ExitCode, AppError> {
        if self.dry_run {
            output::dry_run(&self.read()?.dry_run()?, self.json)?;
            return Ok(ExitCode::SUCCESS);
        }
        let results = self.sweep()?;
        match self.json {
            true => output::json(&results)?,
            false => output::shown(&format!("\n{results}"))?,
        }
        let nothing = results.points.iter().all(|row| row.state == PointState::Failed);
        Ok(if nothing { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn read(&self) -> Result<sweep::Sweep, SweepError> {
        let grid = Grid::parse(&self.set)?;
        let (name, text) = configuration_text(&self.config)
            .map_err(|error| SweepError::Config { errors: vec![error] })?;
        let sweep = sweep::Sweep::parse(&text, &name, &grid, self.out.as_deref())?;
        Ok(if self.no_memory_check { sweep.without_memory_check() } else { sweep })
    }

    fn sweep(&self) -> Result<Results, SweepError> {
        let sweep = self.read()?;
        let interrupter = Interrupter::new();
        terminal::stop_on_interrupt(
            interrupter.clone(),
            "interrupted; the same command goes on",
            "stopping after this step, the same command goes on; again to stop at once",
        );
        sweep.run(&interrupter, &terminal::observer(self.json))
    }
}
