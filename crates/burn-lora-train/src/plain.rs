//! A run as plain lines, for logs, pipes and people who like them; or as none, for runs inside of something larger.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use burn_train::logger::{EvaluationProgressLogger, TrainingProgressLogger};
use burn_train::metric::{MetricDefinition, MetricId};
use burn_train::renderer::{
    EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation,
    MetricsRendererTraining,
};

/// Not more than one line of steps in this time.
const INTERVAL: Duration = Duration::from_secs(5);

/// Tells a line every few seconds, and one for each evaluation.
pub struct PlainRenderer {
    print: fn(&str),
    names: HashMap<MetricId, String>,
    /// The newest value of each metric, in the order they came.
    train: Vec<(String, f64)>,
    valid: Vec<(String, f64)>,
    split: Option<Split>,
    rounds: usize,
    round: usize,
    last: Option<Instant>,
}

struct Split {
    train: bool,
    total: usize,
}

impl PlainRenderer {
    /// Tells nobody.
    pub fn silent() -> Self {
        Self::new(|_| {})
    }

    /// Tells `print`, which gets a line at a time.
    pub fn new(print: fn(&str)) -> Self {
        Self {
            print,
            names: HashMap::new(),
            train: Vec::new(),
            valid: Vec::new(),
            split: None,
            rounds: 0,
            round: 0,
            last: None,
        }
    }

    fn note(&mut self, train: bool, state: MetricState) {
        let MetricState::Numeric(entry, Some(value)) = state else { return };
        let Some(name) = self.names.get(&entry.metric_id).cloned() else { return };
        let values = if train { &mut self.train } else { &mut self.valid };
        match values.iter_mut().find(|(other, _)| *other == name) {
            Some((_, old)) => *old = value.current(),
            None => values.push((name, value.current())),
        }
    }

    fn line(values: &[(String, f64)]) -> String {
        let show = |(name, value): &(String, f64)| {
            let name = name.to_lowercase();
            match name.as_str() {
                "learning rate" => format!("{name} {value:.2e}"),
                "accuracy" => format!("{name} {value:.1} %"),
                _ => format!("{name} {value:.4}"),
            }
        };
        values.iter().map(show).collect::<Vec<_>>().join("  ")
    }
}

impl MetricsRendererTraining for PlainRenderer {
    fn update_train(&mut self, state: MetricState) {
        self.note(true, state);
    }

    fn update_valid(&mut self, state: MetricState) {
        self.note(false, state);
    }
}

impl TrainingProgressLogger for PlainRenderer {
    fn start(&mut self, rounds: usize, _: usize, _: Option<usize>, _: Option<&str>) {
        self.rounds = rounds;
    }

    fn update_epoch(&mut self, _: usize) {}

    fn start_split(&mut self, split: &str, total: usize) {
        let train = split.eq_ignore_ascii_case("train");
        self.round += usize::from(train);
        self.split = Some(Split { train, total });
    }

    fn update_split(&mut self, done: usize) {
        let Some(Split { train: true, total }) = self.split else { return };
        let due = self.last.is_none_or(|last| last.elapsed() >= INTERVAL) || done == total;
        if due {
            self.last = Some(Instant::now());
            let of = match self.rounds {
                0 | 1 => String::new(),
                rounds => format!(" of round {}/{rounds}", self.round),
            };
            (self.print)(&format!("step {done}/{total}{of}  {}", Self::line(&self.train)));
        }
    }

    fn end_split(&mut self) {
        if let Some(Split { train: false, .. }) = self.split.take() {
            (self.print)(&format!("held out  {}", Self::line(&self.valid)));
        }
    }

    fn end(&mut self) {}

    // burn-train logs one at every iteration.
    fn log_event_training(&mut self, _: String) {}
}

impl EvaluationProgressLogger for PlainRenderer {
    fn start_global_progress(&mut self, _: usize) {}

    fn start_test(&mut self, _: &str, _: usize) {}

    fn update_test_progress(&mut self, _: usize) {}

    fn end_test(&mut self) {}

    fn end_global_progress(&mut self) {}

    fn log_event_evaluation(&mut self, event: String) {
        (self.print)(&event);
    }
}

impl MetricsRendererEvaluation for PlainRenderer {
    fn update_test(&mut self, _: EvaluationName, _: MetricState) {}
}

impl MetricsRenderer for PlainRenderer {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, definition: MetricDefinition) {
        self.names.insert(definition.metric_id, definition.name.to_string());
    }
}
