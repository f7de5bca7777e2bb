//! Paths on the command line: `~` and `$HOME` at their start mean home, where no shell has seen to it, as in `--out=~/x`.

use std::path::PathBuf;

use burn_lora_files::home;
use clap::builder::{PathBufValueParser, TypedValueParser};

/// Reads the value of an argument that is a path.
pub fn place() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().map(home::expanded)
}
