//! `burn-lora sweep CONFIG --set KEY=V1,V2`: the runs of a grid, one after the other.

use std::path::PathBuf;
use std::process::ExitCode;

use burn_lora_train::observe::{Event, Observer};
use burn_lora_train::sweep::{self, Grid, PointState, Results, SweepError};
use burn_train::Interrupter;
use clap::ValueHint;

use crate::{output, terminal};

/// Fine-tune with every combination of some values, and compare
#[derive(clap::Args)]
pub struct Sweep {
    /// The run configuration
    #[arg(value_hint = ValueHint::FilePath)]
    config: PathBuf,
    /// A key and the values to try, such as `--set adapter.rank=4,8,16`; with one value an override;
    /// may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE,...")]
    set: Vec<String>,
    /// The directory of the sweep, with a run directory for each combination below it [default: the
    /// configuration's `[output] dir`]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    out: Option<PathBuf>,
    /// Print what sweep.json holds instead of the table; progress goes to standard error
    #[arg(long)]
    json: bool,
}

impl Sweep {
    /// Fails where the sweep cannot run, or where no point of it came to anything.
    pub fn run(self) -> ExitCode {
        let told = self.sweep().map_err(|error| error.to_string()).and_then(|results| {
            self.tell(&results).map_err(|error| error.to_string()).map(|()| results)
        });
        match told {
            Ok(results) if results.points.iter().all(|row| row.state == PointState::Failed) => {
                ExitCode::FAILURE
            }
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::FAILURE
            }
        }
    }

    fn sweep(&self) -> Result<Results, SweepError> {
        let grid = Grid::parse(&self.set)?;
        let sweep = sweep::Sweep::read(&self.config, &grid, self.out.as_deref())?;
        burn_lora::allocator::keep_large_blocks();
        let interrupter = Interrupter::new();
        terminal::stop_on_interrupt(
            interrupter.clone(),
            "interrupted; the same command goes on",
            "stopping after this step, the same command goes on; again to stop at once",
        );
        let observer = if self.json { lines_to_stderr() } else { terminal::observer() };
        sweep.run(&interrupter, &observer)
    }

    fn tell(&self, results: &Results) -> Result<(), burn_lora_train::TrainError> {
        if self.json {
            return output::json(results);
        }
        output::bytes(format!("\n{results}").as_bytes())
    }
}

fn lines_to_stderr() -> Observer {
    Observer::new(|event| {
        if let Event::Line(line) = event {
            eprintln!("{line}");
        }
    })
}
