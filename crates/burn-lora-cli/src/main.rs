//! `burn-lora`: LoRA fine-tuning from one configuration file.

mod output;
mod plain;
mod terminal;
mod verbs;

use std::process::ExitCode;

use burn_lora_kernels::allocator::keep_large_blocks;
use burn_lora_train::TrainError;
use clap::{Parser, Subcommand};

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
    Inspect(verbs::inspect::Inspect),
    Export(verbs::export::Export),
    Completions(verbs::completions::Completions),
}

fn main() -> ExitCode {
    let verb = Cli::parse().verb;
    if let Verb::Plan(_) | Verb::Train(_) | Verb::Sweep(_) = verb {
        keep_large_blocks();
    }
    let result = match verb {
        Verb::Init(verb) => verb.run(),
        Verb::Check(verb) => verb.run(),
        Verb::Plan(verb) => return verb.run(),
        Verb::Train(verb) => verb.run(),
        Verb::Sweep(verb) => return verb.run(),
        Verb::Eval(verb) => verb.run(),
        Verb::Generate(verb) => verb.run(),
        Verb::Chat(verb) => verb.run(),
        Verb::Fetch(verb) => verb.run(),
        Verb::Merge(verb) => verb.run(),
        Verb::Inspect(verb) => verb.run(),
        Verb::Export(verb) => verb.run(),
        Verb::Completions(verb) => verb.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(error),
    }
}

/// Says what went wrong.
fn failed(error: TrainError) -> ExitCode {
    match error {
        TrainError::Config(errors) => {
            eprintln!("{:?}", miette::Report::new(errors.naming_overrides("--set")));
        }
        error => eprintln!("error: {error}"),
    }
    ExitCode::FAILURE
}
