//! The rows of the data files, ready to be batched in the order of a run's steps.

use std::sync::{Arc, Mutex, PoisonError};

use crate::batch::{LabelBatch, TokenBatch};
use crate::example::{LabelExample, TokenExample};
use crate::pack::Packed;
use crate::places::Places;
use crate::sampler::{Order, Sampler};
use crate::sources::Part;

/// Makes the batches of a step.
pub type MakeStep<B> = Arc<dyn Fn(usize) -> Vec<B> + Send + Sync>;

/// How the rows of a training run are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    /// Rows of a batch.
    pub batch_size: usize,
    /// Batches of a step.
    pub accumulate: usize,
    /// The run's seed.
    pub seed: u64,
    /// The order in which an epoch goes through the rows.
    pub order: Order,
}

/// Makes the batch of some rows.
type Collate<B> = Arc<dyn Fn(&[usize]) -> B + Send + Sync>;

/// Examples that can be put into batches of type `B`.
///
/// They come in parts, one a file, numbered through.
pub struct Rows<B> {
    parts: Vec<Part>,
    collate: Collate<B>,
    places: Arc<Places>,
}

impl<B> Clone for Rows<B> {
    fn clone(&self) -> Self {
        Self {
            parts: self.parts.clone(),
            collate: self.collate.clone(),
            places: self.places.clone(),
        }
    }
}

impl Rows<TokenBatch> {
    /// Examples of language modelling of each file with its weight, padded with `pad`.
    pub fn of_tokens(files: Vec<(Vec<TokenExample>, f64)>, pad: u32) -> Self {
        let (examples, parts) = numbered(files, |example| example.ids.len());
        let collate = move |rows: &[usize]| {
            TokenBatch::new(rows.iter().filter_map(|&row| examples.get(row)), pad)
        };
        Self { parts, collate: Arc::new(collate), places: Arc::default() }
    }

    /// Rows that several examples of a file share.
    pub fn of_packs(files: Vec<(Vec<Packed>, f64)>, pad: u32) -> Self {
        let (packs, parts) = numbered(files, Packed::tokens);
        let collate = move |rows: &[usize]| {
            TokenBatch::packed(rows.iter().filter_map(|&row| packs.get(row)), pad)
        };
        Self { parts, collate: Arc::new(collate), places: Arc::default() }
    }
}

impl Rows<LabelBatch> {
    /// Examples of classification of each file with its weight, padded with `pad`.
    pub fn of_labels(files: Vec<(Vec<LabelExample>, f64)>, pad: u32) -> Self {
        let (examples, parts) = numbered(files, |example| example.ids.len());
        let collate = move |rows: &[usize]| {
            LabelBatch::new(rows.iter().filter_map(|&row| examples.get(row)), pad)
        };
        Self { parts, collate: Arc::new(collate), places: Arc::default() }
    }
}

impl<B: 'static> Rows<B> {
    /// The same, with where their rows stand.
    #[must_use]
    pub fn standing(self, places: Places) -> Self {
        Self { places: Arc::new(places), ..self }
    }

    /// Where the rows stand that a training step reads, `file:line`, for each of its batches.
    pub fn places_of_step(&self, draw: Draw, step: usize) -> Vec<Vec<String>> {
        self.places_in(self.sampler(draw).step(step))
    }

    /// Where the rows stand of a batch of the evaluation, `file:line`.
    pub fn places_of_evaluation(&self, batch_size: usize, batch: usize) -> Vec<String> {
        self.places_in(self.by_length(batch_size).step(batch)).concat()
    }

    fn places_in(&self, batches: Vec<Vec<usize>>) -> Vec<Vec<String>> {
        let of_batch =
            |rows: Vec<usize>| rows.iter().flat_map(|&row| self.places.of(row)).collect();
        batches.into_iter().map(of_batch).collect()
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.lengths().len()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The batch of these rows.
    pub fn batch(&self, rows: &[usize]) -> B {
        (self.collate)(rows)
    }

    /// Training order: what each step reads, and how many steps an epoch has.
    pub fn training(&self, draw: Draw) -> (MakeStep<B>, usize) {
        self.steps(self.sampler(draw))
    }

    fn sampler(&self, draw: Draw) -> Sampler {
        let Draw { batch_size, accumulate, seed, order } = draw;
        Sampler::of_parts(self.parts.clone(), batch_size, accumulate, seed, order)
    }

    /// Evaluation order: every row once, like lengths together, and the number of batches.
    pub fn evaluation(&self, batch_size: usize) -> (MakeStep<B>, usize) {
        self.steps(self.by_length(batch_size))
    }

    fn by_length(&self, batch_size: usize) -> Sampler {
        let lengths = self.parts.iter().flat_map(Part::lengths).copied().collect();
        Sampler::new(lengths, batch_size, 1, 0, Order::ByLength)
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

/// The rows of all files, one after the other, and the part that each file is.
fn numbered<E>(files: Vec<(Vec<E>, f64)>, length: impl Fn(&E) -> usize) -> (Vec<E>, Vec<Part>) {
    let mut rows = Vec::new();
    let mut parts = Vec::with_capacity(files.len());
    for (examples, weight) in files {
        parts.push(Part::new(examples.iter().map(&length).collect(), weight));
        rows.extend(examples);
    }
    (rows, parts)
}
