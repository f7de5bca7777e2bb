//! PEFT on PyTorch beside us: the same weights, adapter and batches, processes alternating.
//!
//! A directory is made that both read: a model as a Hugging Face directory, an adapter as a PEFT
//! directory, and the batches. The losses of the steps show that both do the same work.

use std::path::{Path, PathBuf};
use std::process::Command;

use burn_lora_models::weights::WeightDtype;
use burn_lora_models::{CausalLm, Model, ModelConfig, SaveDtype};
use burn_lora_patch::peft::{self, PeftConfig};
use burn_lora_patch::{TaskType, patch};
use serde::{Deserialize, Serialize};

use super::cell::{Order, now, patching};
use super::matrix::Shape;
use super::record::{Cell, Line, Measured, Method, Peer, StepTimes};
use super::runner::{self, Runner};
use super::workload::Workload;

/// What PEFT needs; the versions that figures were taken with.
const INSTALL: &str = "pip install torch==2.11.0 transformers==5.23.0 peft==0.21.2";

/// The model of the matrix that is compared on.
const MODEL: &str = "smollm2-135m";

/// Steps of a process, the first of them to warm up.
const STEPS: usize = 5;

/// Batches to compare on.
struct Comparison {
    name: &'static str,
    method: Method,
    batch: usize,
    length: usize,
    /// Tokens at the start of each row that carry no loss.
    masked: usize,
}

const COMPARISONS: [Comparison; 3] = [
    Comparison {
        name: "LoRA r=16, 4 x 128 tokens, all carry loss",
        method: Method::Lora,
        batch: 4,
        length: 128,
        masked: 0,
    },
    // What the E2E data set's rows look like: about 70 tokens, of which the text is a third.
    Comparison {
        name: "LoRA r=16, 8 x 72 tokens, the last 28 carry loss",
        method: Method::Lora,
        batch: 8,
        length: 72,
        masked: 44,
    },
    Comparison {
        name: "full fine-tuning, 4 x 128 tokens, all carry loss",
        method: Method::Full,
        batch: 4,
        length: 128,
        masked: 0,
    },
];

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
    let config = runner.matrix().config(MODEL).ok_or(format!("the matrix has no {MODEL}"))?;
    for comparison in COMPARISONS {
        let dir = tempfile::tempdir()?;
        let Comparison { name, method, batch, length, masked } = comparison;
        let rank = method.has_rank().then_some(16);
        let cell = Cell {
            model: MODEL.to_owned(),
            backend: "flex".to_owned(),
            dtype: WeightDtype::F32,
            batch,
            length,
            method,
            rank,
        };
        let order = Order {
            cell,
            config: config.clone(),
            seed: runner.matrix().seed,
            warmup: 1,
            steps: STEPS - 1,
            started: 0.0,
            given: Some(dir.path().to_owned()),
            alone: true,
        };
        // In a process of its own, so that this one stays small.
        let preparation = Preparation { order: order.clone(), masked, dir: dir.path().to_owned() };
        runner::ask("prepare", &preparation)?;
        let workload = format!("{MODEL}: {name}");
        for repeat in 0..runner.matrix().repeat {
            let ours = runner::measure(&order)?;
            tell(&workload, "burn-lora", ours.steps.iter().map(StepTimes::total).collect());
            let tokens = batch * length;
            runner.write(&Line::Peer(as_peer(&workload, repeat, tokens, ours)))?;
            let theirs = peft(&python, &order, dir.path())?;
            tell(&workload, "PEFT", theirs.step_seconds.iter().skip(1).copied().collect());
            runner.write(&Line::Peer(Peer {
                workload: workload.clone(),
                who: "PEFT".to_owned(),
                version: theirs.version,
                repeat,
                tokens: theirs.tokens.first().copied().unwrap_or(0),
                step_seconds: theirs.step_seconds.into_iter().skip(1).collect(),
                losses: theirs.losses,
                peak_bytes: theirs.peak_bytes,
                first_step_seconds: theirs.first_step_seconds,
            }))?;
        }
    }
    Ok(())
}

fn tell(workload: &str, who: &str, steps: Vec<f64>) {
    if let Some(step) = super::statistics::median(steps) {
        eprintln!("{workload}: {who}: {step:.2} s a step");
    }
}

fn as_peer(workload: &str, repeat: usize, tokens: usize, measured: Measured) -> Peer {
    Peer {
        workload: workload.to_owned(),
        who: "burn-lora".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
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
        .args(["--threads", &threads.to_string()])
        .args(["--started", &now().to_string()])
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(format!("PEFT failed ({}): {said}", output.status));
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
