//! `burn-lora inspect ADAPTER`: what an adapter is, without its model, and what a smaller rank would keep.

use std::path::PathBuf;

use burn_lora_app::AppError;
use burn_lora_app::inspect::inspect_on;
use clap::ValueHint;

use crate::output;
use crate::place::place;

/// Show an adapter's layers with their shapes, scales, norms and singular values
#[derive(clap::Args)]
pub struct Inspect {
    /// A PEFT adapter directory, or a run directory
    #[arg(value_hint = ValueHint::DirPath, value_parser = place())]
    adapter: PathBuf,
    /// The base, to set the norms of its weights beside: a model's directory, or one of the hub that is here already
    /// [default: the one that the adapter names, if it is here]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, value_parser = place())]
    base: Option<PathBuf>,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
}

impl Inspect {
    pub fn run(self) -> Result<(), AppError> {
        let inspection = inspect_on(&self.adapter, self.base.as_deref())?;
        output::told(&inspection, self.json)?;
        // It is shown all the same: where it is broken is what somebody looks for.
        Ok(inspection.sound()?)
    }
}
