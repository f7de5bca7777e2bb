//! Early stopping by evaluations without improvement, as a burn-train strategy that can be resumed.
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
    /// The lowest held-out loss.
    pub best: Option<f64>,
    /// Evaluations since it.
    pub since: usize,
}

/// Stops once `limit` evaluations in a row have not lowered the held-out loss. Clones share state.
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

    /// Notes the held-out loss of an evaluation.
    pub fn note(&self, loss: f64) {
        let mut seen = self.lock();
        if seen.best.is_none_or(|best| loss < best) {
            *seen = Seen { best: Some(loss), since: 0 };
        } else {
            seen.since += 1;
        }
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
                patience.note(loss);
                patience.seen().since
            })
            .collect();
        assert_eq!(counts, [0, 0, 1, 2, 0]);
        assert_eq!(patience.seen().best, Some(1.9));
    }

    #[test]
    fn a_resumed_count_goes_on() {
        let patience = Patience::new(3, Seen { best: Some(1.0), since: 2 });
        patience.note(1.5);
        assert_eq!(patience.seen().since, 3);
    }
}
