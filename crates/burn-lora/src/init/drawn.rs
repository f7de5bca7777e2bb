//! Starts that a seeded generator draws.

use faer::Mat;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal, StandardNormal, Uniform};

use super::Values;
use crate::LoraError;

/// A uniform on `±1/√d_in`, as PEFT's `reset_lora_parameters` draws it, and B of zeros.
pub(super) fn kaiming(
    d_in: usize,
    d_out: usize,
    rank: usize,
    seed: u64,
) -> Result<Values, LoraError> {
    let bound = 1.0 / (d_in as f32).sqrt();
    let uniform = Uniform::new_inclusive(-bound, bound)
        .map_err(|_| LoraError::Weight { d_in, d_out: rank })?;
    Ok(beside_zeros(uniform, d_in, d_out, rank, seed))
}

/// A normal with standard deviation `1/part`, of which the rank has several of a stack, and B of zeros.
pub(super) fn gaussian(
    d_in: usize,
    d_out: usize,
    rank: usize,
    part: usize,
    seed: u64,
) -> Result<Values, LoraError> {
    let normal = Normal::new(0.0, 1.0 / part as f32).map_err(|_| LoraError::Rank { rank })?;
    Ok(beside_zeros(normal, d_in, d_out, rank, seed))
}

/// So many standard normal numbers: B of an embedding's adapter, as PEFT draws it.
pub(crate) fn standard_normal(count: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| StandardNormal.sample(&mut rng)).collect()
}

fn beside_zeros(
    of: impl Distribution<f32>,
    d_in: usize,
    d_out: usize,
    rank: usize,
    seed: u64,
) -> Values {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let a = of.sample_iter(&mut rng).take(d_in * rank).collect();
    Values { a, b: vec![0.0; rank * d_out] }
}

/// Normal numbers along the odd and the even rows of one orthogonal matrix `Q: [rank, rank]`, over 10, as PEFT's
/// `orthogonal_init`: `A = N Q_odd / 10`, `B = Q_evenᵀ N' / 10`, so that `A B` holds `Q_odd Q_evenᵀ = 0`. The rank is
/// even.
pub(super) fn orthogonal(d_in: usize, d_out: usize, rank: usize, seed: u64) -> Values {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    // In f64, so that what is rounded of the product is the rounding of the factors alone.
    let mut draws = |rows: usize, columns: usize| -> Mat<f64> {
        Mat::from_fn(rows, columns, |_, _| StandardNormal.sample(&mut rng))
    };
    let q = draws(rank, rank).qr().compute_thin_Q();
    let half = rank / 2;
    let a = draws(d_in, half) * Mat::from_fn(half, rank, |i, j| q[(2 * i, j)] / 10.0);
    let b = Mat::from_fn(rank, half, |i, j| q[(2 * j + 1, i)] / 10.0) * draws(half, d_out);
    Values { a: by_rows(&a), b: by_rows(&b) }
}

fn by_rows(matrix: &Mat<f64>) -> Vec<f32> {
    let row = |i: usize| (0..matrix.ncols()).map(move |j| matrix[(i, j)] as f32);
    (0..matrix.nrows()).flat_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With 8,192 draws the standard error of the mean is 1.1 % of a standard deviation and that
    /// of the standard deviation 0.8 %: 5 % is more than four of either.
    fn check_moments(values: &[f32], deviation: f64) {
        let n = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
        assert!(mean.abs() < 0.05 * deviation, "mean {mean}");
        assert!((variance.sqrt() / deviation - 1.0).abs() < 0.05, "deviation {}", variance.sqrt());
    }

    #[test]
    fn kaiming_is_uniform_on_one_over_root_d_in() {
        let values = kaiming(1024, 3, 8, 1).unwrap().a;
        let bound = 1.0 / 32.0_f32;
        assert!(values.iter().all(|v| v.abs() <= bound));
        assert!(values.iter().any(|v| v.abs() > 0.99 * bound));
        check_moments(&values, f64::from(bound) / 3.0_f64.sqrt());
    }

    #[test]
    fn gaussian_has_deviation_one_over_rank() {
        check_moments(&gaussian(1024, 3, 8, 8, 1).unwrap().a, 1.0 / 8.0);
        check_moments(&gaussian(1024, 3, 8, 2, 1).unwrap().a, 1.0 / 2.0);
    }

    #[test]
    fn the_seed_decides_and_nothing_else() {
        let drawn = |seed| [kaiming(16, 3, 4, seed).unwrap(), orthogonal(16, 3, 4, seed)];
        for (one, (same, other)) in drawn(7).iter().zip(drawn(7).iter().zip(&drawn(8))) {
            assert_eq!((&one.a, &one.b), (&same.a, &same.b));
            assert_ne!(one.a, other.a);
        }
    }

    /// Entries are sums of `rank / 2` products of a standard normal number and an entry of a unit vector of so many
    /// dimensions, over 10: their variance is `1 / 200`, half of them being drawn.
    #[test]
    fn orthogonal_factors_have_a_product_of_zero_and_are_not_zero() {
        let (d_in, d_out, rank) = (1024, 1000, 8);
        let Values { a, b } = orthogonal(d_in, d_out, rank, 3);
        let mut largest = 0.0_f64;
        for row in a.chunks(rank).take(50) {
            for column in 0..d_out {
                let products = row
                    .iter()
                    .enumerate()
                    .map(|(k, a)| f64::from(*a) * f64::from(b[k * d_out + column]));
                largest = largest.max(products.sum::<f64>().abs());
            }
        }
        // Of eight products of about 0.005 each, rounded to f32 on both sides.
        assert!(largest < 1e-7, "{largest}");
        check_moments(&a, 0.005_f64.sqrt());
        check_moments(&b, 0.005_f64.sqrt());
    }

    #[test]
    fn all_but_orthogonal_start_b_at_zero() {
        for values in [kaiming(5, 7, 2, 1).unwrap(), gaussian(5, 7, 2, 2, 1).unwrap()] {
            assert_eq!(values.b, [0.0; 14]);
        }
    }
}
