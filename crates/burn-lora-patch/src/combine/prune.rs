//! One tensor of several: pruned, weighted, and where asked with the signs that win (PEFT's `merge_utils.py`).

use burn_lora_files::splitmix::{STEP, mixed};

use super::MajoritySign;

/// What is left of a tensor before it is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pruned {
    /// All of it.
    Whole,
    /// The entries of the largest magnitude.
    Largest,
    /// Each entry with the probability of the density, over the density.
    Drawn,
}

/// Uniform numbers of a seed (SplitMix64).
#[derive(Debug, Clone)]
pub(super) struct Draw(u64);

impl Draw {
    pub(super) fn of(seed: u64) -> Self {
        Self(mixed(seed))
    }

    /// The next number of `[0, 1)`.
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(STEP);
        (mixed(self.0) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// What pruning leaves; zeros elsewhere.
pub(super) fn pruned(values: Vec<f64>, how: Pruned, density: f64, draw: &mut Draw) -> Vec<f64> {
    match how {
        Pruned::Largest if density < 1.0 => largest(values, density),
        Pruned::Drawn if density < 1.0 => values
            .into_iter()
            .map(|value| if draw.uniform() < density { value / density } else { 0.0 })
            .collect(),
        _ => values,
    }
}

/// The `⌊density · n⌋` entries of the largest magnitude; of equal ones the first.
fn largest(mut values: Vec<f64>, density: f64) -> Vec<f64> {
    let count = (density * values.len() as f64) as usize;
    if count == 0 {
        return vec![0.0; values.len()];
    }
    let mut sizes: Vec<f64> = values.iter().map(|value| value.abs()).collect();
    let (above, least, _) =
        sizes.select_nth_unstable_by(count - 1, |one, other| other.total_cmp(one));
    let least = *least;
    let mut equal = count - above.iter().filter(|size| **size > least).count();
    for value in &mut values {
        let size = value.abs();
        if size == least && equal > 0 {
            equal -= 1;
        } else if size <= least {
            *value = 0.0;
        }
    }
    values
}

/// The weighted sum of tensors of one shape.
pub(super) fn sum(tensors: &[Vec<f64>], weights: &[f64]) -> Vec<f64> {
    let mut total = vec![0.0; tensors.first().map_or(0, Vec::len)];
    for (tensor, weight) in tensors.iter().zip(weights) {
        for (total, value) in total.iter_mut().zip(tensor) {
            *total += weight * value;
        }
    }
    total
}

/// At each entry the mean of the weighted values whose own sign, before the weight, is the one that wins there.
pub(super) fn elected(tensors: &[Vec<f64>], weights: &[f64], majority: MajoritySign) -> Vec<f64> {
    let count = tensors.first().map_or(0, Vec::len);
    let sign = |value: f64| if value == 0.0 { 0.0 } else { value.signum() };
    (0..count)
        .map(|at| {
            let values = || tensors.iter().map(|tensor| tensor[at]);
            let votes: f64 = match majority {
                MajoritySign::Total => values().sum(),
                MajoritySign::Frequency => values().map(sign).sum(),
            };
            let winner = if votes >= 0.0 { 1.0 } else { -1.0 };
            let (mut total, mut agreeing) = (0.0, 0.0_f64);
            for (value, weight) in values().zip(weights) {
                if sign(value) == winner {
                    total += weight * value;
                    agreeing += 1.0;
                }
            }
            total / agreeing.max(1.0)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(seed: u64, density: f64, count: usize) -> Vec<f64> {
        pruned(vec![1.0; count], Pruned::Drawn, density, &mut Draw::of(seed))
    }

    #[test]
    fn the_largest_entries_are_left_and_as_many_as_pefts_int_says() {
        let values = vec![0.5, -3.0, 2.0, -2.0, 1.0, 2.0, 0.0];
        let left = |density| pruned(values.clone(), Pruned::Largest, density, &mut Draw::of(0));
        // int(0.6 * 7) = 4: 3, and of the three of size 2 all.
        assert_eq!(left(0.6), [0.0, -3.0, 2.0, -2.0, 0.0, 2.0, 0.0]);
        // int(0.43 * 7) = 3: 3, and the first two of size 2.
        assert_eq!(left(0.43), [0.0, -3.0, 2.0, -2.0, 0.0, 0.0, 0.0]);
        assert_eq!(left(0.1), [0.0; 7]);
        assert_eq!(left(1.0), values);
    }

    #[test]
    fn what_is_drawn_is_the_seeds_and_keeps_the_expectation() {
        let (one, again, other) = (drawn(1, 0.3, 64), drawn(1, 0.3, 64), drawn(2, 0.3, 64));
        assert_eq!(one, again);
        assert_ne!(one, other);
        assert!(one.iter().all(|value| *value == 0.0 || *value == 1.0 / 0.3));
        // 40 000 draws: a standard deviation of √((1 − 0.3) / 0.3 / 40 000) = 0.0076; five of them.
        let mean = drawn(3, 0.3, 40_000).iter().sum::<f64>() / 40_000.0;
        assert!((mean - 1.0).abs() < 0.038, "{mean}");
        assert_eq!(drawn(4, 1.0, 8), [1.0; 8]);
    }

    /// By hand, after `calculate_majority_sign_mask` and `disjoint_merge`.
    #[test]
    fn the_sign_that_wins_is_that_of_the_sum_or_of_more_of_them() {
        let tensors =
            [vec![3.0, -1.0, 0.0, 1.0], vec![-1.0, -1.0, 2.0, -1.0], vec![-1.0, 4.0, 0.0, 0.0]];
        let weights = [2.0, 0.5, -1.0];
        // Sums: 1, 2, 2, 0; the last is won by plus, as PEFT's `>= 0` says.
        let total = elected(&tensors, &weights, MajoritySign::Total);
        assert_eq!(total, [6.0, -4.0, 1.0, 2.0]);
        // Signs: −1, −1, 1, 0.
        let frequency = elected(&tensors, &weights, MajoritySign::Frequency);
        assert_eq!(frequency, [(-0.5 + 1.0) / 2.0, (-2.0 - 0.5) / 2.0, 1.0, 2.0]);
        assert_eq!(sum(&tensors, &weights), [6.5, -6.5, 1.0, 1.5]);
    }
}
