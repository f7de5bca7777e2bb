//! PEFT on PyTorch beside us: the same weights, adapter and batches, processes alternating.
//!
//! A directory is made that both read: a model as a Hugging Face directory, an adapter as a PEFT
//! directory, and the batches. The losses of the steps show that both do the same work. The matrix file says on
//! what ([`Comparison`]), and what either holds the base in.

use std::path::{Path, PathBuf};
use std::process::Command;

use burn_lora_models::weights::WeightDtype;
use burn_lora_models::{CausalLm, Model, ModelConfig, Recompute, SaveDtype};
use burn_lora_patch::peft::{self, PeftConfig};
use burn_lora_patch::{TaskType, patch};
use serde::{Deserialize, Serialize};

use super::cell::{Order, now, patching};
use super::matrix::{Comparison, Shape};
use super::record::{Cell, Excuse, Line, Measured, Peer, StepTimes};
use super::report::rows::OURS;
use super::runner::{self, Runner};
use super::workload::Workload;

/// What PEFT needs; the versions that figures were taken with. The last one for bases in NF4 alone.
const INSTALL: &str =
    "pip install torch==2.11.0 transformers==5.23.0 peft==0.21.2 bitsandbytes==0.50.2";

/// What `prepare` is to write.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Preparation {
    order: Order,
    masked: usize,
    dir: PathBuf,
}

/// What `peft_steps.py` prints.
#[derive(Deserialize)]
struct Answer {
    version: String,
    tokens: Vec<usize>,
    step_seconds: Vec<f64>,
    losses: Vec<f64>,
    peak_bytes: u64,
    first_step_seconds: f64,
}

/// Compares with PEFT where a Python has it, and says how to get it where none has.
///
/// # Errors
///
/// The results cannot be written, or a process fails.
pub fn run(
    runner: &mut Runner<'_>,
    python: Option<&Path>,
) -> Result<(), Box<dyn std::error::Error>> {
    let Some(python) = found(python) else {
        eprintln!("PEFT: skipped, no Python has it: {INSTALL}, then --python or $PEFT_PYTHON");
        return Ok(());
    };
    for comparison in &runner.matrix().comparison {
        for model in &comparison.model {
            compare(runner, comparison, model, &python)?;
        }
    }
    Ok(())
}

/// One model, all bases in turn, again and again. A process that fails becomes a line that says so.
fn compare(
    runner: &mut Runner<'_>,
    comparison: &Comparison,
    model: &str,
    python: &Path,
) -> Result<(), Box<dyn std::error::Error>> {
    let &Comparison { method, rank, batch, length, masked, .. } = comparison;
    let matrix = runner.matrix();
    let config = matrix.config(model).ok_or(format!("the matrix has no {model}"))?;
    let dir = tempfile::tempdir()?;
    let cell = |dtype| Cell {
        model: model.to_owned(),
        backend: "flex".to_owned(),
        dtype,
        recompute: Recompute::None,
        batch,
        length,
        method,
        rank: rank.filter(|_| method.has_rank()),
    };
    let order = |dtype| Order {
        cell: cell(dtype),
        config: config.clone(),
        seed: matrix.seed,
        warmup: matrix.warmup,
        steps: matrix.steps,
        started: 0.0,
        given: Some(dir.path().to_owned()),
        alone: false,
    };
    // In a process of its own, so that this one stays small.
    let dir = dir.path().to_owned();
    let preparation = Preparation { order: order(WeightDtype::F32), masked, dir: dir.clone() };
    runner::ask("prepare", &preparation)?;
    let workload = format!("{model}: {}", comparison.name);
    for repeat in 0..matrix.repeat {
        for &dtype in &comparison.ours {
            let line = match runner::measure(&order(dtype)) {
                Ok(ours) => Line::Peer(as_peer(&workload, repeat, batch * length, dtype, ours)),
                Err(reason) => Line::Failed(Excuse { cell: cell(dtype), reason }),
            };
            tell(&workload, OURS, dtype, &line);
            runner.write(&line)?;
        }
        for &dtype in &comparison.peft {
            let line = match peft(python, &order(dtype), &dir) {
                Ok(theirs) => Line::Peer(Peer {
                    workload: workload.clone(),
                    who: "PEFT".to_owned(),
                    version: theirs.version,
                    dtype,
                    repeat,
                    tokens: theirs.tokens.first().copied().unwrap_or(0),
                    step_seconds: theirs.step_seconds.into_iter().skip(matrix.warmup).collect(),
                    losses: theirs.losses,
                    peak_bytes: theirs.peak_bytes,
                    first_step_seconds: theirs.first_step_seconds,
                }),
                Err(reason) => {
                    let reason = format!("PEFT: {reason}");
                    Line::Failed(Excuse { cell: cell(dtype), reason })
                }
            };
            tell(&workload, "PEFT", dtype, &line);
            runner.write(&line)?;
        }
    }
    Ok(())
}

