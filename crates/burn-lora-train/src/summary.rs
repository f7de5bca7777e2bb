//! What a run came to, as the lines that end it or as [`Figures`] for programs.

mod figures;

use std::fmt;
use std::path::PathBuf;

use burn_lora_text::size;

pub use figures::{Comparison, Figures};

use crate::history::{EvalRecord, Record};
use crate::score::Sample;

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The run directory.
    pub dir: PathBuf,
    /// Steps taken, of how many.
    pub steps: (usize, usize),
    /// Why it ended early, if it did.
    pub stopped: Option<String>,
    /// The held-out measures before the first and after the last step.
    pub evaluations: Option<(EvalRecord, EvalRecord)>,
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

impl Summary {
    /// The first and last evaluation of a history.
    pub(crate) fn evaluations(records: &[Record]) -> Option<(EvalRecord, EvalRecord)> {
        let mut evaluations = records.iter().filter_map(|record| match record {
            Record::Eval(record) => Some(*record),
            Record::Step(_) => None,
        });
        let first = evaluations.next()?;
        Some((first, evaluations.next_back().unwrap_or(first)))
    }
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
        if let Some((before, after)) = self.evaluations {
            writeln!(f, "held-out loss: {:.4} -> {:.4}", before.eval_loss, after.eval_loss)?;
            if self.classifies {
                let [before, after] = [before, after].map(|record| 100.0 * record.accuracy);
                writeln!(f, "accuracy: {before:.1} % -> {after:.1} %")?;
            } else {
                writeln!(f, "perplexity: {:.3} -> {:.3}", before.perplexity, after.perplexity)?;
            }
            if let (Some(before), Some(after)) = (before.exact_match, after.exact_match) {
                writeln!(f, "exact match: {:.1} % -> {:.1} %", 100.0 * before, 100.0 * after)?;
            }
            if let (Some(before), Some(after)) = (before.bleu, after.bleu) {
                writeln!(f, "BLEU: {:.2} -> {:.2}", 100.0 * before, 100.0 * after)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_evaluation_are_compared() {
        let eval = |step, eval_loss| {
            Record::Eval(EvalRecord {
                step,
                eval_loss,
                perplexity: 1.0,
                accuracy: 0.0,
                exact_match: None,
                bleu: None,
            })
        };
        let (first, last) =
            Summary::evaluations(&[eval(0, 3.0), eval(5, 2.0), eval(9, 1.0)]).unwrap();
        assert_eq!((first.eval_loss, last.eval_loss), (3.0, 1.0));
        assert!(Summary::evaluations(&[]).is_none());
    }
}
