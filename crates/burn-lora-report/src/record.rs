//! What every step and every evaluation of a run measured: a line each of `metrics.jsonl`.

use serde::{Deserialize, Deserializer, Serialize};

/// What one optimiser step measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The step, counted from 1.
    pub step: usize,
    /// Loss per target, in nats.
    pub loss: f64,
    /// The learning rate the step was taken with.
    pub learning_rate: f64,
    /// The norm of all gradients together, before clipping.
    pub gradient_norm: f64,
    /// Targets of the step.
    pub targets: usize,
    /// Tokens read, padding left out.
    pub tokens: usize,
    /// Wall-clock seconds of the step: forward, backward, optimiser.
    pub seconds: f64,
}

/// What one evaluation measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct EvalRecord {
    /// The steps taken before it.
    pub step: usize,
    /// Loss per held-out target, in nats.
    #[serde(deserialize_with = "infinite_where_null")]
    pub eval_loss: f64,
    /// `exp` of it; beyond any number from a loss of about 709.8 on.
    #[serde(deserialize_with = "infinite_where_null")]
    pub perplexity: f64,
    /// The share of held-out targets predicted exactly, 0 to 1.
    pub accuracy: f64,
    /// The share of generated texts that equal the expected ones, 0 to 1, where they were scored.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exact_match: Option<f64>,
    /// BLEU of the generated texts, 0 to 1, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub bleu: Option<f64>,
}

/// JSON has no infinity: it is written as `null`, as what is no number is.
fn infinite_where_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::INFINITY))
}

/// A line of the file.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Record {
    /// Of a step.
    Step(StepRecord),
    /// Of an evaluation.
    Eval(EvalRecord),
}

impl Record {
    /// Where it stands in the file: the step, or the steps before the evaluation, which comes after a step of that number.
    pub fn place(&self) -> (usize, bool) {
        match self {
            Self::Step(record) => (record.step, false),
            Self::Eval(record) => (record.step, true),
        }
    }
}

/// The steps among the records.
pub fn steps(records: &[Record]) -> impl DoubleEndedIterator<Item = &StepRecord> {
    records.iter().filter_map(|it| if let Record::Step(step) = it { Some(step) } else { None })
}

/// The evaluations among the records.
pub fn evaluations(records: &[Record]) -> impl DoubleEndedIterator<Item = &EvalRecord> {
    records.iter().filter_map(|it| if let Record::Eval(eval) = it { Some(eval) } else { None })
}
