//! `burn-lora extract BASE TUNED --rank N --out DIR`: an adapter of what two models differ in.

use std::path::PathBuf;

use burn_lora_app::AppError;
use burn_lora_app::extract::extract;
use clap::ValueHint;

use super::{Kept, NewAdapter};
use crate::place::place;
use crate::{output, terminal};

/// Write an adapter of what full training changed in a model
#[derive(clap::Args)]
pub struct Extract {
    /// The base: a model's directory, or a model of the hub
    #[arg(value_hint = ValueHint::DirPath, value_parser = place())]
    base: PathBuf,
    /// What was trained of it: a model's directory, or a model of the hub
    #[arg(value_hint = ValueHint::DirPath, value_parser = place())]
    tuned: PathBuf,
    #[command(flatten)]
    kept: Kept,
    #[command(flatten)]
    new: NewAdapter,
}

impl Extract {
    pub fn run(self) -> Result<(), AppError> {
        let observer = terminal::observer(self.new.json);
        let extracted =
            extract(&self.base, &self.tuned, self.kept.keep(), &self.new.out, &observer)?;
        output::told(&extracted, self.new.json)
    }
}
