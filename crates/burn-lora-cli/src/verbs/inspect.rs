//! `burn-lora inspect ADAPTER`: what an adapter is, without its model, and what a smaller rank would keep.

use std::path::PathBuf;

use burn_lora_app::AppError;
use burn_lora_app::inspect::inspect_on;
use clap::ValueHint;

use crate::output;
use crate::place::{is_stream, output as output_file, place};

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
    /// Write a page, too, with plots of the singular values and of what each smaller rank keeps (`-` for standard output, which
    /// then has nothing else); a file that is there is replaced
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, value_parser = output_file())]
    html: Option<PathBuf>,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
}

impl Inspect {
    pub fn run(self) -> Result<(), AppError> {
        let inspection = inspect_on(&self.adapter, self.base.as_deref())?;
        let page = self.html.as_ref().map(|_| inspection.to_html()).transpose()?;
        match (&self.html, page) {
            (Some(to), Some(page)) if is_stream(to) => output::bytes(page.as_bytes())?,
            (to, page) => {
                if let (Some(to), Some(page)) = (to, page) {
                    burn_lora_files::write(to, page.as_bytes())?;
                }
                output::told(&inspection, self.json)?;
            }
        }
        // It is shown all the same: where it is broken is what somebody looks for.
        Ok(inspection.sound()?)
    }
}
