//! What a sweep came to so far: `sweep.json`.

use std::cmp::Ordering;

use burn_lora_config::Metric;
use burn_lora_report::record::EvalRecord;
use burn_lora_train::metrics::figure;
use serde::{Deserialize, Serialize};

use super::grid::{Axis, Point};

/// How far a point is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PointState {
    /// It has run to its end.
    Finished,
    /// It ended with an error.
    Failed,
    /// It was stopped, and goes on in the next sweep.
    Interrupted,
    /// It has not come to an end: it has not begun, runs, or was lost.
    Pending,
}

impl PointState {
    /// The state in a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::Pending => "pending",
        }
    }
}

/// What one point came to. What is measured is there once the point is finished.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PointResult {
    /// Its name, which is its directory.
    pub name: String,
    /// What was laid over the configuration file.
    pub overrides: Vec<String>,
    /// Its value on each axis.
    pub values: Vec<String>,
    /// How far it is.
    pub state: PointState,
    /// Why it failed.
    pub error: Option<String>,
    /// Steps taken.
    pub steps: Option<usize>,
    /// The held-out measures before the first step, where rows are held out.
    pub before: Option<EvalRecord>,
    /// Those after the last.
    pub after: Option<EvalRecord>,
    /// How many parameters were trained.
    pub trainable: Option<u64>,
    /// Seconds of all steps together, evaluation left out.
    pub seconds: Option<f64>,
    /// Tokens read in a second of them, padding left out.
    pub tokens_per_second: Option<f64>,
}

impl PointResult {
    pub(super) fn pending(point: &Point) -> Self {
        Self {
            name: point.name.clone(),
            overrides: point.overrides.clone(),
            values: point.values.clone(),
            state: PointState::Pending,
            error: None,
            steps: None,
            before: None,
            after: None,
            trainable: None,
            seconds: None,
            tokens_per_second: None,
        }
    }
}

/// What all points came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Results {
    /// What decides which point is best: `[train] metric` of the first point.
    pub metric: Metric,
    /// The name of the best point, where any was evaluated.
    pub best: Option<String>,
    /// The axes of the grid.
    pub axes: Vec<Axis>,
    /// Every point, in the order of the grid.
    pub points: Vec<PointResult>,
}

impl Results {
    /// The content of `sweep.json`.
    ///
    /// # Errors
    ///
    /// None that these types can cause.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self)
    }

    /// Whether no point is left to run: each is finished, or failed.
    pub fn have_ended(&self) -> bool {
        self.points
            .iter()
            .all(|point| matches!(point.state, PointState::Finished | PointState::Failed))
    }

    /// The points, best first: those that were evaluated by the metric, then those that only
    /// finished, failed, were interrupted and have not run; equals in the order of the grid.
    pub fn ranked(&self) -> Vec<&PointResult> {
        let mut ranked: Vec<&PointResult> = self.points.iter().collect();
        ranked.sort_by(|a, b| match (self.cost(a), self.cost(b)) {
            (Some(a), Some(b)) => a.total_cmp(&b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => a.state.cmp(&b.state),
        });
        ranked
    }

    /// What is compared of a finished point: lower is better.
    fn cost(&self, point: &PointResult) -> Option<f64> {
        let after = point.after.as_ref().filter(|_| point.state == PointState::Finished)?;
        Some(figure(self.metric).cost(after)).filter(|cost| cost.is_finite())
    }

    /// The metric's value in a record, as it is shown: nats, per cent, or BLEU out of 100.
    pub(super) fn value(&self, record: &EvalRecord) -> Option<f64> {
        figure(self.metric).value(record).filter(|value| value.is_finite())
    }

    /// Notes which point is best.
    pub(super) fn choose(&mut self) {
        let best = self.ranked().first().copied();
        let best = best.filter(|point| self.cost(point).is_some());
        self.best = best.map(|point| point.name.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::fake::results;

    fn names(results: &Results) -> Vec<&str> {
        results.ranked().into_iter().map(|point| point.name.as_str()).collect()
    }

    #[test]
    fn points_are_ranked_by_the_metric_and_then_by_their_state() {
        let mut results = results(&[Some(2.0), None, Some(1.0), Some(f64::NAN), Some(1.0), None]);
        results.points[1].state = PointState::Pending;
        results.points[5].state = PointState::Failed;
        results.choose();
        assert_eq!(names(&results), ["p2", "p4", "p0", "p3", "p5", "p1"]);
        assert_eq!(results.best.as_deref(), Some("p2"));
        // The accuracies fall with the losses, so that the order turns round.
        results.metric = Metric::Accuracy;
        results.choose();
        assert_eq!(names(&results), ["p0", "p2", "p4", "p3", "p5", "p1"]);
        assert_eq!(results.best.as_deref(), Some("p0"));
    }

    #[test]
    fn nothing_measured_has_no_best() {
        let mut results = results(&[None, None]);
        results.choose();
        assert_eq!((names(&results), &results.best), (vec!["p0", "p1"], &None));
    }

    #[test]
    fn numbers_that_json_has_not_are_null() {
        let json = results(&[Some(f64::INFINITY)]).to_json().unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(json["points"][0]["after"]["eval_loss"].is_null());
        assert_eq!(json["points"][0]["state"], "finished");
        assert_eq!(json["axes"][0]["key"], "adapter.rank");
    }
}
