//! Training files with weights, and which of their rows make up an epoch.
//!
//! With weight 1 every row of a file is in an epoch once, with 2 twice; with 0.5 half of them are,
//! drawn anew for every epoch. A file of `n` rows gives every epoch `round(weight · n)` rows, at
//! least one, so that all epochs are equally long.

use std::path::PathBuf;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::error::DataError;
use crate::row_file::{Reading, RowFile};

/// The largest weight; more is taken for a mistake.
const MOST: f64 = 1000.0;

/// Marks the streams of the run's generator that draw shares of files; those without it draw the
/// orders of epochs.
const STREAM: u64 = 1 << 63;

/// A training file and how often its rows are in an epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// The data file.
    pub path: PathBuf,
    /// How often each row is in an epoch, on average: above 0, at most 1000.
    pub weight: f64,
}

impl Source {
    /// A file of which every row is in an epoch once.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), weight: 1.0 }
    }

    /// Reads the file's rows, as [`RowFile::read`] does.
    ///
    /// # Errors
    ///
    /// A weight out of its range, and what is wrong with the file.
    pub fn read(&self, reading: &Reading) -> Result<RowFile, DataError> {
        if !(self.weight > 0.0 && self.weight <= MOST) {
            let (path, weight) = (self.path.clone(), self.weight);
            return Err(DataError::Weight { path, weight, most: MOST });
        }
        RowFile::read(&self.path, reading)
    }
}

/// The examples of one source, as far as a sampler knows them.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    lengths: Vec<usize>,
    weight: f64,
}

impl Part {
    /// Examples of these lengths, each `weight` times in an epoch; what is out of a weight's range
    /// is taken as the end of it, and what is no number as 0.
    pub fn new(lengths: Vec<usize>, weight: f64) -> Self {
        Self { lengths, weight: weight.clamp(0.0, MOST) }
    }

    /// The lengths of the examples, in tokens.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// How many rows it gives to every epoch.
    pub fn rows_per_epoch(&self) -> usize {
        let rows = self.lengths.len();
        ((self.weight * rows as f64).round() as usize).max(usize::from(rows > 0))
    }
}

