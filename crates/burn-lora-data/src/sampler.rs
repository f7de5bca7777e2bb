//! Which rows a step sees.
//!
//! The order of an epoch is drawn from a generator whose seed is the run's and whose stream is the
//! number of the epoch, so the rows of a step are a function of seed and step alone: a run that is
//! resumed goes on with the rows it would have seen.
//!
//! The unit that is drawn is the step, `batch_size · accumulate` rows; it is divided into batches
//! afterwards. So the same rows make a step whether they go through the model at once or in parts.
//! A step never reaches into the next epoch: one step of an epoch may have fewer rows.
//!
//! Rows come in parts with weights, which decide how often each is in an epoch ([`epoch_rows`]). All
//! epochs have as many rows, so that a step's epoch is found by dividing.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::sources::{Part, epoch_rows};

/// Steps whose rows are sorted by length together. More of them makes lengths more alike and
/// batches less random.
const WINDOW: usize = 50;

/// The order in which an epoch goes through the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As in the file; of several files, one after the other.
    File,
    /// From the longest row to the shortest, always the same: for evaluating.
    ByLength,
    /// A new random order in every epoch.
    Shuffled,
    /// A new random order in every epoch, with rows of like lengths in a step.
    Grouped,
}

impl Order {
    /// The order of a training run with these two settings.
    pub fn training(shuffle: bool, group_by_length: bool) -> Self {
        match (shuffle, group_by_length) {
            (false, _) => Self::File,
            (true, false) => Self::Shuffled,
            (true, true) => Self::Grouped,
        }
    }
}

/// Gives every step its rows.
#[derive(Debug, Clone)]
pub struct Sampler {
    parts: Vec<Part>,
    /// Of the rows of all parts, one after the other.
    lengths: Vec<usize>,
    rows_per_epoch: usize,
    batch_size: usize,
    accumulate: usize,
    seed: u64,
    order: Order,
    /// The epoch asked for last and its steps, as they would be drawn again.
    drawn: Option<(usize, Vec<Vec<usize>>)>,
}

impl Sampler {
    /// A sampler over rows of these lengths, each once an epoch; `batch_size` and `accumulate` are
    /// taken as at least 1.
    pub fn new(
        lengths: Vec<usize>,
        batch_size: usize,
        accumulate: usize,
        seed: u64,
        order: Order,
    ) -> Self {
        Self::of_parts(vec![Part::new(lengths, 1.0)], batch_size, accumulate, seed, order)
    }

    /// A sampler over the rows of several parts, numbered through, each as often in an epoch as its
    /// part's weight says; `batch_size` and `accumulate` are taken as at least 1.
    pub fn of_parts(
        parts: Vec<Part>,
        batch_size: usize,
        accumulate: usize,
        seed: u64,
        order: Order,
    ) -> Self {
        let (batch_size, accumulate) = (batch_size.max(1), accumulate.max(1));
        let lengths = parts.iter().flat_map(Part::lengths).copied().collect();
        let rows_per_epoch = parts.iter().map(Part::rows_per_epoch).sum();
        Self { parts, lengths, rows_per_epoch, batch_size, accumulate, seed, order, drawn: None }
    }

    /// Steps of one epoch.
    pub fn steps_per_epoch(&self) -> usize {
        self.rows_per_epoch.div_ceil(self.rows_per_step())
    }

    /// The epoch, from 0, that a step belongs to.
    pub fn epoch_of(&self, step: usize) -> usize {
        step / self.steps_per_epoch().max(1)
    }

    /// The batches of a step, from 0, as numbers of rows: at most `accumulate` batches of at most
    /// `batch_size` rows. There are none if there are no rows.
    pub fn step(&mut self, step: usize) -> Vec<Vec<usize>> {
        let (epoch, within) = (self.epoch_of(step), step % self.steps_per_epoch().max(1));
        let steps = match self.drawn.take() {
            Some((drawn, steps)) if drawn == epoch => steps,
            _ => self.epoch(epoch),
        };
        let rows: &[usize] = steps.get(within).map_or(&[], Vec::as_slice);
        let batches = rows.chunks(self.batch_size).map(<[usize]>::to_vec).collect();
        self.drawn = Some((epoch, steps));
        batches
    }

    /// The rows of every step of an epoch.
    pub fn epoch(&self, epoch: usize) -> Vec<Vec<usize>> {
        let mut rows = epoch_rows(&self.parts, self.seed, epoch);
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(epoch as u64);
        let per_step = self.rows_per_step();
        match self.order {
            Order::File => {}
            Order::ByLength => self.sort(&mut rows),
            Order::Shuffled => rows.shuffle(&mut random),
            Order::Grouped => {
                rows.shuffle(&mut random);
                let window = per_step.saturating_mul(WINDOW);
                rows.chunks_mut(window).for_each(|window| self.sort(window));
            }
        }
        let mut steps: Vec<_> = rows.chunks(per_step).map(<[usize]>::to_vec).collect();
        if self.order == Order::Grouped {
            steps.shuffle(&mut random);
        }
        steps
    }

    fn rows_per_step(&self) -> usize {
        self.batch_size.saturating_mul(self.accumulate)
    }

    /// Longest first, so that too little memory shows early; rows of one length stay as they are.
    fn sort(&self, rows: &mut [usize]) {
        rows.sort_by_key(|row| std::cmp::Reverse(self.lengths[*row]));
    }
}
