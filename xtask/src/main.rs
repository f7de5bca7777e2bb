//! `cargo xtask`: the project's own tasks, a file a verb.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn_lora_kernels::allocator::{CompactHeap, keep_large_blocks};
use clap::{Parser, Subcommand};

mod bench;
mod fetch;
mod gguf;
mod gpu;
mod licences;
mod parity;
mod processor;
mod python;
mod quickstart;
mod scaling;

#[global_allocator]
static HEAP: CompactHeap = CompactHeap;

#[derive(Parser)]
#[command(about = "The project's own tasks", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Bench(bench::Bench),
    Fetch(fetch::Fetch),
    Gguf(gguf::Gguf),
    #[command(subcommand)]
    Gpu(gpu::Gpu),
    Licences(licences::Licences),
    Parity(parity::Parity),
    /// Makes the data, the tokenizer and the model file of the quickstart.
    #[command(subcommand)]
    Quickstart(quickstart::Quickstart),
    Scaling(scaling::Scaling),
}

fn main() -> ExitCode {
    let verb = Cli::parse().verb;
    if let Verb::Bench(_) | Verb::Gpu(_) = verb {
        keep_large_blocks();
    }
    let done = match verb {
        Verb::Bench(verb) => bench::run(&verb),
        Verb::Fetch(verb) => fetch::run(&verb).map_err(Into::into),
        Verb::Gguf(verb) => gguf::run(&verb),
        Verb::Gpu(verb) => gpu::run(&verb),
        Verb::Licences(verb) => licences::run(&verb).map_err(Into::into),
        Verb::Parity(verb) => parity::run(&verb),
        Verb::Quickstart(verb) => quickstart::run(&verb).map_err(Into::into),
        Verb::Scaling(verb) => scaling::run(&verb),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace.
fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}
