//! `burn-lora merge RUN --out DIR`: base and adapter as one model.

use std::path::PathBuf;

use burn_lora_app::AppError;
use burn_lora_app::merge::{MergeOptions, Tolerance, merge_with, merge_with_dry_run};
use burn_lora_models::SaveDtype;
use clap::{ValueEnum, ValueHint};

use crate::place::{directory, place};
use crate::{output, terminal};

/// Write base model and adapter as one Hugging Face directory
#[derive(clap::Args)]
pub struct Merge {
    /// The run directory
    #[arg(value_parser = place())]
    run: PathBuf,
    /// Merge this adapter of the same base, too (a PEFT directory, or a run's); may be repeated
    #[arg(long = "adapter", value_name = "DIR", value_hint = ValueHint::DirPath, value_parser = place())]
    adapters: Vec<PathBuf>,
    /// The directory to write; `RUN/merged` unless given
    #[arg(long, value_parser = directory())]
    out: Option<PathBuf>,
    /// The number format to write
    #[arg(long, value_enum, default_value_t = Format::F32)]
    dtype: Format,
    /// Compare the merged model, as read back, with the adapted one, and write nothing if they differ
    #[arg(long)]
    verify: bool,
    /// The largest difference of a logit that --verify allows [default: what the
    /// number format explains, a share of the largest logit: 0.01 % for f32, 0.3 % for f16, 2.4 % for bf16,
    /// and 0.01 % more for each further adapter]
    #[arg(long)]
    tolerance: Option<f64>,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
    /// Load base and adapter, say what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// The formats that can be written.
#[derive(Clone, Copy, ValueEnum)]
enum Format {
    F32,
    F16,
    Bf16,
}

impl Merge {
    pub fn run(self) -> Result<(), AppError> {
        let dtype = match self.dtype {
            Format::F32 => SaveDtype::F32,
            Format::F16 => SaveDtype::F16,
            Format::Bf16 => SaveDtype::Bf16,
        };
        let out = self.out.unwrap_or_else(|| self.run.join("merged"));
        let tolerance =
            self.verify.then(|| self.tolerance.map_or(Tolerance::Rounding, Tolerance::Logits));
        let options = MergeOptions { out, dtype, tolerance };
        let observer = terminal::observer(self.json);
        if self.dry_run {
            let dry = merge_with_dry_run(&self.run, &self.adapters, &options, &observer)?;
            return output::dry_run(&dry, self.json);
        }
        let merged = merge_with(&self.run, &self.adapters, &options, &observer)?;
        if self.json {
            return output::json(&merged);
        }
        output::line(&format!("merged: {}", merged.out.display()))?;
        if let Some(difference) = merged.difference {
            output::line(&format!("verified: largest logit difference {difference:.2e}"))?;
        }
        Ok(())
    }
}
