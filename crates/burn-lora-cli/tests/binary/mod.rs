//! The binary, run in a directory.

use std::path::Path;
use std::process::{Command, Output};

/// Runs it where no hub and no cache of this machine is reached.
pub fn burn_lora(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_burn-lora"))
        .args(arguments)
        .current_dir(dir)
        .env("NO_COLOR", "1")
        .env("HF_HUB_CACHE", dir.join("hub"))
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
