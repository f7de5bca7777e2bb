//! The one place that sees burn-train's optimiser.
//!
//! `burn_train::Learner` keeps its optimiser to itself and saves it only together with the whole
//! model. The optimiser is shown, however, to `TrainStep::optimize`: there this tap takes a record of
//! it, when a checkpoint asks for one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use burn::optim::{ModuleOptimizer, OptimizerRecord};

/// A request for the optimiser's state, answered by the next step. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct OptimizerTap {
    wanted: Arc<AtomicBool>,
    record: Arc<Mutex<Slot>>,
}

#[derive(Default)]
struct Slot(Option<OptimizerRecord>);

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Slot(record)" } else { "Slot(empty)" })
    }
}

impl OptimizerTap {
    /// Asks for the state as it is after the next step.
    pub fn request(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    /// The state asked for, once.
    pub fn take(&self) -> Option<OptimizerRecord> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).0.take()
    }

    pub(super) fn after_step(&self, optimizer: &ModuleOptimizer) {
        if self.wanted.swap(false, Ordering::Relaxed) {
            let record = optimizer.to_record();
            self.record.lock().unwrap_or_else(PoisonError::into_inner).0 = Some(record);
        }
    }
}
