//! `burn-lora eval RUN`: a finished run on its held-out rows.

use std::path::PathBuf;

use burn_lora_train::TrainError;
use burn_lora_train::evaluate::evaluate;

use super::Overrides;
use crate::terminal;

/// Measure a finished run on its held-out rows, or on others (`--set data.eval=FILE`)
#[derive(clap::Args)]
pub struct Eval {
    /// The run directory
    run: PathBuf,
    #[command(flatten)]
    overrides: Overrides,
}

impl Eval {
    pub fn run(self) -> Result<(), TrainError> {
        println!("{}", evaluate(&self.run, &self.overrides.set, &terminal::observer())?);
        Ok(())
    }
}
