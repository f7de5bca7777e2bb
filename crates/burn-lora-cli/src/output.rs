//! Results for programs, on standard output.

use std::fmt::Display;
use std::io::{self, Write};

use burn_lora_files::IoError;
use burn_lora_train::TrainError;
use serde::Serialize;

/// Writes a result as one JSON object; a number that is not finite is `null`.
pub fn json(result: &impl Serialize) -> Result<(), TrainError> {
    let mut text = serde_json::to_vec_pretty(result).map_err(|error| failed(error.into()))?;
    text.push(b'\n');
    bytes(&text)
}

/// Writes what a dry run found: as lines, or as one JSON object with `"dry_run": true` at its head.
pub fn dry_run(found: &(impl Serialize + Display), as_json: bool) -> Result<(), TrainError> {
    #[derive(Serialize)]
    struct DryRun<'a, T> {
        dry_run: bool,
        #[serde(flatten)]
        found: &'a T,
    }
    match as_json {
        true => json(&DryRun { dry_run: true, found }),
        false => bytes(format!("{found}\n").as_bytes()),
    }
}

/// Writes bytes as they are.
pub fn bytes(bytes: &[u8]) -> Result<(), TrainError> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(failed)
}

fn failed(source: io::Error) -> TrainError {
    IoError::at("write", "standard output")(source).into()
}
