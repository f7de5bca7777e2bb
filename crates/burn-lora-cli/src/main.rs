//! `burn-lora`: LoRA fine-tuning from one configuration file.

mod hint;
mod output;
mod place;
mod terminal;
mod verbs;

use std::io::ErrorKind;
use std::process::ExitCode;

use burn_lora_app::AppError;
use burn_lora_app::sweep::SweepError;
use burn_lora_kernels::allocator::{CompactHeap, keep_large_blocks};
use burn_lora_train::TrainError;
use clap::{Parser, Subcommand};
use miette::{GraphicalReportHandler, GraphicalTheme};

#[global_allocator]
static HEAP: CompactHeap = CompactHeap;

/// LoRA fine-tuning for Burn models: one configuration file, one binary.
#[derive(Parser)]
#[command(name = "burn-lora", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Init(verbs::init::Init),
    Check(verbs::check::Check),
    Plan(verbs::plan::Plan),
    Train(verbs::train::Train),
    Sweep(verbs::sweep::Sweep),
    Eval(verbs::eval::Eval),
    Generate(verbs::generate::Generate),
    Chat(verbs::chat::Chat),
    Fetch(verbs::fetch::Fetch),
    Merge(verbs::merge::Merge),
    Combine(verbs::combine::Combine),
    Extract(verbs::extract::Extract),
    Compress(verbs::compress::Compress),
    Inspect(verbs::inspect::Inspect),
    Export(verbs::export::Export),
    ServeDevice(verbs::serve_device::ServeDevice),
    Completions(verbs::completions::Completions),
}

fn main() -> ExitCode {
    let verb = match Cli::try_parse() {
        Ok(cli) => cli.verb,
        Err(told) => return help(&told),
    };
    terminal::refuse_large_files_by_error();
    if let Verb::Plan(_) | Verb::Train(_) | Verb::Sweep(_) = verb {
        keep_large_blocks();
    }
    let result = match verb {
        Verb::Plan(verb) => return verb.run().unwrap_or_else(failed),
        Verb::Train(verb) => return verb.run().unwrap_or_else(failed),
        Verb::Sweep(verb) => return verb.run().unwrap_or_else(failed),
        Verb::Init(verb) => verb.run(),
        Verb::Check(verb) => verb.run(),
        Verb::Eval(verb) => verb.run(),
        Verb::Generate(verb) => verb.run(),
        Verb::Chat(verb) => verb.run(),
        Verb::Fetch(verb) => verb.run(),
        Verb::Merge(verb) => verb.run(),
        Verb::Combine(verb) => verb.run(),
        Verb::Extract(verb) => verb.run(),
        Verb::Compress(verb) => verb.run(),
        Verb::Inspect(verb) => verb.run(),
        Verb::Export(verb) => verb.run(),
        Verb::ServeDevice(verb) => verb.run(),
        Verb::Completions(verb) => verb.run(),
    };
    result.map_or_else(failed, |()| ExitCode::SUCCESS)
}

/// Says what was asked about the command line, or what is wrong with it.
fn help(told: &clap::Error) -> ExitCode {
    match told.print() {
        Err(error) if !told.use_stderr() && error.kind() != ErrorKind::BrokenPipe => {
            failed(output::failed(error))
        }
        // Usage errors are 2.
        _ => ExitCode::from(u8::try_from(told.exit_code()).unwrap_or(2)),
    }
}

/// How a user of the command line gives an override.
const OVERRIDE: &str = "--set";

/// Says what went wrong, and what can be typed about it.
fn failed(error: AppError) -> ExitCode {
    let hint = hint::hint(&error);
    match error {
        AppError::Train(TrainError::Config(errors)) => {
            let report = miette::Report::new(errors.naming_overrides(OVERRIDE));
            // A file may bring colours of its own, which nobody could tell from those of the report.
            let mut plain = String::new();
            let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor());
            match handler.render_report(&mut plain, report.as_ref()) {
                Ok(()) if plain.contains('\u{1b}') => output::note(plain.trim_end()),
                _ => output::report(format!("{report:?}").trim_end()),
            }
        }
        AppError::Sweep(SweepError::Config { errors }) => {
            let errors = errors.into_iter().map(|e| e.naming_overrides(OVERRIDE)).collect();
            output::note(&format!("error: {}", SweepError::Config { errors }));
        }
        error => output::note(&format!("error: {error}")),
    }
    if let Some(hint) = hint {
        output::note(&format!("hint: {hint}"));
    }
    ExitCode::FAILURE
}
