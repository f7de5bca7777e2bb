//! A run that takes seconds, and what it leaves.

use std::fs;
use std::path::{Path, PathBuf};

/// A directory with `run.toml`: 6 steps of so many micro-batches on the quickstart's model, with dropout.
#[allow(dead_code, reason = "not every binary of tests has use for it")]
pub fn directory(accumulate: usize) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/quickstart");
    let here = here.canonicalize().unwrap();
    let rows = fs::read_to_string(here.join("train.jsonl")).unwrap();
    let some: Vec<&str> = rows.lines().take(20).collect();
    fs::write(dir.path().join("rows.jsonl"), some.join("\n") + "\n").unwrap();
    let text = format!(
        "[model]\npath = {:?}\n[adapter]\nrank = 4\ndropout = 0.1\n[data]\ntrain = \"rows.jsonl\"\neval = \"rows.jsonl\"\n\
         max_length = 64\ngenerate_max_tokens = 4\n[train]\ndevice = \"cpu\"\nsteps = 6\nbatch_size = 2\naccumulate = {accumulate}\n\
         learning_rate = 0.01\nsave_every = 1\nsamples = 2\n[output]\ndir = \"here\"\n",
        here.join("model").display().to_string()
    );
    fs::write(dir.path().join("run.toml"), text).unwrap();
    dir
}

/// The bytes of the adapter of a run.
pub fn adapter(dir: &Path, run: &str) -> Vec<u8> {
    fs::read(dir.join(run).join("adapter/adapter_model.safetensors")).unwrap()
}

/// The checkpoints of a run.
#[allow(dead_code, reason = "not every binary of tests has use for it")]
pub fn checkpoints(dir: &Path, run: &str) -> Vec<PathBuf> {
    let steps = fs::read_dir(dir.join(run).join("checkpoints")).unwrap();
    steps.map(|entry| entry.unwrap().path()).collect()
}
