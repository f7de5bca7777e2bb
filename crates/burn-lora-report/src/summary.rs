//! What a run came to: as [`facts`](Summary::facts) by their names, which are the lines that end it and the table
//! of its page, and to serialise, under the names that `metrics.jsonl` has.

use std::fmt;
use std::path::PathBuf;

use burn_lora_files::lossy;
use burn_lora_text::{part, size};
use serde::Serialize;

use crate::figure::{Figure, telling};
use crate::record::{self, Carried, EvalRecord, Exchanged, Record};
use crate::sample::Sample;

/// What a run came to. What it does not have, such as held-out rows, is null in JSON.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Summary {
    /// The run directory.
    #[serde(serialize_with = "lossy")]
    pub dir: PathBuf,
    /// Steps taken, those before a resume included.
    pub steps: usize,
    /// Steps that the configuration asks for.
    pub planned_steps: usize,
    /// Why it ended early, if it did.
    pub stopped: Option<String>,
    /// Whether it was stopped from outside, and can go on.
    pub interrupted: bool,
    /// The first measures of held-out rows: before the first step.
    pub before: Option<EvalRecord>,
    /// The last ones, after the last step unless the run was stopped; none where they are the first.
    pub after: Option<EvalRecord>,
    /// Whether targets are rows to classify.
    #[serde(skip)]
    pub classifies: bool,
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
    /// What recomputing blocks was planned to save and to cost, where they were recomputed.
    pub recomputed: Option<Recomputed>,
    /// What the first rank exchanged with the others, where several took the run.
    pub exchanged: Option<Exchanged>,
    /// What went over the connection to a device elsewhere, where steps were taken there.
    pub carried: Option<Carried>,
    /// Some prompts with what was written after training, and before.
    pub samples: Vec<Sample>,
}

/// What recomputing blocks in the backward pass saves and costs, counted from shapes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Recomputed {
    /// Bytes that the run has resident less, at its largest.
    pub saved: u64,
    /// Operations that the products of a step take more, as a share of those without.
    pub operations: f64,
}

/// `512.0 MiB less at the most, 31 % more operations a step`
impl fmt::Display for Recomputed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (saved, more) = (size(self.saved), 100.0 * self.operations);
        write!(f, "{saved} less at the most, {more:.0} % more operations a step")
    }
}

impl Summary {
    /// What the records of a run say of it; all else is none.
    pub fn of(records: &[Record], classifies: bool) -> Self {
        let (mut steps, mut seconds, mut tokens, mut targets) = (0, 0.0, 0, 0);
        for record in record::steps(records) {
            steps = record.step;
            seconds += record.seconds;
            tokens += record.tokens;
            targets += record.targets;
        }
        let rate = |count: usize| count as f64 / f64::max(seconds, 1e-9);
        let mut evaluations = record::evaluations(records).copied();
        Self {
            steps,
            before: evaluations.next(),
            after: evaluations.next_back(),
            classifies,
            exchanged: Exchanged::of(records),
            carried: Carried::of(records),
            seconds,
            tokens,
            tokens_per_second: rate(tokens),
            rows_per_second: (classifies && targets > 0).then(|| rate(targets)),
            ..Self::default()
        }
    }

    /// The first and the last measures of held-out rows, which may be the same ones.
    pub fn evaluations(&self) -> Option<[EvalRecord; 2]> {
        self.before.map(|before| [before, self.after.unwrap_or(before)])
    }

