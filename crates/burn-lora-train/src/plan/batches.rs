//! The batches that a run will see, by their sizes.

use burn_lora_models::footprint::BatchShape;

use crate::learner::{Batch, TrainableModel};
use crate::prepare::ReadRun;
use crate::prepare::draw;
use burn_lora_data::Rows;

/// Steps that are looked at, at most: those of a longer run are like them.
const LOOKED_AT: usize = 5_000;

/// Sizes of a run's batches.
pub(super) struct Batches {
    /// Of the training steps that were looked at, every batch.
    pub(super) training: Vec<BatchShape>,
    /// How many steps those are.
    pub(super) looked_at: usize,
    /// Of an evaluation, the largest.
    pub(super) evaluation: Option<BatchShape>,
    /// Steps of the run.
    pub(super) steps: usize,
    /// The share of a step's batches that a rank computes, one after the other.
    pub(super) share: f64,
}

impl Batches {
    /// Of a run that so many ranks take.
    pub(super) fn of<M: TrainableModel>(run: &ReadRun<M>, ranks: usize) -> Self {
        let train = &run.config.train;
        let (make, per_epoch) = run.train.training(draw(train));
        let steps = train.length.steps(per_epoch);
        let looked_at = steps.min(LOOKED_AT);
        let shapes = |batches: Vec<M::Batch>| batches.iter().map(Batch::shape).collect::<Vec<_>>();
        let training = (0..looked_at).flat_map(|step| shapes(make(step))).collect();
        // Longest first: the first is the largest.
        let first = |rows: &Rows<M::Batch>| {
            let (make, batches) = rows.evaluation(train.batch_size);
            (batches > 0).then(|| shapes(make(0)).into_iter().next()).flatten()
        };
        let evaluation = run.eval.as_ref().and_then(first);
        let share = train.accumulate.div_ceil(ranks) as f64 / train.accumulate as f64;
        Self { training, looked_at, evaluation, steps, share }
    }
}
