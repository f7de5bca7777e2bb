//! `burn-lora export RUN --out DIR`: a finished run as a directory to share.

use std::path::PathBuf;

use burn_lora_app::AppError;
use burn_lora_app::export::{ExportOptions, export, export_dry_run};
use burn_lora_models::SaveDtype;
use clap::ValueHint;

use crate::{output, terminal};

/// Write a directory to share: adapter or model, tokenizer, model card
#[derive(clap::Args)]
pub struct Export {
    /// The run directory
    #[arg(value_hint = ValueHint::DirPath)]
    run: PathBuf,
    /// The directory to write, which must not exist
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    out: PathBuf,
    /// Write base and adapter as one model (f32) instead of the adapter
    #[arg(long)]
    merged: bool,
    /// What others find the base model by, such as org/name [default: the configuration's]
    #[arg(long, value_name = "NAME")]
    base_model: Option<String>,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
    /// Check the run, say what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
}

impl Export {
    pub fn run(self) -> Result<(), AppError> {
        let options = ExportOptions {
            out: self.out,
            merged: self.merged.then_some(SaveDtype::F32),
            base_model: self.base_model,
        };
        let observer = terminal::observer(self.json);
        if self.dry_run {
            return output::dry_run(&export_dry_run(&self.run, &options, &observer)?, self.json);
        }
        let exported = export(&self.run, &options, &observer)?;
        if self.json {
            return output::json(&exported);
        }
        output::line(&format!("exported: {}", exported.out.display()))?;
        for name in &exported.files {
            output::line(&format!("  {name}"))?;
        }
        output::line("README.md states no licence yet: choose one before you share it")
    }
}
