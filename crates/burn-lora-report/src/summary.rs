//! What a run came to, as the lines that end it or as [`Figures`] for programs.

mod json;

use std::fmt;
use std::path::PathBuf;

use burn_lora_text::size;

pub use json::{Comparison, Figures};

use crate::figure;
use crate::record::EvalRecord;
use crate::sample::Sample;

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The run directory.
    pub dir: PathBuf,
    /// Steps taken, of how many.
    pub steps: (usize, usize),
    /// Why it ended early, if it did.
    pub stopped: Option<String>,
    /// Whether it was stopped from outside, and can go on.
    pub interrupted: bool,
    /// The first and the last measures of held-out rows: before the first and after the last step, unless the run was stopped.
    pub evaluations: Option<[EvalRecord; 2]>,
    /// Whether targets are rows to classify.
    pub classifies: bool,
    /// Seconds of all steps together, evaluation left out.
    pub seconds: f64,
    /// Tokens read in them, padding left out.
    pub tokens: usize,
    /// Rows read in them, where targets are rows.
    pub rows: usize,
    /// `trainable: …`.
    pub trainable: String,
    /// How many parameters that is.
    pub trained: usize,
    /// How many parameters there are, the adapter's included.
    pub total: usize,
    /// Bytes of the adapter's files and of the model's.
    pub adapter_bytes: Option<(u64, u64)>,
    /// The most memory that the process had resident, in bytes, where the system tells.
    pub peak_memory: Option<u64>,
    /// The same prompts before and after.
    pub samples: Vec<(Option<Sample>, Sample)>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (before, after) in &self.samples {
            writeln!(f, "prompt:   {}", after.prompt.trim_end())?;
            writeln!(f, "expected: {}", after.expected)?;
            if let Some(before) = before {
                writeln!(f, "before:   {}", before.output.trim())?;
            }
            writeln!(f, "after:    {}\n", after.output.trim())?;
        }
        if let Some([before, after]) = &self.evaluations {
            for figure in figure::telling(self.classifies) {
                let told = match before.step == after.step {
                    true => {
                        figure.shown(before).map(|shown| format!("{shown} {}", when(before.step)))
                    }
                    false => figure.change(before, after),
                };
                if let Some(told) = told {
                    writeln!(f, "{}: {told}", figure.name)?;
                }
            }
        }
        writeln!(f, "{}", self.trainable)?;
        if let Some((adapter, model)) = self.adapter_bytes {
            let share = 100.0 * adapter as f64 / model.max(1) as f64;
            writeln!(f, "adapter: {} ({share:.1} % of the model)", size(adapter))?;
        }
        let (done, total) = self.steps;
        let rate = self.tokens as f64 / self.seconds.max(1e-9);
        write!(f, "steps: {done} of {total} in {:.1} s, {rate:.0} tokens/s", self.seconds)?;
        if self.rows > 0 {
            write!(f, ", {:.1} rows/s", self.rows as f64 / self.seconds.max(1e-9))?;
        }
        writeln!(f)?;
        if let Some(peak) = self.peak_memory {
            writeln!(f, "peak memory: {}", size(peak))?;
        }
        if let Some(reason) = &self.stopped {
            writeln!(f, "stopped: {reason}")?;
        }
        write!(f, "run: {}", self.dir.display())
    }
}

/// When the only evaluation was.
fn when(step: usize) -> String {
    match step {
        0 => "before training, and not measured since".to_owned(),
        step => format!("after step {step}, the only time that it was measured"),
    }
}
