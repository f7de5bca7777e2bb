//! The binary, run in a directory.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

/// Runs it where no hub and no cache of this machine is reached.
#[allow(dead_code, reason = "not every binary of tests has use for it")]
pub fn burn_lora(dir: &Path, arguments: &[&str]) -> Output {
    command(dir, arguments).output().unwrap()
}

/// Starts it, its output kept for whoever waits for its end.
#[allow(dead_code, reason = "not every binary of tests has use for it")]
pub fn start(dir: &Path, arguments: &[&str]) -> Child {
    let mut command = command(dir, arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_burn-lora"));
    command
        .args(arguments)
        .current_dir(dir)
        .env("NO_COLOR", "1")
        .env("HF_HUB_CACHE", dir.join("hub"))
        .env("HF_HUB_OFFLINE", "1");
    command
}

/// Runs it with a standard output that nobody reads; how it ended, and its standard error.
#[allow(dead_code, reason = "not every binary of tests has use for it")]
pub fn closed(dir: &Path, arguments: &[&str]) -> (ExitStatus, String) {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = command(dir, arguments);
    let output = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
    let output = output.wait_with_output().unwrap();
    (output.status, text(&output.stderr))
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
