//! What a benchmark run writes: JSON Lines, a [`Line`] each, appended as soon as it is known.
//!
//! Raw values only. Medians, spreads and ratios are computed where they are shown
//! ([`super::report`], [`super::compare`]), so that a file can be read again with other questions.

use std::collections::BTreeMap;
use std::fmt;

use burn_lora_models::Recompute;
use burn_lora_models::weights::WeightDtype;
use serde::{Deserialize, Serialize};

/// One line of a results file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Line {
    /// The circumstances of the lines that follow it; a resumed run adds another.
    Run(Run),
    /// One process that measured one cell once.
    Sample(Sample),
    /// A cell that was not started, and why.
    Skipped(Excuse),
    /// A cell whose process failed, and how.
    Failed(Excuse),
    /// One process of a comparison with another library on the same weights and batches.
    Peer(Peer),
    /// What a method came to on a task after training.
    Quality(Quality),
}

/// The circumstances of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// When it started, seconds since 1970.
    pub started: u64,
    /// The machine.
    pub machine: Machine,
    /// Backends compiled in.
    pub features: Vec<String>,
    /// Versions: `burn-lora`, `burn`, `rustc`.
    pub versions: BTreeMap<String, String>,
    /// The commit of the tree, `-dirty` where it had changes; empty outside of git.
    pub commit: String,
    /// The arguments after `cargo xtask`.
    pub command: String,
    /// Processes per cell.
    pub repeats: usize,
    /// Seeds weights, adapters and batches.
    pub seed: u64,
}

/// The machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// The widest vector instructions that it has, such as `AVX-512`; empty where an older file does not say.
    #[serde(default)]
    pub instructions: String,
    /// Logical processors that this process may use.
    pub processors: usize,
    /// All memory, in bytes.
    pub memory: u64,
    /// Kernel's name.
    pub os: String,
}

impl Machine {
    /// What figures belong to: `AMD EPYC (AVX2)`.
    pub fn processor(&self) -> String {
        match self.instructions.as_str() {
            "" => self.cpu.clone(),
            instructions => format!("{} ({instructions})", self.cpu),
        }
    }
}

/// What a cell does with the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Trains every parameter.
    Full,
    /// Trains the factors through the factored path.
    Lora,
    /// Trains the factors of Burn's own `apply_lora` on the same model.
    Composed,
    /// Trains factors and magnitudes (DoRA).
    Dora,
    /// Trains a block of rows that all stretches of the inputs share (MiSS).
    Miss,
    /// Trains factor B alone (LoRA-FA).
    #[serde(rename = "lora-fa")]
    LoraFa,
    /// Inference: the base model, with an adapter, and merged, one after the other.
    Merged,
}

impl Method {
    /// As it is written in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Lora => "lora",
            Self::Composed => "composed",
            Self::Dora => "dora",
            Self::Miss => "miss",
            Self::LoraFa => "lora-fa",
            Self::Merged => "merged",
        }
    }

    /// Whether it has a rank.
    pub fn has_rank(self) -> bool {
        self != Self::Full
    }
}

/// What a name says of a dtype: nothing of f32.
pub fn dtype_label(dtype: WeightDtype) -> &'static str {
    if is_f32(&dtype) { "" } else { dtype.name() }
}

fn is_f32(dtype: &WeightDtype) -> bool {
    *dtype == WeightDtype::F32
}

/// What a name says of recomputing: nothing where everything is kept.
pub fn recompute_label(recompute: Recompute) -> &'static str {
    match recompute {
        Recompute::None => "",
        Recompute::Block => "recomputed",
    }
}

fn keeps_all(recompute: &Recompute) -> bool {
    *recompute == Recompute::None
}

/// A point of the matrix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cell {
    /// The model's name in the matrix file.
    pub model: String,
    /// The backend's name.
    pub backend: String,
    /// What the model's matrices are held in.
    #[serde(default, skip_serializing_if = "is_f32")]
    pub dtype: WeightDtype,
    /// What of a forward pass is made again in the backward pass.
    #[serde(default, skip_serializing_if = "keeps_all")]
    pub recompute: Recompute,
    /// Rows of a batch.
    pub batch: usize,
    /// Tokens of a row, all of them carrying loss.
    pub length: usize,
    /// What is done with the model.
    pub method: Method,
    /// Of the adapter; none for `full`.
    pub rank: Option<usize>,
}

