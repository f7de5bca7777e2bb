//! Micro-batches in the order that steps take them, as a Burn data loader.
//!
//! What a step reads is a pure function of its number, so a run goes on from any step by starting
//! there; nothing about the position in the data is stored. So is what is drawn in a step.

use std::ops::Range;
use std::sync::Arc;

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;

use crate::learner::{Batch, Micro};
use burn_lora_data::MakeStep;
use burn_lora_models::recompute::seed_of;

/// The micro-batches of a range of steps.
pub(crate) struct StepLoader<B> {
    make: MakeStep<B>,
    steps: Range<usize>,
    seed: u64,
}

impl<B> Clone for StepLoader<B> {
    fn clone(&self) -> Self {
        Self { make: self.make.clone(), steps: self.steps.clone(), seed: self.seed }
    }
}

impl<B: Batch> StepLoader<B> {
    /// The micro-batches that `make` gives for each of the steps; with the step, `seed` decides what is drawn
    /// in them.
    pub(crate) fn new(make: MakeStep<B>, steps: Range<usize>, seed: u64) -> Self {
        Self { make, steps, seed }
    }
}

impl<B: Batch> DataLoader<Micro<B>> for StepLoader<B> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Micro<B>> + 'a> {
        Box::new(Steps { loader: self, next: self.steps.start, ready: Vec::new() })
    }

    /// The number of steps.
    fn num_items(&self) -> usize {
        self.steps.len()
    }

    fn to_device(&self, _: &Device) -> Arc<dyn DataLoader<Micro<B>>> {
        // Batches are made on the host; the model brings them to its device.
        Arc::new(self.clone())
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<Micro<B>>> {
        let first = self.steps.start;
        let steps = (first + start).min(self.steps.end)..(first + end).min(self.steps.end);
        Arc::new(Self { steps, ..self.clone() })
    }
}

struct Steps<'a, B> {
    loader: &'a StepLoader<B>,
    next: usize,
    /// The rest of the current step, last first.
    ready: Vec<Micro<B>>,
}

impl<B: Batch> Iterator for Steps<'_, B> {
    type Item = Result<Micro<B>, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() && self.next < self.loader.steps.end {
            let batches = (self.loader.make)(self.next);
            let step_targets = batches.iter().map(Batch::targets).sum();
            let of_step = seed_of(self.loader.seed, self.next as u64);
            let mut last = true;
            for (index, batch) in batches.into_iter().enumerate().rev() {
                let seed = seed_of(of_step, index as u64);
                self.ready.push(Micro { batch, step_targets, last, seed });
                last = false;
            }
            self.next += 1;
        }
        self.ready.pop().map(Ok)
    }
}

impl<B: Batch> DataLoaderIterator<Micro<B>> for Steps<'_, B> {
    fn progress(&self) -> Progress {
        let done = self.next - self.loader.steps.start;
        Progress::new(done, self.loader.num_items(), Some("steps".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use burn_lora_models::footprint::BatchShape;

    use super::*;

    #[derive(Debug, Clone, PartialEq)]
    struct Numbered(usize);

    impl Batch for Numbered {
        fn target_ids(&self) -> Vec<i32> {
            vec![0; self.0]
        }

        fn looked_at(&self) -> Vec<bool> {
            vec![true]
        }

        fn tokens(&self) -> usize {
            self.0
        }

        fn shape(&self) -> BatchShape {
            BatchShape { rows: 1, width: self.0, segments: None, targets: self.0 }
        }
    }

    /// Step `s` reads batches of `s` and `s + 1` targets, and only the first where `s` is odd.
    fn micros(steps: Range<usize>) -> Vec<Micro<Numbered>> {
        let make = |step| {
            let count = 2 - step % 2;
            (step..step + count).map(Numbered).collect()
        };
        let loader = StepLoader::new(Arc::new(make), steps, 5);
        loader.iter().map(|m| m.unwrap()).collect()
    }

    fn collect(steps: Range<usize>) -> Vec<(usize, usize, bool)> {
        micros(steps).into_iter().map(|m| (m.batch.0, m.step_targets, m.last)).collect()
    }

    /// What is drawn in a step does not depend on where a run began, and no two micro-batches draw alike.
    #[test]
    fn micro_batches_draw_by_their_step_and_their_place_in_it() {
        let seeds = |steps| micros(steps).iter().map(|m| m.seed).collect::<Vec<_>>();
        let whole = seeds(0..7);
        assert_eq!(whole[5..], seeds(3..7));
        let distinct: std::collections::HashSet<u64> = whole.iter().copied().collect();
        assert_eq!(distinct.len(), whole.len());
    }

    #[test]
    fn micro_batches_know_the_targets_of_their_step_and_its_end() {
        let expected = [(0, 1, false), (1, 1, true), (1, 1, true), (2, 5, false), (3, 5, true)];
        assert_eq!(collect(0..3), expected);
    }

    #[test]
    fn starting_at_a_step_gives_what_a_whole_run_gives_from_there() {
        assert_eq!(collect(0..7)[5..], collect(3..7));
    }
}
