//! The verbs, a file each.

use std::path::PathBuf;

use burn_lora_app::combine::Keep;
use clap::ValueHint;

use crate::place::directory;

pub mod chat;
pub mod check;
pub mod combine;
pub mod completions;
pub mod compress;
pub mod eval;
pub mod export;
pub mod extract;
pub mod fetch;
pub mod generate;
pub mod init;
pub mod inspect;
pub mod merge;
pub mod plan;
pub mod serve_device;
pub mod sweep;
pub mod train;

/// `--set section.key=value`, shared by the verbs that read a configuration.
#[derive(clap::Args)]
pub struct Overrides {
    /// Override a key of the configuration, such as `--set train.steps=50`; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// How much of a change is kept, shared by the verbs that cut one to a rank.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub struct Kept {
    /// The rank
    #[arg(long)]
    rank: Option<usize>,
    /// The share of the square of each layer's norm to keep, such as 0.9: the smallest rank that does it everywhere
    #[arg(long, value_name = "SHARE")]
    energy: Option<f64>,
}

/// Where a new adapter goes, and how that is told, shared by the verbs that write one.
#[derive(clap::Args)]
pub struct NewAdapter {
    /// The directory to write, which must not exist
    #[arg(long, alias = "output", value_name = "DIR", value_hint = ValueHint::DirPath, value_parser = directory())]
    out: PathBuf,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
}

impl Kept {
    /// What the library calls it.
    fn keep(self) -> Keep {
        match (self.rank, self.energy) {
            (Some(rank), _) => Keep::Rank(rank),
            (None, energy) => Keep::Energy(energy.unwrap_or(1.0)),
        }
    }
}