impl Cell {
    /// Tokens of one step.
    pub fn tokens(&self) -> usize {
        self.batch * self.length
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.model, self.method.name())?;
        if let Some(rank) = self.rank {
            write!(f, " r={rank}")?;
        }
        for label in [dtype_label(self.dtype), recompute_label(self.recompute)] {
            if !label.is_empty() {
                write!(f, " {label}")?;
            }
        }
        write!(f, " {} {}x{}", self.backend, self.batch, self.length)
    }
}

/// One process that measured one cell once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The cell.
    pub cell: Cell,
    /// Which repeat, from 0.
    pub repeat: usize,
    /// What came out.
    #[serde(flatten)]
    pub measured: Measured,
}

/// What one process measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Parameters of the model with what is attached to it.
    pub parameters: u64,
    /// Those that are trained.
    pub trainable: u64,
    /// The adapter's safetensors file, in bytes; none for `full`.
    pub adapter_bytes: Option<u64>,
    /// Trained tensors and AdamW's two moments in f32, in bytes: what a checkpoint must hold.
    pub checkpoint_bytes: u64,
    /// Peak resident memory of the process, in bytes.
    pub peak_bytes: u64,
    /// What was planned of it before the model was made, in bytes; none where nothing is planned: on other backends than Flex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned_bytes: Option<u64>,
    /// From the start of the process to the end of its first step, in seconds.
    pub first_step_seconds: f64,
    /// The timed steps, after the warm-up; empty for `merged`.
    pub steps: Vec<StepTimes>,
    /// Mean loss per token of every step, the warm-up's first; the same for equal seeds.
    pub losses: Vec<f64>,
    /// Forward passes without gradients; `merged` only.
    pub latency: Option<Latency>,
    /// Multiplications and additions in the matrix products of a step (or of a forward pass).
    pub flops: f64,
    /// The same products alone on this machine, shape by shape, in seconds: the limit; 0 where they
    /// were not measured.
    pub products_seconds: f64,
    /// The most that the device's allocator held after a step, in bytes; none on a CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_bytes: Option<u64>,
}

/// One training step of the trainer's loop, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(from = "StepTimesFile")]
pub struct StepTimes {
    /// Forward to the loss and backward to the gradients.
    pub gradients: f64,
    /// Clipping and AdamW.
    pub optimizer: f64,
}

/// Older files know the two passes apart.
#[derive(Deserialize)]
#[serde(untagged)]
enum StepTimesFile {
    Apart { forward: f64, backward: f64, optimizer: f64 },
    Together { gradients: f64, optimizer: f64 },
}

impl From<StepTimesFile> for StepTimes {
    fn from(file: StepTimesFile) -> Self {
        match file {
            StepTimesFile::Apart { forward, backward, optimizer } => {
                Self { gradients: forward + backward, optimizer }
            }
            StepTimesFile::Together { gradients, optimizer } => Self { gradients, optimizer },
        }
    }
}

impl StepTimes {
    /// The whole step.
    pub fn total(&self) -> f64 {
        self.gradients + self.optimizer
    }
}

/// Forward passes, in seconds, alternating.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Without an adapter.
    pub base: Vec<f64>,
    /// With the adapter attached.
    pub adapter: Vec<f64>,
    /// After merging it.
    pub merged: Vec<f64>,
}

/// A cell without a measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Excuse {
    /// The cell.
    pub cell: Cell,
    /// Why.
    pub reason: String,
}

/// One process of a comparison with another library.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// Model, method and batches, as a person reads it.
    pub workload: String,
    /// The library.
    pub who: String,
    /// Its versions.
    pub version: String,
    /// What it holds the base in.
    #[serde(default, skip_serializing_if = "is_f32")]
    pub dtype: WeightDtype,
    /// Which repeat, from 0.
    pub repeat: usize,
    /// Tokens of a step, padding left out.
    pub tokens: usize,
    /// Whole steps after the warm-up, in seconds.
    pub step_seconds: Vec<f64>,
    /// Mean loss per target of every step, the warm-up's first.
    pub losses: Vec<f64>,
    /// Peak resident memory, in bytes.
    pub peak_bytes: u64,
    /// From the start of the process to the end of its first step, in seconds.
    pub first_step_seconds: f64,
}

