//! What every step and every evaluation of a run measured: a line each of `metrics.jsonl`.

use std::fmt;

use burn_lora_text::size;
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
    /// Bytes that the first rank gave the others for it, where several take the run.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exchange_bytes: Option<u64>,
    /// Those of the seconds that it was in the exchange, waiting for others included.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exchange_seconds: Option<f64>,
    /// Bytes that went to the device and came from it for the step, where it is elsewhere.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub device_bytes: Option<u64>,
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

/// What the first of several ranks exchanged with the others, in the steps that several took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Exchanged {
    /// Steps that several ranks took.
    pub steps: usize,
    /// Bytes that it gave the others in them.
    pub bytes: u64,
    /// Seconds that it was in the exchange, waiting for others included.
    pub seconds: f64,
}

impl Exchanged {
    /// Of these records; none where one process took all steps.
    pub fn of(records: &[Record]) -> Option<Self> {
        steps(records).fold(None, |sum: Option<Self>, record| {
            let Some(given) = record.exchange_bytes else { return sum };
            let Self { steps, bytes, seconds } = sum.unwrap_or_default();
            let seconds = seconds + record.exchange_seconds.unwrap_or(0.0);
            Some(Self { steps: steps + 1, bytes: bytes + given, seconds })
        })
    }
}

/// What went over the connection to a device elsewhere, in the steps that were taken there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Carried {
    /// Steps that were taken there.
    pub steps: usize,
    /// Bytes that went to the device and came from it in them.
    pub bytes: u64,
}

impl Carried {
    /// Of these records; none where all steps were taken here.
    pub fn of(records: &[Record]) -> Option<Self> {
        steps(records).fold(None, |sum: Option<Self>, record| {
            let Some(more) = record.device_bytes else { return sum };
            let Self { steps, bytes } = sum.unwrap_or_default();
            Some(Self { steps: steps + 1, bytes: bytes + more })
        })
    }
}

/// `1.5 MiB a step`
impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} a step", size(self.bytes / self.steps.max(1) as u64))
    }
}

/// `12.3 MiB and 0.041 s a step`
impl fmt::Display for Exchanged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = self.steps.max(1);
        let bytes = size(self.bytes / steps as u64);
        write!(f, "{bytes} and {:.3} s a step", self.seconds / steps as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run may go on with more ranks than it began with, or with one.
    #[test]
    fn what_was_exchanged_is_of_the_steps_that_several_ranks_took() {
        let alone = StepRecord { step: 1, ..StepRecord::default() };
        let shared = |step| StepRecord {
            step,
            exchange_bytes: Some(2048),
            exchange_seconds: Some(0.25),
            ..StepRecord::default()
        };
        assert_eq!(Exchanged::of(&[Record::Step(alone)]), None);
        let records = [alone, shared(2), shared(3)].map(Record::Step);
        let exchanged = Exchanged::of(&records).unwrap();
        assert_eq!(exchanged, Exchanged { steps: 2, bytes: 4096, seconds: 0.5 });
        assert_eq!(exchanged.to_string(), "2 KiB and 0.250 s a step");
        let line = serde_json::to_string(&alone).unwrap();
        assert!(!line.contains("exchange"), "{line}");
    }

    /// A run may go on on another device.
    #[test]
    fn what_was_carried_is_of_the_steps_that_were_taken_elsewhere() {
        let here = StepRecord { step: 1, ..StepRecord::default() };
        let there = |step| StepRecord { step, device_bytes: Some(3072), ..StepRecord::default() };
        assert_eq!(Carried::of(&[Record::Step(here)]), None);
        let carried = Carried::of(&[here, there(2), there(3)].map(Record::Step)).unwrap();
        assert_eq!(carried, Carried { steps: 2, bytes: 6144 });
        assert_eq!(carried.to_string(), "3 KiB a step");
        let line = serde_json::to_string(&here).unwrap();
        assert!(!line.contains("device"), "{line}");
    }
}