fn tell(workload: &str, who: &str, dtype: WeightDtype, line: &Line) {
    let what = match line {
        Line::Peer(peer) => super::statistics::median(peer.step_seconds.clone())
            .map_or_else(String::new, |step| format!("{step:.2} s a step")),
        Line::Failed(excuse) => format!("failed: {}", excuse.reason),
        _ => String::new(),
    };
    eprintln!("{workload}: {who} over {}: {what}", dtype.name());
}

fn as_peer(
    workload: &str,
    repeat: usize,
    tokens: usize,
    dtype: WeightDtype,
    measured: Measured,
) -> Peer {
    Peer {
        workload: workload.to_owned(),
        who: OURS.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        dtype,
        repeat,
        tokens,
        step_seconds: measured.steps.iter().map(StepTimes::total).collect(),
        losses: measured.losses,
        peak_bytes: measured.peak_bytes,
        first_step_seconds: measured.first_step_seconds,
    }
}

/// The first Python that has PEFT.
fn found(given: Option<&Path>) -> Option<PathBuf> {
    let named = std::env::var_os("PEFT_PYTHON").map(PathBuf::from);
    let candidates = match given.map(Path::to_owned).or(named) {
        Some(python) => vec![python],
        None => vec!["python3".into(), "python".into()],
    };
    candidates.into_iter().find(|python| {
        let probe = ["-c", "import torch, transformers, peft"];
        let output = Command::new(python).args(probe).output();
        output.is_ok_and(|output| output.status.success())
    })
}

fn peft(python: &Path, order: &Order, dir: &Path) -> Result<Answer, String> {
    let script = super::root().join("benches/peers/peft_steps.py");
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let output = Command::new(python)
        .arg(script)
        .arg(dir)
        .args(["--method", order.cell.method.name()])
        .args(["--base", order.cell.dtype.name()])
        .args(["--threads", &threads.to_string()])
        .args(["--started", &now().to_string()])
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(format!("{said} ({})", output.status));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("PEFT's answer: {error}"))
}

/// Writes the directory that both read.
///
/// # Errors
///
/// A line that says what could not be done.
pub fn prepare(Preparation { order, masked, dir }: &Preparation) -> Result<(), String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let Shape::Decoder(config) = Shape::parse(&order.config, "config.json".as_ref())? else {
        return Err("peers are compared on decoders".to_owned());
    };
    let device = burn_lora::device::parse("cpu").map_err(|error| said(&error))?;
    let mut model = CausalLm::random(&config, order.seed, &device).map_err(|error| said(&error))?;
    model.save(&dir.join("model"), SaveDtype::F32).map_err(|error| said(&error))?;
    let patching = patching(TaskType::CausalLm, &order.cell, order.seed);
    patch(&mut model, &patching).map_err(|error| said(&error))?;
    let adapter = PeftConfig::new(&patching);
    peft::save(&model, dir.join("adapter"), &adapter).map_err(|error| said(&error))?;
    let steps = order.warmup + order.steps;
    let workload =
        Workload::random(&order.cell, config.about().vocab_size(), *masked, steps, order.seed);
    let text = serde_json::to_string(&workload).map_err(|error| said(&error))?;
    std::fs::write(dir.join("batches.json"), text).map_err(|error| said(&error))
}
