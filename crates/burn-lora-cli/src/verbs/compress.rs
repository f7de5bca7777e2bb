//! `burn-lora compress ADAPTER --rank N --out DIR`: the adapter with a smaller rank.

use std::path::PathBuf;

use burn_lora_app::AppError;
use burn_lora_app::combine::compress;
use clap::ValueHint;

use super::{Kept, NewAdapter};
use crate::output;
use crate::place::place;

/// Write an adapter with a smaller rank, of each layer's change the largest part
#[derive(clap::Args)]
pub struct Compress {
    /// A PEFT adapter directory, or a run directory
    #[arg(value_hint = ValueHint::DirPath, value_parser = place())]
    adapter: PathBuf,
    #[command(flatten)]
    kept: Kept,
    #[command(flatten)]
    new: NewAdapter,
}

impl Compress {
    pub fn run(self) -> Result<(), AppError> {
        output::told(&compress(&self.adapter, self.kept.keep(), &self.new.out)?, self.new.json)
    }
}
