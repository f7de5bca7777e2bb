//! `burn-lora train CONFIG`: the run itself.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use burn_lora_app::AppError;
use burn_lora_train::TrainError;
use burn_lora_train::dry_run::dry_run;
use burn_lora_train::exchange::launch::{LaunchError, join, launched};
use burn_lora_train::inputs::Changed;
use burn_lora_train::observe::Observer;
use burn_lora_train::plain::PlainRenderer;
use burn_lora_train::run::{RunOptions, train};
use burn_train::Interrupter;
use burn_train::renderer::MetricsRenderer;

use super::Overrides;
use crate::place::{configuration, input, is_stream};
use crate::{output, terminal};

/// Fine-tune a model as the configuration says
///
/// Ctrl-C, SIGTERM and SIGHUP end the run after the step it is in, with a checkpoint; it then exits with 75.
#[derive(clap::Args)]
pub struct Train {
    /// The run configuration
    #[arg(value_parser = input())]
    config: PathBuf,
    #[command(flatten)]
    overrides: Overrides,
    /// Go on from the newest checkpoint of the run directory
    #[arg(long, conflicts_with = "overwrite")]
    resume: bool,
    /// With --resume: take more steps than the run was to take; its schedule is then the longer run's
    #[arg(long, requires = "resume", conflicts_with = "overwrite")]
    extend: bool,
    /// With --resume: what may have changed since the checkpoint
    #[arg(
        long,
        requires = "resume",
        conflicts_with = "overwrite",
        value_delimiter = ',',
        value_name = "WHAT"
    )]
    allow_changed: Vec<What>,
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

/// What a run that goes on may have changed.
#[derive(Clone, Copy, clap::ValueEnum)]
enum What {
    /// The data files
    Data,
    /// The base model's files
    Base,
    /// metrics.jsonl: the run goes on with what is left of it
    Metrics,
}

impl From<What> for Changed {
    fn from(what: What) -> Self {
        match what {
            What::Data => Self::Data,
            What::Base => Self::Base,
            What::Metrics => Self::Metrics,
        }
    }
}

/// What the process ends with when its run was stopped from outside: what comes after it in a script must not take the run for a
/// finished one. `EX_TEMPFAIL` of sysexits.h: try again later.
pub(super) const INTERRUPTED: u8 = 75;

impl Train {
    pub fn run(self) -> Result<ExitCode, AppError> {
        if is_stream(&self.config)
            && let Some(launch) = launched().map_err(TrainError::from)?
        {
            return Err(TrainError::from(LaunchError::StandardInput { launch }).into());
        }
        let config = configuration(&self.config, &self.overrides.set)?;
        let interrupter = Interrupter::new();
        terminal::stop_on_interrupt(
            interrupter.clone(),
            "interrupted; go on with --resume",
            "stopping after this step; again to stop at once",
        );
        let exchange = join().map_err(TrainError::from)?;
        let first = exchange.as_ref().is_none_or(|exchange| exchange.rank() == 0);
        let observer = if first { terminal::observer(self.json) } else { Observer::silent() };
        let plain = self.plain || !first || self.json || !std::io::stdout().is_terminal();
        let renderer = plain.then(|| {
            let renderer = match first {
                true => PlainRenderer::new(terminal::line_printer(self.json)),
                false => PlainRenderer::silent(),
            };
            Box::new(renderer) as Box<dyn MetricsRenderer>
        });
        let options = RunOptions {
            resume: self.resume,
            overwrite: self.overwrite,
            extend: self.extend,
            allow_changed: self.allow_changed.into_iter().map(Changed::from).collect(),
            no_memory_check: self.no_memory_check,
            renderer,
            interrupter,
            exchange,
        };
        if self.dry_run {
            return match dry_run(config, &options, &observer) {
                Ok(dry) if first => output::dry_run(&dry, self.json).map(|()| ExitCode::SUCCESS),
                Ok(_) => Ok(ExitCode::SUCCESS),
                Err(error) => failed(error, first),
            };
        }
        let summary = match train(config, options, &observer) {
            Ok(summary) => summary,
            Err(error) => return failed(error, first),
        };
        match self.json {
            _ if !first => {}
            true => output::json(&summary)?,
            false => output::line(&format!("\n{summary}"))?,
        }
        Ok(if summary.interrupted { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
    }
}

/// A run that failed. What another rank says is told once, by the first.
fn failed(error: TrainError, first: bool) -> Result<ExitCode, AppError> {
    match error {
        TrainError::OtherRank { .. } if !first => Ok(ExitCode::FAILURE),
        error => Err(error.into()),
    }
}
