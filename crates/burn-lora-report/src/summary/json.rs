//! What a run came to, for programs: the same in numbers, under the names that `metrics.jsonl` has.

use std::borrow::Cow;

use serde::Serialize;

use super::Summary;
use crate::record::EvalRecord;

/// A [`Summary`] to serialise. What a run does not have, such as held-out rows, is null.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures<'a> {
    /// The run directory.
    pub dir: Cow<'a, str>,
    /// Steps taken, those before a resume included.
    pub steps: usize,
    /// Steps that the configuration asks for.
    pub planned_steps: usize,
    /// Why it ended early.
    pub stopped: Option<&'a str>,
    /// Whether it was stopped from outside, and can go on.
    pub interrupted: bool,
    /// The held-out measures before the first step.
    pub before: Option<EvalRecord>,
    /// Those after the last.
    pub after: Option<EvalRecord>,
    /// Seconds of all steps together, evaluation left out.
    pub seconds: f64,
    /// Tokens read in them, padding left out.
    pub tokens: usize,
    /// Tokens read in a second.
    pub tokens_per_second: f64,
    /// Rows read in a second, where rows are classified.
    pub rows_per_second: Option<f64>,
    /// Parameters that were trained.
    pub trainable: usize,
    /// Parameters in all, the adapter's included.
    pub total: usize,
    /// Bytes of the adapter's weights.
    pub adapter_bytes: Option<u64>,
    /// Bytes of the base model's weights.
    pub model_bytes: Option<u64>,
    /// The most memory that the process had resident, in bytes, where the system tells.
    pub peak_memory: Option<u64>,
    /// The same prompts before and after.
    pub samples: Vec<Comparison<'a>>,
}

/// What a prompt was continued with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Comparison<'a> {
    /// What the model was given.
    pub prompt: &'a str,
    /// What the data says.
    pub expected: &'a str,
    /// What the model wrote before the first step of this process.
    pub before: Option<&'a str>,
    /// What it wrote after the last.
    pub after: &'a str,
}

impl Summary {
    /// The numbers.
    pub fn figures(&self) -> Figures<'_> {
        let (steps, planned_steps) = self.steps;
        let rate = |count: usize| count as f64 / self.seconds.max(1e-9);
        let samples = self.samples.iter().map(|(before, after)| Comparison {
            prompt: &after.prompt,
            expected: &after.expected,
            before: before.as_ref().map(|before| before.output.as_str()),
            after: &after.output,
        });
        Figures {
            dir: self.dir.to_string_lossy(),
            steps,
            planned_steps,
            stopped: self.stopped.as_deref(),
            interrupted: self.interrupted,
            before: self.evaluations.map(|[before, _]| before),
            after: self
                .evaluations
                .filter(|[before, after]| before.step != after.step)
                .map(|[_, after]| after),
            seconds: self.seconds,
            tokens: self.tokens,
            tokens_per_second: rate(self.tokens),
            rows_per_second: (self.rows > 0).then(|| rate(self.rows)),
            trainable: self.trained,
            total: self.total,
            adapter_bytes: self.adapter_bytes.map(|(adapter, _)| adapter),
            model_bytes: self.adapter_bytes.map(|(_, model)| model),
            peak_memory: self.peak_memory,
            samples: samples.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sample::Sample;

    fn record(step: usize, eval_loss: f64) -> EvalRecord {
        EvalRecord {
            step,
            eval_loss,
            perplexity: 2.0,
            accuracy: 0.25,
            exact_match: None,
            bleu: None,
        }
    }

    fn summary() -> Summary {
        let sample = |output: &str| Sample {
            prompt: "p".to_owned(),
            expected: "e".to_owned(),
            alternatives: Vec::new(),
            output: output.to_owned(),
        };
        Summary {
            dir: "runs/x".into(),
            steps: (4, 6),
            stopped: Some("enough".to_owned()),
            interrupted: false,
            evaluations: Some([record(0, f64::INFINITY), record(4, 0.5)]),
            classifies: true,
            seconds: 2.0,
            tokens: 100,
            rows: 10,
            trainable: "trainable: 3 of 9 (33.33 %)".to_owned(),
            trained: 3,
            total: 9,
            adapter_bytes: Some((12, 36)),
            peak_memory: None,
            samples: vec![(Some(sample("b")), sample("a")), (None, sample("c"))],
        }
    }

    #[test]
    fn numbers_of_a_summary_have_the_names_of_metrics_jsonl() {
        let expected = json!({
            "dir": "runs/x",
            "steps": 4,
            "planned_steps": 6,
            "stopped": "enough",
            "interrupted": false,
            // JSON has no infinity.
            "before": {"step": 0, "eval_loss": null, "perplexity": 2.0, "accuracy": 0.25},
            "after": {"step": 4, "eval_loss": 0.5, "perplexity": 2.0, "accuracy": 0.25},
            "seconds": 2.0,
            "tokens": 100,
            "tokens_per_second": 50.0,
            "rows_per_second": 5.0,
            "trainable": 3,
            "total": 9,
            "adapter_bytes": 12,
            "model_bytes": 36,
            "peak_memory": null,
            "samples": [
                {"prompt": "p", "expected": "e", "before": "b", "after": "a"},
                {"prompt": "p", "expected": "e", "before": null, "after": "c"},
            ],
        });
        assert_eq!(serde_json::to_value(summary().figures()).unwrap(), expected);
    }

    #[test]
    fn what_a_run_has_not_is_null() {
        let bare =
            Summary { stopped: None, evaluations: None, rows: 0, adapter_bytes: None, ..summary() };
        let figures = serde_json::to_value(bare.figures()).unwrap();
        let keys =
            ["stopped", "before", "after", "rows_per_second", "adapter_bytes", "model_bytes"];
        for key in keys {
            assert_eq!(figures.get(key), Some(&serde_json::Value::Null), "{key}");
        }
    }
}
