//! Principal directions of rows that come a batch at a time: incremental principal component analysis, as PEFT's
//! `IncrementalPCA` and scikit-learn's (Ross, Lim, Lin and Yang, 2008).
//!
//! Of all that was seen there are the mean, and the first directions with their singular values. A batch is put below
//! them, moved to its own mean, with one row for how far the means are apart:
//!
//! ```text
//! [ S Vᵀ ; X − x̄ ; √(n m / (n + m)) · (μ − x̄) ]        n rows seen with mean μ, m new ones with mean x̄
//! ```
//!
//! whose singular values and right vectors are the new ones. So what is held is `directions · d_in` values, whatever the
//! number of rows.

use faer::{Mat, MatRef};

use super::Parts;

/// Up to this many rows or columns a batch is decomposed whole; beyond, the first directions are found by rounds.
const WHOLE: usize = 256;
/// Rounds of the randomised decomposition, as PEFT's.
const ROUNDS: u8 = 4;
/// What the randomised decomposition draws from.
const SEED: u64 = 42;

/// The principal directions of rows of so many values.
#[derive(Debug, Clone)]
pub struct Principal {
    count: usize,
    width: usize,
    /// Rows that came before there were as many as directions.
    waiting: Vec<f64>,
    seen: f64,
    mean: Vec<f64>,
    /// The sum of squares of all values seen, from the mean of their column.
    spread: f64,
    found: Option<Found>,
}

/// Directions and what is known of them.
#[derive(Debug, Clone)]
struct Found {
    /// `[width, count]`, of unit length, the entry of the largest size above zero.
    directions: Mat<f64>,
    singular: Vec<f64>,
    /// The cosine of each direction and the one in its place before the last batch; none after the first. Where another
    /// entry than before is the largest, the sign may change, and the direction has turned: PEFT looks at one batch more.
    cosines: Option<Vec<f64>>,
}

impl Principal {
    /// To find the first `count` directions of rows of `width` values: `width` of them at most.
    pub fn new(count: usize, width: usize) -> Self {
        Self {
            count: count.min(width),
            width,
            waiting: Vec::new(),
            seen: 0.0,
            mean: vec![0.0; width],
            spread: 0.0,
            found: None,
        }
    }

    /// Takes rows in, `[rows, width]` row by row. They wait until there are as many as directions.
    ///
    /// Gives false, and stays as it was, where a value is not finite or the decomposition does not converge.
    ///
    /// # Panics
    ///
    /// Where the values are no whole number of rows.
    pub fn add(&mut self, rows: &[f32]) -> bool {
        assert!(self.width > 0 && rows.len().is_multiple_of(self.width), "whole rows");
        if !rows.iter().all(|value| value.is_finite()) {
            return false;
        }
        let mut batch = self.waiting.clone();
        batch.extend(rows.iter().map(|&value| f64::from(value)));
        if batch.is_empty() || batch.len() < self.count.max(1) * self.width {
            self.waiting = batch;
            return true;
        }
        let Some(next) = self.with(&batch) else { return false };
        *self = next;
        true
    }

