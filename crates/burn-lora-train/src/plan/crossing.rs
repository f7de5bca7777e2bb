//! What goes over the connection to a device elsewhere.
//!
//! Once, the weights. In a step, of every micro-batch what is to be done with them, operation by operation, and the batch itself; back come
//! a loss a micro-batch and a norm. Operations are many and small, and what describes one does not grow with its tensors: so what a step
//! costs on the way hangs on how many layers a model has and how much of it is trained, and hardly on their width or on the batch.
//!
//! Counted is what goes over where every operation is sent every time. A linear with a LoRA and its share of what stands around it comes to
//! some 43 operations, forward and backward, and AdamW's update of a tensor to some twenty; a description takes 105 to 140 bytes, and the
//! end of a tensor 66. Families differ, and kinds of adapter: it is a prediction to a factor of three. Builds that collect operations into
//! graphs (Burn's `fusion`, on with a GPU backend) send less.

use std::fmt;

use burn_lora_models::Recompute;
use burn_lora_text::size;
use serde::Serialize;

use super::batches::Batches;
use super::{Memory, Outline};
use crate::learner::TrainableModel;
use burn_lora_config::TrainSection;

/// Bytes that describe the forward and backward pass of a linear, with its share of what stands around linears: norms, attention.
const A_LINEAR: u64 = 6_000;

/// Bytes that describe the update of a tensor that is trained.
const AN_UPDATE: u64 = 3_000;

/// Bytes of a token of a batch: ids, positions, targets.
const A_TOKEN: u64 = 16;

/// The share of the forward pass in the operations of both.
const FORWARD: f64 = 1.0 / 3.0;

/// What goes over the connection to a device elsewhere, as planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PlannedConnection {
    /// Bytes before the first step: weights, and what is trained of them.
    pub once_bytes: u64,
    /// Bytes of a mean step, both ways, evaluations and checkpoints left out.
    pub step_bytes: u64,
}

impl PlannedConnection {
    pub(super) fn of<M: TrainableModel>(
        outline: &Outline<M>,
        batches: &Batches,
        memory: &Memory,
        train: &TrainSection,
    ) -> Self {
        let micro_batches = batches.training.len() as f64 * batches.share;
        let again = if train.recompute == Recompute::Block { FORWARD } else { 0.0 };
        let linears = outline.scan.linears().len() as u64 * A_LINEAR;
        let tokens = batches.training.iter().map(|batch| batch.tokens() as u64).sum::<u64>();
        let passes = linears as f64 * (1.0 + again) * micro_batches
            + (A_TOKEN * tokens) as f64 * batches.share;
        let step = passes / batches.looked_at.max(1) as f64;
        Self {
            once_bytes: memory.weights + memory.adapter,
            step_bytes: step as u64 + outline.trained_tensors() * AN_UPDATE,
        }
    }
}

/// `connection to the device: 513.1 MiB once, 1.2 MiB a step`
impl fmt::Display for PlannedConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (once, step) = (size(self.once_bytes), size(self.step_bytes));
        write!(f, "connection to the device: {once} once, about {step} a step")
    }
}

impl<M> Outline<M> {
    /// How many tensors are trained: two factors of most adapters.
    fn trained_tensors(&self) -> u64 {
        let count = match &self.report {
            None => self.base_params().count(),
            Some(report) => {
                let adapted = report.layers().iter().filter(|layer| layer.adapter_params > 0);
                let whole = report.layers().iter().filter(|layer| layer.adapter_params == 0);
                let whole = whole.filter(|layer| layer.trained_params > 0).count();
                2 * adapted.count() + whole + report.tokens().len() + report.biases().count
            }
        };
        count as u64
    }
}
