//! `burn-lora train CONFIG`: the run itself.

use std::io::IsTerminal;
use std::path::PathBuf;

use burn_lora_app::AppError;
use burn_lora_train::config::RunConfig;
use burn_lora_train::dry_run::dry_run;
use burn_lora_train::run::{RunOptions, train};
use burn_train::Interrupter;
use burn_train::renderer::MetricsRenderer;

use super::Overrides;
use crate::plain::PlainRenderer;
use crate::{output, terminal};

/// Fine-tune a model as the configuration says
#[derive(clap::Args)]
pub struct Train {
    /// The run configuration
    config: PathBuf,
    #[command(flatten)]
    overrides: Overrides,
    /// Go on from the newest checkpoint of the run directory
    #[arg(long, conflicts_with = "overwrite")]
    resume: bool,
    /// Remove the run that the directory holds and start over
    #[arg(long)]
    overwrite: bool,
    /// Plain lines instead of the dashboard, also on a terminal
    #[arg(long)]
    plain: bool,
    /// Check and plan everything up to the first step, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Start even if the run needs more memory than there is
    #[arg(long)]
    no_memory_check: bool,
    /// Print the summary as one JSON object; everything else goes to standard error
    #[arg(long)]
    json: bool,
}

impl Train {
    pub fn run(self) -> Result<(), AppError> {
        let config = RunConfig::read(&self.config, &self.overrides.set)?;
        let interrupter = Interrupter::new();
        terminal::stop_on_interrupt(
            interrupter.clone(),
            "interrupted; go on with --resume",
            "stopping after this step; again to stop at once",
        );
        let plain = self.plain || self.json || !std::io::stdout().is_terminal();
        let renderer = plain.then(|| {
            let renderer = PlainRenderer::new(terminal::line_printer(self.json));
            Box::new(renderer) as Box<dyn MetricsRenderer>
        });
        let options = RunOptions {
            resume: self.resume,
            overwrite: self.overwrite,
            no_memory_check: self.no_memory_check,
            renderer,
            interrupter,
        };
        if self.dry_run {
            let dry = dry_run(config, &options, &terminal::observer(self.json))?;
            return output::dry_run(&dry, self.json);
        }
        let summary = train(config, options, &terminal::observer(self.json))?;
        if self.json {
            return output::json(&summary.figures());
        }
        output::line(&format!("\n{summary}"))
    }
}