    /// What the batch, of one row at least, makes of it.
    fn with(&self, batch: &[f64]) -> Option<Self> {
        let width = self.width;
        let new = (batch.len() / width) as f64;
        let mut of_batch = vec![0.0; width];
        for row in batch.chunks_exact(width) {
            of_batch.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        of_batch.iter_mut().for_each(|sum| *sum /= new);
        let total = self.seen + new;
        let apart = (self.seen * new / total).sqrt();
        let above = self.found.as_ref().map_or(0, |found| found.singular.len());
        let rows = batch.len() / width;
        let between = usize::from(self.found.is_some());
        let matrix = Mat::<f64>::from_fn(above + rows + between, width, |i, j| match &self.found {
            Some(found) if i < above => found.singular[i] * found.directions[(j, i)],
            _ if i < above + rows => batch[(i - above) * width + j] - of_batch[j],
            _ => apart * (self.mean[j] - of_batch[j]),
        });
        let squares = |value: f64| value * value;
        let within = batch.chunks_exact(width).map(|row| {
            row.iter().zip(&of_batch).map(|(value, mean)| squares(value - mean)).sum::<f64>()
        });
        let spread: f64 = self.spread
            + within.sum::<f64>()
            + self.mean.iter().zip(&of_batch).map(|(a, b)| squares(apart * (a - b))).sum::<f64>();
        let parts = first(matrix.as_ref(), self.count)?;
        let kept = self.count.min(parts.singular.len());
        let mut directions = Mat::<f64>::from_fn(width, kept, |i, j| parts.v[(i, j)]);
        for j in 0..kept {
            let largest = (0..width).fold(0.0_f64, |most, i| {
                let value = directions[(i, j)];
                if value.abs() > most.abs() { value } else { most }
            });
            if largest < 0.0 {
                (0..width).for_each(|i| directions[(i, j)] = -directions[(i, j)]);
            }
        }
        let cosines = self.found.as_ref().map(|found| {
            let of = |j: usize| {
                let both = (0..width).map(|i| found.directions[(i, j)] * directions[(i, j)]);
                both.sum::<f64>()
            };
            (0..kept).map(|j| if j < found.singular.len() { of(j) } else { 0.0 }).collect()
        });
        let mean = self.mean.iter().zip(&of_batch);
        let mean = mean.map(|(old, new_one)| (old * self.seen + new_one * new) / total).collect();
        let singular = parts.singular[..kept].to_vec();
        Some(Self {
            count: self.count,
            width,
            waiting: Vec::new(),
            seen: total,
            mean,
            spread,
            found: Some(Found { directions, singular, cosines }),
        })
    }

    /// Follows the first `count` directions alone from now on, where there are more.
    pub fn narrow(&mut self, count: usize) {
        self.count = self.count.min(count);
        let Some(found) = self.found.as_mut().filter(|found| found.singular.len() > count) else {
            return;
        };
        found.directions = found.directions.subcols(0, count).to_owned();
        found.singular.truncate(count);
        if let Some(cosines) = &mut found.cosines {
            cosines.truncate(count);
        }
    }

    /// Whether directions are there: rows came, as many as directions.
    pub fn is_found(&self) -> bool {
        self.found.is_some()
    }

    /// The share of each direction in the spread of all values from their mean, the largest first; empty before any is
    /// found.
    pub fn ratios(&self) -> Vec<f64> {
        let singular = self.singular().iter();
        // Values that are all the same have no direction that says more than another.
        singular.map(|s| if self.spread > 0.0 { s * s / self.spread } else { 0.0 }).collect()
    }

    /// The singular values of what was seen, from its mean; empty before any is found.
    pub fn singular(&self) -> &[f64] {
        self.found.as_ref().map_or(&[], |found| &found.singular)
    }

    /// Whether the last batch turned none of the first `rank` directions by more than to a cosine of `tau`.
    pub fn has_converged(&self, rank: usize, tau: f64) -> bool {
        let Some(Found { cosines: Some(cosines), .. }) = &self.found else { return false };
        cosines.iter().take(rank).all(|cosine| *cosine >= tau)
    }

    /// The first `rank` directions side by side, `[width, rank]` row by row; those that were not found are zero. Each
    /// over the root of its singular value, where they are to be whitened.
    pub fn directions(&self, rank: usize, whiten: bool) -> Vec<f32> {
        let mut values = vec![0.0; self.width * rank];
        let Some(found) = &self.found else { return values };
        for (j, singular) in found.singular.iter().enumerate().take(rank) {
            let over = if whiten && *singular > 0.0 { singular.sqrt() } else { 1.0 };
            for i in 0..self.width {
                values[i * rank + j] = (found.directions[(i, j)] / over) as f32;
            }
        }
        values
    }
}

/// The first parts of a matrix, `count` of them at least where it has as many.
fn first(matrix: MatRef<'_, f64>, count: usize) -> Option<Parts> {
    let shorter = matrix.nrows().min(matrix.ncols());
    // Twice as many as are wanted, as PEFT: the last ones are found worst.
    let looked_for = 2 * count.max(1);
    match shorter <= WHOLE || shorter <= looked_for {
        true => Parts::of_matrix(matrix),
        false => Parts::randomised(matrix, looked_for, ROUNDS, SEED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows around a mean that moves, along axes of which each is half as long as the one before.
    fn rows(count: usize, width: usize, from: usize) -> Vec<f32> {
        let noise = |at: usize| ((at as f64 * 12.9898).sin() * 43_758.545_3).fract().abs() - 0.5;
        let row = |i: usize| {
            let value = move |j: usize| {
                let along = noise((from + i) * width + j) * 0.5_f64.powi(j as i32);
                (along + 3.0 * j as f64 + 0.01 * from as f64) as f32
            };
            (0..width).map(value)
        };
        (0..count).flat_map(row).collect()
    }

    /// All rows at once, each from the mean of its column, decomposed.
    fn at_once(all: &[f32], width: usize) -> (Parts, f64) {
        let count = all.len() / width;
        let mean =
            |j: usize| all.chunks(width).map(|row| f64::from(row[j])).sum::<f64>() / count as f64;
        let means: Vec<f64> = (0..width).map(mean).collect();
        let centred: Vec<f64> = all
            .chunks(width)
            .flat_map(|row| row.iter().zip(&means).map(|(value, mean)| f64::from(*value) - mean))
            .collect();
        let spread = centred.iter().map(|value| value * value).sum();
        (Parts::of(&centred, [count, width]).unwrap(), spread)
    }

    /// With as many directions as values nothing is lost between batches, so that they are those of all rows at once.
    #[test]
    fn batch_after_batch_is_all_rows_at_once_where_every_direction_is_kept() {
        let width = 6;
        let mut principal = Principal::new(width, width);
        let mut all = Vec::new();
        for batch in 0..5 {
            let rows = rows(9 + batch, width, 100 * batch);
            assert!(principal.add(&rows));
            all.extend(rows);
        }
        let (whole, spread) = at_once(&all, width);
        for (k, (one, other)) in principal.singular().iter().zip(whole.singular()).enumerate() {
            // A few hundred roundings of numbers up to 20, in f64.
            assert!((one - other).abs() < 1e-11, "{k}: {one} {other}");
            let ratio = principal.ratios()[k];
            assert!((ratio - other * other / spread).abs() < 1e-12, "{k}: {ratio}");
        }
        let (ours, theirs) = (principal.directions(width, false), whole.right(width, |_| 1.0));
        for k in 0..width {
            let along: f64 =
                (0..width).map(|i| f64::from(ours[i * width + k]) * theirs[k * width + i]).sum();
            // Rounded to f32 on the way out.
            assert!((along.abs() - 1.0).abs() < 1e-6, "{k}: {along}");
        }
        let white = principal.directions(width, true);
        let expected = f64::from(ours[0]) / principal.singular()[0].sqrt();
        assert!((f64::from(white[0]) - expected).abs() < 1e-7);
    }

    #[test]
    fn rows_wait_until_there_are_as_many_as_directions() {
        let mut bit_by_bit = Principal::new(4, 5);
        let all = rows(6, 5, 0);
        for row in all[..15].chunks(5) {
            assert!(bit_by_bit.add(row));
            assert!(!bit_by_bit.is_found());
        }
        assert!(bit_by_bit.add(&all[15..]));
        let mut at_once = Principal::new(4, 5);
        assert!(at_once.add(&all));
        assert_eq!(bit_by_bit.directions(4, false), at_once.directions(4, false));
        assert!(!at_once.has_converged(1, 0.0), "one batch says nothing of the next");
    }

    /// The same rows again turn nothing; rows along another axis do.
    #[test]
    fn directions_that_do_not_turn_have_converged() {
        let mut principal = Principal::new(2, 5);
        let batch = rows(40, 5, 0);
        assert!(principal.add(&batch) && principal.add(&batch));
        assert!(principal.has_converged(2, 0.999_999));
        let along_the_last: Vec<f32> =
            (0..200).map(|i| if i % 5 == 4 { i as f32 } else { 0.0 }).collect();
        assert!(principal.add(&along_the_last));
        assert!(!principal.has_converged(1, 0.99));
    }

    /// Beyond the size that is decomposed whole.
    #[test]
    fn the_rounds_find_what_a_whole_decomposition_finds() {
        let (width, count) = (300, 4);
        let all = rows(320, width, 0);
        let mut principal = Principal::new(count, width);
        assert!(principal.add(&all));
        let (whole, _) = at_once(&all, width);
        for (k, (one, other)) in principal.singular().iter().zip(whole.singular()).enumerate() {
            // Of eight that are looked for the ninth is 1/32 of the fourth: (1/32)⁹ is left of it after four rounds.
            assert!((one / other - 1.0).abs() < 1e-6, "{k}: {one} {other}");
        }
    }

    #[test]
    fn values_that_are_not_finite_change_nothing() {
        let mut principal = Principal::new(1, 2);
        assert!(principal.add(&[1.0, 0.0, 0.0, 1.0]));
        let before = principal.directions(1, false);
        assert!(!principal.add(&[f32::NAN, 0.0]));
        assert_eq!(principal.directions(1, false), before);
    }
}
