//! Paths on the command line: what each may be, decided here for all verbs.
//!
//! `~` and `$HOME` at their start mean home, where no shell has seen to it, as in `--out=~/x`. `-` is standard input where a file is read
//! once and whole ([`input`]), and standard output where one is written ([`output`]). A directory, a model and an adapter are no
//! stream: there `-` is refused, and `./-` is a file or directory of that name.

use std::io::stdin;
use std::path::{Path, PathBuf};

use burn_lora_config::{ConfigErrors, RunConfig};
use burn_lora_files::{IoError, home, stream};
use clap::builder::{PathBufValueParser, StringValueParser, TypedValueParser};

/// What standard input is called in messages.
const STANDARD_INPUT: &str = "standard input";

/// Reads the value of an argument that is a directory to be made.
pub fn directory() -> impl TypedValueParser<Value = PathBuf> {
    refusing_stream("standard output takes no directory: name one (`./-` is one of that name)")
}

/// Reads the value of an argument that is a model, a run or an adapter.
pub fn place() -> impl TypedValueParser<Value = PathBuf> {
    refusing_stream(
        "standard input holds no model, run or adapter: name one (`./-` is a directory of that name)",
    )
}

/// Reads the value of an argument that is an adapter behind its name.
pub fn named_place() -> impl TypedValueParser<Value = String> {
    StringValueParser::new().try_map(|text| match text.rsplit('=').next() {
        Some("-") => Err("standard input holds no adapter: name its directory"),
        _ => Ok(text),
    })
}

/// Reads the value of an argument that is a file to be read, or `-`.
pub fn input() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().map(home::expanded)
}

/// Reads the value of an argument that is a file to be written, or `-`.
pub fn output() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().map(home::expanded)
}

fn refusing_stream(refusal: &'static str) -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(move |path| match is_stream(&path) {
        true => Err(refusal),
        false => Ok(home::expanded(path)),
    })
}

/// Whether a path stands for a standard stream.
pub fn is_stream(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Whether a path stands for standard output: a file that it leads to is the shell's, and is not written anew.
pub fn is_standard_output(path: &Path) -> bool {
    is_stream(path)
        || ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"]
            .iter()
            .any(|name| path == Path::new(name))
}

/// The text of an [`input`], and what it is called in messages.
pub fn text(path: &Path) -> Result<(PathBuf, String), IoError> {
    match is_stream(path) {
        true => {
            let text = stream::text(stdin().lock(), STANDARD_INPUT, stream::MOST)?;
            Ok((STANDARD_INPUT.into(), text))
        }
        false => Ok((path.to_owned(), burn_lora_files::read_text(path)?)),
    }
}

/// The run configuration that an [`input`] is, with these overrides.
pub fn configuration(path: &Path, overrides: &[String]) -> Result<RunConfig, ConfigErrors> {
    let (name, text) = configuration_text(path)?;
    RunConfig::parse(&text, &name, overrides)
}

/// The name and the text of the run configuration that an [`input`] is.
pub fn configuration_text(path: &Path) -> Result<(String, String), ConfigErrors> {
    let called = if is_stream(path) { Path::new(STANDARD_INPUT) } else { path };
    let name = called.display().to_string();
    match text(path) {
        Ok((_, text)) => Ok((name, text)),
        Err(error) => Err(ConfigErrors::unreadable(&name, error.source)),
    }
}
