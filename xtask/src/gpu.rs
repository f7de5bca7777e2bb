//! `cargo xtask gpu`: what proves the CUDA build on a GPU, as a pack that travels to one.
//!
//! [`pack`] makes a folder with this program, compiled for CUDA, and everything that it reads; its
//! `run.sh` calls the other verbs one after the other on the machine with the GPU:
//!
//! - [`rates`]: how fast the device multiplies and copies;
//! - [`check`]: every operation that has a backward of its own, against float64 on the host;
//! - [`quickstart`]: a training run's losses and exact match;
//! - [`cells`]: training steps of a model's shape with random weights;
//! - [`report`]: what all of them and the peers' scripts wrote, as tables.
//!
//! Each appends [`mod@line`]s of JSON as soon as it knows them, so that what is killed half way has said
//! what it found.

use std::path::PathBuf;

use clap::Subcommand;

mod cells;
mod check;
mod line;
mod pack;
mod quickstart;
mod rates;
mod report;

/// What proves the CUDA build on a GPU
#[derive(Subcommand)]
pub enum Gpu {
    /// Makes target/gpu-pack: the program for CUDA, what it reads, and run.sh
    Pack(pack::Pack),
    /// Measures matrix products and copies
    Rates(rates::Rates),
    /// Checks every operation against float64; exit code 1 where one is beyond its tolerance
    Check(check::Check),
    /// Trains the quickstart and keeps its losses
    Quickstart(quickstart::Quickstart),
    /// Measures training steps of a model's shape
    Cells(cells::Cells),
    /// Writes report.md beside a results file
    Report {
        /// The JSON Lines
        results: PathBuf,
    },
}

type Done = Result<(), Box<dyn std::error::Error>>;

/// Runs the verb.
pub fn run(verb: &Gpu) -> Done {
    match verb {
        Gpu::Pack(pack) => pack::run(pack),
        Gpu::Rates(rates) => rates::run(rates),
        Gpu::Check(check) => check::run(check),
        Gpu::Quickstart(quickstart) => quickstart::run(quickstart),
        Gpu::Cells(cells) => cells::run(cells),
        Gpu::Report { results } => report::run(results),
    }
}

/// Where a verb computes, and where it says what it found.
#[derive(clap::Args)]
pub struct Where {
    /// The device
    #[arg(long, default_value = "cuda:0")]
    device: String,
    /// The file that lines of JSON are added to
    #[arg(long, value_name = "FILE")]
    results: PathBuf,
}