/// What a method came to on a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Model and data.
    pub task: String,
    /// What is counted, larger is better: `exact match` or `accuracy`, 0 to 1.
    pub metric: String,
    /// The method.
    pub method: Method,
    /// Of the adapter.
    pub rank: Option<usize>,
    /// Optimiser steps.
    pub steps: usize,
    /// Trained parameters.
    pub trainable: u64,
    /// Before training, where it was measured.
    pub before: Option<f64>,
    /// After.
    pub after: f64,
    /// Held-out loss after, in nats per target.
    pub eval_loss: f64,
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A run on a processor.
    pub fn run(cpu: &str) -> Line {
        let versions = [("burn", "0.22.1"), ("rustc", "rustc 1.95.0")];
        Line::Run(Run {
            started: 0,
            machine: Machine {
                cpu: cpu.to_owned(),
                instructions: "AVX2".to_owned(),
                processors: 2,
                memory: 8 << 30,
                os: "linux".to_owned(),
            },
            features: vec!["flex".to_owned()],
            versions: versions.map(|(name, version)| (name.to_owned(), version.to_owned())).into(),
            commit: String::new(),
            command: "bench".to_owned(),
            repeats: 3,
            seed: 0,
        })
    }

    /// A sample of a cell of 8 tokens whose steps take these seconds.
    pub fn sample(method: Method, rank: Option<usize>, repeat: usize, steps: &[f64]) -> Line {
        let times = |&total: &f64| StepTimes { gradients: 0.75 * total, optimizer: 0.25 * total };
        Line::Sample(Sample {
            cell: Cell {
                model: "tiny".into(),
                backend: "flex".into(),
                dtype: WeightDtype::F32,
                recompute: Recompute::None,
                batch: 2,
                length: 4,
                method,
                rank,
            },
            repeat,
            measured: Measured {
                parameters: 1000,
                trainable: 100,
                adapter_bytes: rank.map(|_| 400),
                checkpoint_bytes: if rank.is_some() { 1200 } else { 12_000 },
                peak_bytes: 1 << 20,
                planned_bytes: Some(5 << 18),
                first_step_seconds: 0.5,
                steps: steps.iter().map(times).collect(),
                losses: vec![2.0],
                latency: None,
                flops: 80.0,
                products_seconds: 1.0,
                device_bytes: None,
            },
        })
    }

    /// A process of a library on a workload of 200 tokens.
    pub fn peer(who: &str, step_seconds: &[f64], losses: Vec<f64>) -> Line {
        Line::Peer(Peer {
            workload: "all".to_owned(),
            who: who.to_owned(),
            version: "1.0".to_owned(),
            dtype: WeightDtype::F32,
            repeat: 0,
            tokens: 200,
            step_seconds: step_seconds.to_vec(),
            losses,
            peak_bytes: 1 << 20,
            first_step_seconds: 1.0,
        })
    }

    /// An outcome on a task.
    pub fn outcome(rank: Option<usize>, after: f64) -> Line {
        Line::Quality(Quality {
            task: "words".to_owned(),
            metric: "accuracy".to_owned(),
            method: if rank.is_some() { Method::Lora } else { Method::Full },
            rank,
            steps: 20,
            trainable: 1234,
            before: Some(0.25),
            after,
            eval_loss: 0.5,
        })
    }

    #[test]
    fn older_files_are_read_with_the_same_step() {
        let step = |text| serde_json::from_str::<StepTimes>(text).unwrap();
        let expected = StepTimes { gradients: 0.75, optimizer: 0.25 };
        assert_eq!(step(r#"{"forward": 0.5, "backward": 0.25, "optimizer": 0.25}"#), expected);
        assert_eq!(step(&serde_json::to_string(&expected).unwrap()), expected);
        let cell =
            r#"{"model": "m", "backend": "flex", "batch": 1, "length": 2, "method": "full"}"#;
        let cell: Cell = serde_json::from_str(cell).unwrap();
        assert_eq!((cell.dtype, cell.to_string().as_str()), (WeightDtype::F32, "m full flex 1x2"));
        assert_eq!(cell.recompute, Recompute::None);
    }
}
