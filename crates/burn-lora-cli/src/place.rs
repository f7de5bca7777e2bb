//! Paths on the command line: `~` and `$HOME` at their start mean home, where no shell has seen to it, as in `--out=~/x`.

use std::path::PathBuf;

use burn_lora_files::home;
use clap::builder::{PathBufValueParser, TypedValueParser};

/// Reads the value of an argument that is a directory to be made. `-` is none: it stands for standard output elsewhere.
pub fn directory() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| match path.as_os_str() == "-" {
        true => Err("standard output takes no directory: name one (`./-` is one of that name)"),
        false => Ok(home::expanded(path)),
    })
}

/// Reads the value of an argument that is a path.
pub fn place() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().map(home::expanded)
}
