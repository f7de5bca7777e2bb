//! `burn-lora inspect ADAPTER`: what an adapter is, without its model.

use std::path::PathBuf;

use burn_lora_app::AppError;
use burn_lora_app::inspect::inspect;
use clap::ValueHint;

use crate::output;
use crate::place::place;

/// Show an adapter's layers with their shapes, scales and norms
#[derive(clap::Args)]
pub struct Inspect {
    /// A PEFT adapter directory, or a run directory
    #[arg(value_hint = ValueHint::DirPath, value_parser = place())]
    adapter: PathBuf,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
}

impl Inspect {
    pub fn run(self) -> Result<(), AppError> {
        let inspection = inspect(&self.adapter)?;
        output::told(&inspection, self.json)?;
        // It is shown all the same: where it is broken is what somebody looks for.
        Ok(inspection.sound()?)
    }
}
