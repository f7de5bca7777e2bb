//! The best evaluation so far, and early stopping by evaluations without improvement, as a burn-train strategy
//! that can be resumed.
//!
//! burn-train's own strategy looks its metric up in the event store, which a resumed run starts
//! empty; this one keeps what it needs, and a checkpoint holds it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn_train::EarlyStoppingStrategy;
use burn_train::metric::store::EventStoreClient;
use serde::{Deserialize, Serialize};

/// What has been seen so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// The best evaluation, as [`Figure::cost`](burn_lora_report::figure::Figure::cost) counts it.
    #[serde(with = "exact")]
    pub best: Option<f64>,
    /// Evaluations since it.
    pub since: usize,
}

/// A number as the shortest text that is read back as the same: what reads JSON's numbers may be off by a last digit, and a tie
/// would then be better or worse.
mod exact {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::{Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
        value.map(|value| value.to_string()).serialize(to)
    }

    pub fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Option<f64>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

/// Stops once `limit` evaluations in a row were no better than the best. Clones share state.
#[derive(Debug, Clone)]
pub struct EarlyStopping {
    limit: usize,
    seen: Arc<Mutex<Seen>>,
}

impl EarlyStopping {
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

impl EarlyStoppingStrategy for EarlyStopping {
    fn should_stop(&mut self, _: usize, _: &EventStoreClient) -> bool {
        self.limit > 0 && self.lock().since >= self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn improvement_resets_the_count_and_equal_is_no_improvement() {
        let stopping = EarlyStopping::new(2, Seen::default());
        let counts: Vec<usize> = [3.0, 2.0, 2.0, 2.5, 1.9]
            .into_iter()
            .map(|loss| {
                let better = stopping.note(loss);
                assert_eq!(better, stopping.seen().since == 0);
                stopping.seen().since
            })
            .collect();
        assert_eq!(counts, [0, 0, 1, 2, 0]);
        assert_eq!(stopping.seen().best, Some(1.9));
    }

    #[test]
    fn a_resumed_count_goes_on() {
        let stopping = EarlyStopping::new(3, Seen { best: Some(1.0), since: 2 });
        stopping.note(1.5);
        assert_eq!(stopping.seen().since, 3);
    }
}
