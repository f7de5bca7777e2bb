//! The lines of a pack's `results.jsonl`.

use std::io::Write;
use std::path::Path;

use burn_lora_files::IoError;
use serde::{Deserialize, Serialize};

use crate::bench::{Cell, Measured, StepTimes, median};

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Line {
    /// How a part of `run.sh` ended.
    Part(Part),
    /// How fast something is done over and over.
    Rate(Rate),
    /// How far an operation is from float64.
    Check(Check),
    /// What a training run came to.
    Quickstart(Quickstart),
    /// The steps of a cell that its kernels took.
    Warm(Warm),
    /// Training steps.
    Cell(CellLine),
    /// Training steps of PEFT's.
    Peer(Peer),
}

/// How a part of `run.sh` ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// How long it took, its waiting for its turn included.
    pub seconds: f64,
    /// How much of that it had the machine to itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<f64>,
    /// Its exit code; 124 where its time was up, 125 where none was left, 127 where what it needs is not installed.
    pub code: i32,
}

/// How fast something is done over and over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// Whose: `burn-lora` or `torch`.
    pub who: String,
    /// The device.
    pub device: String,
    /// `matmul f32`, `copy f32`, …
    pub what: String,
    /// Rows and columns of the square matrices.
    pub size: usize,
    /// Operations, or bytes read and written, a second.
    pub per_second: f64,
}

/// How far one result of an operation is from the same in float64.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// The device.
    pub device: String,
    /// The operation.
    pub operation: String,
    /// `output`, or whose gradient.
    pub part: String,
    /// The norm of the difference over the norm of the float64 result.
    pub error: f64,
    /// The largest that passes.
    pub tolerance: f64,
}

impl Check {
    /// Written so that what is no number fails.
    pub fn passes(&self) -> bool {
        self.error <= self.tolerance
    }
}

/// What a training run came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quickstart {
    /// The device.
    pub device: String,
    /// How many steps there were to be; 0 where an older file does not say.
    #[serde(default)]
    pub planned: usize,
    /// The loss of each step, in nats per target.
    pub losses: Vec<f64>,
    /// The share of held-out rows written exactly, before and after.
    pub exact_match: Option<(f64, f64)>,
    /// Seconds of all steps together.
    pub seconds: f64,
    /// The first step's.
    pub first_step_seconds: f64,
    /// The median of the steps'.
    pub step_seconds: f64,
    /// Tokens read, padding left out.
    pub tokens: usize,
}

/// A few steps of a cell, taken for its kernels while other parts ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Warm {
    /// What was trained.
    pub cell: Cell,
    /// All of it, the model's making included.
    pub seconds: f64,
    /// From the start of the process, or from the end of the cell before, to the end of the first step.
    pub first_step_seconds: f64,
}

/// Training steps of one cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CellLine {
    /// What was trained.
    pub cell: Cell,
    /// What it took.
    pub measured: Measured,
}

impl CellLine {
    /// The median of the timed steps, in seconds.
    pub fn step_seconds(&self) -> Option<f64> {
        median(self.measured.steps.iter().map(StepTimes::total).collect())
    }

    /// Tokens read a second, by that median.
    pub fn tokens_per_second(&self) -> Option<f64> {
        Some(self.cell.tokens() as f64 / self.step_seconds()?)
    }
}

/// What `peft_lm.py` prints, as far as the report shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// `PEFT` or `PEFT with Liger`.
    pub peer: String,
    /// Its versions.
    pub version: String,
    /// `lora` or `full`.
    pub method: String,
    /// The model's folder.
    pub model: String,
    /// Rows of a batch.
    pub batch: usize,
    /// Tokens of a row.
    pub length: usize,
    /// Of the adapter.
    pub rank: usize,
    /// What the base is held in: `f32`, `tf32` (f32 with rounded products), `bf16`.
    pub dtype: String,
    /// The device's name.
    pub device: String,
    /// The median of the steps after the first.
    pub tokens_per_s: f64,
    /// From the start of the process, or from the end of the cell before, to the end of the first step.
    pub first_step_s: f64,
    /// The most that torch's allocator held in these steps, in GiB.
    pub peak_device_gib: Option<f64>,
}

/// Appends a line to a file.
///
/// # Errors
///
/// The file cannot be written.
pub fn append(file: &Path, line: &Line) -> super::Done {
    let text = serde_json::to_string(line)? + "\n";
    let open = std::fs::OpenOptions::new().create(true).append(true).open(file);
    let written = open.and_then(|mut open| open.write_all(text.as_bytes()));
    Ok(written.map_err(IoError::at("write", file))?)
}

/// The lines of a file; those that are none are counted.
///
/// # Errors
///
/// The file cannot be read.
pub fn read(file: &Path) -> Result<(Vec<Line>, usize), IoError> {
    let text = burn_lora_files::read_text(file)?;
    let (mut lines, mut strange) = (Vec::new(), 0);
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        match serde_json::from_str(line) {
            Ok(line) => lines.push(line),
            Err(_) => strange += 1,
        }
    }
    Ok((lines, strange))
}
