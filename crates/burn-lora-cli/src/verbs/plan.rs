//! `burn-lora plan CONFIG`: the memory and time of a run, before it takes them.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use burn_lora_app::AppError;
use burn_lora_train::plan::plan_for_ranks;
use clap::ValueHint;

use super::Overrides;
use crate::place::{configuration, input};
use crate::{output, terminal};

/// Predict a run's memory and time, and fail if it does not fit
#[derive(clap::Args)]
pub struct Plan {
    /// The run configuration
    #[arg(value_hint = ValueHint::FilePath, value_parser = input())]
    config: PathBuf,
    #[command(flatten)]
    overrides: Overrides,
    /// For one of so many processes, as mpirun or srun would start them: the bytes that it exchanges, and its memory
    #[arg(long, value_name = "N", default_value = "1")]
    ranks: NonZeroUsize,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
}

impl Plan {
    /// Fails where nothing can be planned, or where the run does not fit.
    pub fn run(self) -> Result<ExitCode, AppError> {
        let config = configuration(&self.config, &self.overrides.set)?;
        let observer = terminal::observer(self.json);
        let plan = plan_for_ranks(config, self.ranks.get(), &observer)?;
        output::told(&plan, self.json)?;
        Ok(if plan.fits { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
