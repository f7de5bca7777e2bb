//! The rows of one data file, ready to be batched.

use std::sync::{Arc, Mutex, PoisonError};

use crate::config::TrainSection;
use crate::data::{LabelBatch, LabelExample, Order, Sampler, TokenBatch, TokenExample};
use crate::learner::Batch;
use crate::loader::MakeStep;

/// Makes the batch of some rows.
type Collate<B> = Arc<dyn Fn(&[usize]) -> B + Send + Sync>;

/// Examples that can be put into batches of type `B`.
pub struct Rows<B> {
    lengths: Vec<usize>,
    collate: Collate<B>,
}

impl<B> Clone for Rows<B> {
    fn clone(&self) -> Self {
        Self { lengths: self.lengths.clone(), collate: self.collate.clone() }
    }
}

impl Rows<TokenBatch> {
    /// Examples of language modelling, padded with `pad`.
    pub fn of_tokens(examples: Vec<TokenExample>, pad: u32) -> Self {
        let lengths = examples.iter().map(|example| example.ids.len()).collect();
        let collate = move |rows: &[usize]| {
            TokenBatch::new(rows.iter().filter_map(|&row| examples.get(row)), pad)
        };
        Self { lengths, collate: Arc::new(collate) }
    }
}

impl Rows<LabelBatch> {
    /// Examples of classification, padded with `pad`.
    pub fn of_labels(examples: Vec<LabelExample>, pad: u32) -> Self {
        let lengths = examples.iter().map(|example| example.ids.len()).collect();
        let collate = move |rows: &[usize]| {
            LabelBatch::new(rows.iter().filter_map(|&row| examples.get(row)), pad)
        };
        Self { lengths, collate: Arc::new(collate) }
    }
}

impl<B: Batch> Rows<B> {
    /// The number of rows.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// The batch of these rows.
    pub fn batch(&self, rows: &[usize]) -> B {
        (self.collate)(rows)
    }

    /// Training order: what each step reads, and how many steps an epoch has.
    pub(crate) fn training(&self, train: &TrainSection) -> (MakeStep<B>, usize) {
        let order = Order::training(train.shuffle, train.group_by_length);
        self.steps(Sampler::new(
            self.lengths.clone(),
            train.batch_size,
            train.accumulate,
            train.seed,
            order,
        ))
    }

    /// Evaluation order: every row once, like lengths together, and the number of batches.
    pub(crate) fn evaluation(&self, batch_size: usize) -> (MakeStep<B>, usize) {
        self.steps(Sampler::new(self.lengths.clone(), batch_size, 1, 0, Order::ByLength))
    }

    fn steps(&self, sampler: Sampler) -> (MakeStep<B>, usize) {
        let per_epoch = sampler.steps_per_epoch();
        let collate = self.collate.clone();
        // The sampler remembers the epoch it drew last.
        let sampler = Mutex::new(sampler);
        let make = move |step| {
            let batches = sampler.lock().unwrap_or_else(PoisonError::into_inner).step(step);
            batches.iter().map(|rows| collate(rows)).collect()
        };
        (Arc::new(make), per_epoch)
    }
}
