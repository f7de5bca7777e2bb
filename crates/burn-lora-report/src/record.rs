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
    /// The step, or the steps before the evaluation.
    pub fn step(&self) -> usize {
        match self {
            Self::Step(record) => record.step,
            Self::Eval(record) => record.step,
        }
    }
}

/// The steps among the records.
pub fn steps(records: &[Record]) -> impl DoubleEndedIterator<Item = &StepRecord> {
    records.iter().filter_map(|record| match record {
        Record::Step(record) => Some(record),
        Record::Eval(_) => None,
    })
}

/// The evaluations among the records.
pub fn evaluations(records: &[Record]) -> impl DoubleEndedIterator<Item = &EvalRecord> {
    records.iter().filter_map(|record| match record {
        Record::Eval(record) => Some(record),
        Record::Step(_) => None,
    })
}

/// Sums over the steps of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Totals {
    /// The last step.
    pub steps: usize,
    /// Seconds of all steps together, evaluation left out.
    pub seconds: f64,
    /// Tokens read, padding left out.
    pub tokens: usize,
    /// Targets.
    pub targets: usize,
}

impl Totals {
    /// Of these records.
    pub fn of(records: &[Record]) -> Self {
        steps(records).fold(Self::default(), |sum, record| Self {
            steps: record.step,
            seconds: sum.seconds + record.seconds,
            tokens: sum.tokens + record.tokens,
            targets: sum.targets + record.targets,
        })
    }

    /// Tokens a second.
    pub fn tokens_per_second(&self) -> f64 {
        self.tokens as f64 / self.seconds.max(1e-9)
    }

    /// Targets a second.
    pub fn targets_per_second(&self) -> f64 {
        self.targets as f64 / self.seconds.max(1e-9)
    }
}

/// The first and the last evaluation, which may be the same one.
pub fn first_and_last(records: &[Record]) -> Option<[EvalRecord; 2]> {
    let mut evaluations = evaluations(records).copied();
    let first = evaluations.next()?;
    Some([first, evaluations.next_back().unwrap_or(first)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_evaluation_are_compared() {
        let eval =
            |step, eval_loss| Record::Eval(EvalRecord { step, eval_loss, ..Default::default() });
        let found = first_and_last(&[eval(0, 3.0), eval(5, 2.0), eval(9, 1.0)]).unwrap();
        assert_eq!(found.map(|record| record.eval_loss), [3.0, 1.0]);
        let once = first_and_last(&[eval(9, 1.0)]).unwrap();
        assert_eq!(once.map(|record| record.step), [9, 9]);
        assert!(first_and_last(&[]).is_none());
    }
}