/// The rows of an epoch, from the first part's to the last one's, each part's in order and as often
/// as it is whole in its weight before the share that is drawn for this epoch. Rows are numbered
/// through all parts.
pub fn epoch_rows(parts: &[Part], seed: u64, epoch: usize) -> Vec<usize> {
    let mut rows = Vec::with_capacity(parts.iter().map(Part::rows_per_epoch).sum());
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(STREAM | epoch as u64);
    let mut first = 0;
    for part in parts {
        let of_part = first..first + part.lengths.len();
        first = of_part.end;
        if of_part.is_empty() {
            continue;
        }
        let (times, rest) =
            (part.rows_per_epoch() / of_part.len(), part.rows_per_epoch() % of_part.len());
        for _ in 0..times {
            rows.extend(of_part.clone());
        }
        if rest > 0 {
            let mut drawn: Vec<usize> = of_part.collect();
            let (drawn, _) = drawn.partial_shuffle(&mut random, rest);
            drawn.sort_unstable();
            rows.extend_from_slice(drawn);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sampler::{Order, Sampler};

    fn parts(of: &[(usize, f64)]) -> Vec<Part> {
        of.iter().map(|&(rows, weight)| Part::new(vec![1; rows], weight)).collect()
    }

    #[test]
    fn a_weight_says_how_often_a_row_is_in_an_epoch() {
        assert_eq!(epoch_rows(&parts(&[(3, 1.0), (2, 2.0)]), 0, 0), [0, 1, 2, 3, 4, 3, 4]);
        let rows = epoch_rows(&parts(&[(4, 1.5)]), 7, 0);
        assert_eq!(rows[..4], [0, 1, 2, 3]);
        let rest = &rows[4..];
        assert!(rest.len() == 2 && rest[0] < rest[1], "{rest:?}");
    }

    #[test]
    fn a_share_is_drawn_anew_for_every_epoch_and_seed() {
        let rows = |seed, epoch| epoch_rows(&parts(&[(40, 0.5)]), seed, epoch);
        assert_eq!(rows(1, 2), rows(1, 2));
        assert_ne!(rows(1, 2), rows(1, 3));
        assert_ne!(rows(1, 2), rows(2, 2));
        // In the long run every row has its turn: in 400 epochs 200 times, with a standard
        // deviation of 10.
        let mut seen = [0_i32; 40];
        for epoch in 0..400 {
            rows(0, epoch).iter().for_each(|row| seen[*row] += 1);
        }
        assert!(seen.iter().all(|count| (count - 200).abs() < 50), "{seen:?}");
    }

    #[test]
    fn a_small_file_gives_at_least_one_row() {
        assert_eq!(epoch_rows(&parts(&[(3, 0.01)]), 0, 0).len(), 1);
        assert_eq!(epoch_rows(&parts(&[(0, 3.0), (1, f64::NAN)]), 0, 0), [0]);
        assert_eq!(epoch_rows(&[], 0, 0), [0; 0]);
    }

    #[test]
    fn weights_out_of_range_are_refused_before_the_file_is_read() {
        for weight in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let source = Source { path: "no/such.jsonl".into(), weight };
            assert!(
                matches!(source.read(&Reading::default()), Err(DataError::Weight { .. })),
                "{weight}"
            );
        }
        let source = Source { weight: 0.0, ..Source::new("no/such.jsonl") };
        assert_eq!(
            source.read(&Reading::default()).unwrap_err().to_string(),
            "no/such.jsonl: weight = 0 is not above 0 and at most 1000"
        );
        let missing = Source::new("no/such.jsonl").read(&Reading::default());
        assert!(matches!(missing, Err(DataError::Unreadable { .. })));
    }

    proptest! {
        #[test]
        fn one_part_of_weight_one_is_sampled_as_ever(
            lengths in prop::collection::vec(1_usize..40, 1..100),
            (batch_size, seed, epoch) in (1_usize..9, any::<u64>(), 0_usize..20),
        ) {
            for order in [Order::File, Order::ByLength, Order::Shuffled, Order::Grouped] {
                let plain = Sampler::new(lengths.clone(), batch_size, 1, seed, order);
                let part = vec![Part::new(lengths.clone(), 1.0)];
                let mixed = Sampler::of_parts(part, batch_size, 1, seed, order);
                prop_assert_eq!(plain.epoch(epoch), mixed.epoch(epoch));
            }
        }

        #[test]
        fn epochs_are_equally_long_and_rows_as_frequent_as_their_weight(
            of in prop::collection::vec((1_usize..40, 0.05_f64..3.0), 1..5),
            (batch_size, seed, epoch) in (1_usize..9, any::<u64>(), 0_usize..20),
        ) {
            let parts = parts(&of);
            let mut sampler =
                Sampler::of_parts(parts.clone(), batch_size, 2, seed, Order::Shuffled);
            let per_epoch = sampler.steps_per_epoch();
            let mut seen = vec![0_usize; of.iter().map(|(rows, _)| rows).sum()];
            for step in epoch * per_epoch..(epoch + 1) * per_epoch {
                prop_assert_eq!(sampler.epoch_of(step), epoch);
                for row in sampler.step(step).concat() {
                    seen[row] += 1;
                }
            }
            let mut first = 0;
            for (part, (rows, weight)) in parts.iter().zip(of) {
                let of_part = &seen[first..first + rows];
                first += rows;
                prop_assert_eq!(of_part.iter().sum::<usize>(), part.rows_per_epoch());
                let exact = weight * rows as f64;
                prop_assert!((part.rows_per_epoch() as f64 - exact).abs() <= 0.5 || exact < 0.5);
                // No row is there more than once oftener than another.
                let (least, most) = (of_part.iter().min(), of_part.iter().max());
                prop_assert!(most.unwrap() - least.unwrap() <= 1);
            }
        }
    }
}
