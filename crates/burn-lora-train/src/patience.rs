//! The best evaluation so far, and early stopping by evaluations without improvement, as a burn-train strategy that can be resumed.
//!
//! burn-train's own strategy looks its metric up in the event store, which a resumed run starts
//! empty; this one keeps what it needs, and a checkpoint holds it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn_train::EarlyStoppingStrategy;
use burn_train::metric::store::EventStoreClient;
use serde::{Deserialize, Serialize};

use crate::config::Metric;
use crate::history::EvalRecord;

/// What has been seen so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// The best evaluation, as [`cost`] counts it.
    pub best: Option<f64>,
    /// Evaluations since it.
    pub since: usize,
}

/// What is compared of an evaluation: lower is better, so that shares of right answers and BLEU are negated.
/// Infinite where it was not measured.
pub fn cost(metric: Metric, record: &EvalRecord) -> f64 {
    match metric {
        Metric::Loss => record.eval_loss,
        Metric::Accuracy => -record.accuracy,
        Metric::ExactMatch => record.exact_match.map_or(f64::INFINITY, |share| -share),
        Metric::Bleu => record.bleu.map_or(f64::INFINITY, |score| -score),
    }
}

/// Stops once `limit` evaluations in a row were no better than the best. Clones share state.
#[derive(Debug, Clone)]
pub struct Patience {
    limit: usize,
    seen: Arc<Mutex<Seen>>,
}

impl Patience {
    /// Goes on from what was seen before.
    pub fn new(limit: usize, seen: Seen) -> Self {
        Self { limit, seen: Arc::new(Mutex::new(seen)) }
    }

    /// Notes the cost of an evaluation; whether it is the best so far.
    pub fn note(&self, cost: f64) -> bool {
        let mut seen = self.lock();
        let better = seen.best.is_none_or(|best| cost < best);
        match better {
            true => *seen = Seen { best: Some(cost), since: 0 },
            false => seen.since += 1,
        }
        better
    }

    /// What has been seen so far.
    pub fn seen(&self) -> Seen {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EarlyStoppingStrategy for Patience {
    fn should_stop(&mut self, _: usize, _: &EventStoreClient) -> bool {
        self.limit > 0 && self.lock().since >= self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn improvement_resets_the_count_and_equal_is_no_improvement() {
        let patience = Patience::new(2, Seen::default());
        let counts: Vec<usize> = [3.0, 2.0, 2.0, 2.5, 1.9]
            .into_iter()
            .map(|loss| {
                let better = patience.note(loss);
                assert_eq!(better, patience.seen().since == 0);
                patience.seen().since
            })
            .collect();
        assert_eq!(counts, [0, 0, 1, 2, 0]);
        assert_eq!(patience.seen().best, Some(1.9));
    }

    #[test]
    fn shares_of_right_answers_are_better_when_they_are_higher() {
        let record = |accuracy, exact_match| EvalRecord {
            step: 1,
            eval_loss: 0.5,
            perplexity: 1.6,
            accuracy,
            exact_match,
            bleu: exact_match.map(|share| share / 2.0),
        };
        let (worse, better) = (record(0.5, Some(0.1)), record(0.6, Some(0.2)));
        assert_eq!(cost(Metric::Loss, &worse), 0.5);
        assert!(cost(Metric::Accuracy, &better) < cost(Metric::Accuracy, &worse));
        assert!(cost(Metric::ExactMatch, &better) < cost(Metric::ExactMatch, &worse));
        assert_eq!(cost(Metric::Bleu, &better), -0.1);
        assert!(cost(Metric::Bleu, &better) < cost(Metric::Bleu, &worse));
        for metric in [Metric::ExactMatch, Metric::Bleu] {
            assert_eq!(cost(metric, &record(1.0, None)), f64::INFINITY);
        }
    }

    #[test]
    fn a_resumed_count_goes_on() {
        let patience = Patience::new(3, Seen { best: Some(1.0), since: 2 });
        patience.note(1.5);
        assert_eq!(patience.seen().since, 3);
    }
}