    /// What there is to say, by names, in the order in which it is told.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let figure = |figure: Figure| {
            let before = self.before.as_ref()?;
            let shown = figure.shown(before)?;
            let told = match (&self.after, before.step) {
                (Some(after), _) => figure.change(before, after)?,
                (None, 0) => shown + " before training, and not measured since",
                (None, step) => {
                    format!("{shown} after step {step}, the only time that it was measured")
                }
            };
            Some((figure.name, told))
        };
        let adapter = self.adapter_bytes.zip(self.model_bytes).map(|(adapter, model)| {
            let share = 100.0 * adapter as f64 / model.max(1) as f64;
            format!("{} ({share:.1} % of the model)", size(adapter))
        });
        let Self { steps, planned_steps, seconds, tokens_per_second, .. } = self;
        let rows =
            self.rows_per_second.map_or_else(String::new, |rows| format!(", {rows:.1} rows/s"));
        let pace = format!(
            "{steps} of {planned_steps} in {seconds:.1} s, {tokens_per_second:.0} tokens/s{rows}"
        );
        let others = [
            ("trainable", Some(part(self.trainable, self.total))),
            ("adapter", adapter),
            ("steps", Some(pace)),
            ("peak memory", self.peak_memory.map(size)),
            ("recomputing blocks", self.recomputed.map(|of| format!("{of}, as planned"))),
            ("exchange between ranks", self.exchanged.map(|of| of.to_string())),
            ("connection to the device", self.carried.map(|of| of.to_string())),
            ("stopped", self.stopped.clone()),
            ("run", Some(self.dir.display().to_string())),
        ];
        let others = others.into_iter().filter_map(|(name, text)| Some((name, text?)));
        telling(self.classifies).into_iter().filter_map(figure).chain(others).collect()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for sample in &self.samples {
            writeln!(f, "prompt:   {}\nexpected: {}", sample.prompt.trim_end(), sample.expected)?;
            if let Some(before) = &sample.before {
                writeln!(f, "before:   {}", before.trim())?;
            }
            writeln!(f, "after:    {}\n", sample.output.trim())?;
        }
        let lines = self.facts().into_iter().map(|(name, text)| format!("{name}: {text}"));
        f.write_str(&lines.collect::<Vec<_>>().join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::record::StepRecord;

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
        let sample = |before: Option<&str>, after: &str| Sample {
            prompt: "p".to_owned(),
            expected: "e".to_owned(),
            alternatives: vec!["f".to_owned()],
            before: before.map(str::to_owned),
            output: after.to_owned(),
        };
        Summary {
            dir: "runs/x".into(),
            steps: 4,
            planned_steps: 6,
            stopped: Some("enough".to_owned()),
            interrupted: false,
            before: Some(record(0, f64::INFINITY)),
            after: Some(record(4, 0.5)),
            classifies: true,
            seconds: 2.0,
            tokens: 100,
            tokens_per_second: 50.0,
            rows_per_second: Some(5.0),
            trainable: 3,
            total: 9,
            adapter_bytes: Some(12),
            model_bytes: Some(36),
            peak_memory: None,
            recomputed: Some(Recomputed { saved: 3 << 20, operations: 0.312 }),
            exchanged: Some(Exchanged { steps: 4, bytes: 8 << 20, seconds: 0.5 }),
            carried: Some(Carried { steps: 4, bytes: 4 << 20 }),
            samples: vec![sample(Some("b"), "a"), sample(None, "c")],
        }
    }

    #[test]
    fn the_first_and_the_last_evaluation_are_compared() {
        let all =
            [(0, 3.0), (5, 2.0), (9, 1.0)].map(|(step, loss)| Record::Eval(record(step, loss)));
        let losses = |records: &[Record]| {
            let Summary { before, after, .. } = Summary::of(records, false);
            [before, after].map(|found| found.map(|record| record.eval_loss))
        };
        assert_eq!(losses(&all), [Some(3.0), Some(1.0)]);
        assert_eq!(losses(&all[2..]), [Some(1.0), None], "one is not compared with itself");
        assert_eq!(losses(&[]), [None, None]);
        let once = Summary::of(&all[2..], false).evaluations().unwrap();
        assert_eq!(once.map(|record| record.step), [9, 9]);
    }

    #[test]
    fn rates_are_over_all_steps_and_of_rows_where_rows_are_classified() {
        let step = |step, seconds| {
            Record::Step(StepRecord { step, seconds, tokens: 30, targets: 3, ..Default::default() })
        };
        let told = |classifies| {
            let Summary { steps, seconds, tokens, tokens_per_second, rows_per_second, .. } =
                Summary::of(&[step(1, 0.5), step(2, 1.5)], classifies);
            (steps, seconds, tokens, tokens_per_second, rows_per_second)
        };
        assert_eq!(told(false), (2, 2.0, 60, 30.0, None));
        assert_eq!(told(true), (2, 2.0, 60, 30.0, Some(3.0)));
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
            "recomputed": {"saved": 3145728, "operations": 0.312},
            "exchanged": {"steps": 4, "bytes": 8388608, "seconds": 0.5},
            "carried": {"steps": 4, "bytes": 4194304},
            "samples": [
                {"prompt": "p", "expected": "e", "before": "b", "after": "a"},
                {"prompt": "p", "expected": "e", "before": null, "after": "c"},
            ],
        });
        assert_eq!(serde_json::to_value(summary()).unwrap(), expected);
    }

    #[test]
    fn what_a_run_has_not_is_null() {
        let bare = Summary {
            stopped: None,
            before: None,
            after: None,
            rows_per_second: None,
            adapter_bytes: None,
            model_bytes: None,
            recomputed: None,
            exchanged: None,
            carried: None,
            ..summary()
        };
        let figures = serde_json::to_value(&bare).unwrap();
        let keys = [
            "stopped",
            "before",
            "after",
            "rows_per_second",
            "adapter_bytes",
            "model_bytes",
            "recomputed",
            "exchanged",
            "carried",
        ];
        for key in keys {
            assert_eq!(figures.get(key), Some(&serde_json::Value::Null), "{key}");
        }
    }

    #[test]
    fn the_lines_say_the_same_numbers() {
        let text = summary().to_string();
        let lines = [
            "prompt:   p\nexpected: e\nbefore:   b\nafter:    a\n\nprompt:   p",
            "\nheld-out loss: inf -> 0.5000\naccuracy: 25.0 % -> 25.0 %\ntrainable: 3 of 9 (33.33 %)\n",
            "\nadapter: 12 B (33.3 % of the model)\nsteps: 4 of 6 in 2.0 s, 50 tokens/s, 5.0 rows/s\n",
            "\nrecomputing blocks: 3.0 MiB less at the most, 31 % more operations a step, as planned\n",
            "\nexchange between ranks: 2.0 MiB and 0.125 s a step\nconnection to the device: 1.0 MiB a step\nstopped: enough\nrun: runs/x",
        ];
        for line in lines {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        let bare = Summary {
            before: None,
            model_bytes: None,
            rows_per_second: None,
            recomputed: None,
            exchanged: None,
            carried: None,
            ..summary()
        };
        let names: Vec<&str> = bare.facts().iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["trainable", "steps", "stopped", "run"]);
        let once = Summary { after: None, ..summary() }.to_string();
        assert!(
            once.contains("\naccuracy: 25.0 % before training, and not measured since\n"),
            "{once}"
        );
    }
}
