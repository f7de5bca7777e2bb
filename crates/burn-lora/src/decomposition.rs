//! Singular values and vectors, in f64 on the host, on one thread: the same on every machine.
//!
//! `M = U S Vᵀ` of a matrix ([`Parts::of`]), or of a product `L R` of two thin ones without forming it
//! ([`Parts::of_product`]): with `L = Q₁ R₁` and `Rᵀ = Q₂ R₂` the product is `Q₁ (R₁ R₂ᵀ) Q₂ᵀ`, whose middle has the
//! rank's sizes alone. So what is known of a change `B A` costs `rank² (d_in + d_out)`, whatever the weight's size.
//!
//! The signs of the vectors are free, and no product depends on them.
//!
//! Of rows that come a batch at a time [`Principal`] finds the first directions, and holds no more than them.
//!
//! ```
//! use burn_lora::decomposition::Parts;
//!
//! // [3 4] under [0 0] is of rank 1, and its only singular value is its norm.
//! let parts = Parts::of_product(&[1.0, 0.0], &[3.0, 4.0], [2, 1, 2]).unwrap();
//! assert!((parts.singular()[0] - 5.0).abs() < 1e-12);
//! ```

mod principal;

use faer::{Mat, MatRef};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

pub use principal::Principal;

/// Singular values, the largest first, and their vectors.
#[derive(Debug, Clone)]
pub struct Parts {
    /// `[rows, count]`.
    pub(crate) u: Mat<f64>,
    pub(crate) singular: Vec<f64>,
    /// `[columns, count]`.
    pub(crate) v: Mat<f64>,
}

impl Parts {
    /// All parts of a matrix `[rows, columns]`, row by row; none where they are not found, as of values that are not finite.
    ///
    /// # Panics
    ///
    /// Where there are not as many values.
    pub fn of(values: &[f64], [rows, columns]: [usize; 2]) -> Option<Self> {
        Self::of_matrix(MatRef::from_row_major_slice(values, rows, columns))
    }

    /// All parts of `left right`, for left `[rows, rank]` and right `[rank, columns]`, row by row: as many as the smallest
    /// of the three sizes. None where they are not found.
    ///
    /// # Panics
    ///
    /// Where there are not as many values.
    pub fn of_product(
        left: &[f64],
        right: &[f64],
        [rows, rank, columns]: [usize; 3],
    ) -> Option<Self> {
        if !left.iter().chain(right).all(|value| value.is_finite()) {
            return None;
        }
        let left = MatRef::from_row_major_slice(left, rows, rank);
        let right = MatRef::from_row_major_slice(right, rank, columns);
        let (left, right) = (left.qr(), right.transpose().qr());
        let core = left.thin_R() * right.thin_R().transpose();
        let Self { u, singular, v } = Self::of_matrix(core.as_ref())?;
        Some(Self { u: left.compute_thin_Q() * u, singular, v: right.compute_thin_Q() * v })
    }

    /// All parts; none where they are not found.
    pub(crate) fn of_matrix(matrix: MatRef<'_, f64>) -> Option<Self> {
        let finite = (0..matrix.ncols())
            .all(|column| matrix.col(column).iter().all(|value| value.is_finite()));
        let svd = finite.then(|| matrix.thin_svd().ok())??;
        let singular = svd.S().column_vector().iter().copied().collect();
        Some(Self { u: svd.U().to_owned(), singular, v: svd.V().to_owned() })
    }

    /// About the first `rank` of a matrix, which has as many: those of the matrix within the outputs of random inputs,
    /// which each round turns to the directions of the largest values (Halko, Martinsson and Tropp, arXiv 0909.4061,
    /// algorithm 4.4 without oversampling, as `torch.svd_lowrank`).
    pub(crate) fn randomised(
        matrix: MatRef<'_, f64>,
        rank: usize,
        rounds: u8,
        seed: u64,
    ) -> Option<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let wide = matrix.nrows() < matrix.ncols();
        // The longer side is the one whose directions are looked for.
        let tall = if wide { matrix.transpose() } else { matrix };
        let random =
            Mat::<f64>::from_fn(tall.ncols(), rank, |_, _| StandardNormal.sample(&mut rng));
        let mut basis = orthonormal(&(tall * random.as_ref()));
        for _ in 0..rounds {
            let across = orthonormal(&(tall.transpose() * basis.as_ref()));
            basis = orthonormal(&(tall * across.as_ref()));
        }
        let small = Self::of_matrix((basis.transpose() * tall).as_ref())?;
        let (long, short) = (basis * small.u, small.v);
        let (u, v) = if wide { (short, long) } else { (long, short) };
        Some(Self { u, singular: small.singular, v })
    }

    /// The singular values, the largest first.
    pub fn singular(&self) -> &[f64] {
        &self.singular
    }

    /// `U` with each of the first `rank` columns times what `weight` makes of its singular value: `[rows, rank]`, row by
    /// row. Columns beyond the parts that there are hold zeros.
    pub fn left(&self, rank: usize, weight: impl Fn(f64) -> f64) -> Vec<f64> {
        let weights = self.weights(rank, weight);
        let mut values = Vec::with_capacity(self.u.nrows() * rank);
        for row in 0..self.u.nrows() {
            values.extend(weights.iter().enumerate().map(|(k, weight)| match weight {
                Some(weight) => self.u[(row, k)] * weight,
                None => 0.0,
            }));
        }
        values
    }

    /// `Vᵀ` with each of the first `rank` rows times what `weight` makes of its singular value: `[rank, columns]`, row by
    /// row. Rows beyond the parts that there are hold zeros.
    pub fn right(&self, rank: usize, weight: impl Fn(f64) -> f64) -> Vec<f64> {
        let columns = self.v.nrows();
        let mut values = Vec::with_capacity(rank * columns);
        for (k, weight) in self.weights(rank, weight).into_iter().enumerate() {
            values.extend((0..columns).map(|column| match weight {
                Some(weight) => weight * self.v[(column, k)],
                None => 0.0,
            }));
        }
        values
    }

    /// What `weight` makes of each of so many singular values; none beyond those that there are.
    fn weights(&self, rank: usize, weight: impl Fn(f64) -> f64) -> Vec<Option<f64>> {
        (0..rank).map(|k| self.singular.get(k).map(|value| weight(*value))).collect()
    }
}

/// Orthonormal columns that span those of the matrix, which has no more columns than rows.
pub(crate) fn orthonormal(matrix: &Mat<f64>) -> Mat<f64> {
    matrix.qr().compute_thin_Q()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn product(left: &[f64], right: &[f64], [rows, rank, columns]: [usize; 3]) -> Vec<f64> {
        let mut values = Vec::new();
        for row in 0..rows {
            for column in 0..columns {
                let sum = (0..rank).map(|k| left[row * rank + k] * right[k * columns + column]);
                values.push(sum.sum());
            }
        }
        values
    }

    proptest! {
        /// Thin, square and wide factors alike, also where the rank is above both sizes.
        #[test]
        fn the_parts_of_a_product_are_those_of_the_matrix_and_give_it_back(
            rows in 1_usize..7, rank in 1_usize..7, columns in 1_usize..7, seed in any::<u64>(),
        ) {
            let mut state = seed;
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
            };
            let left: Vec<f64> = (0..rows * rank).map(|_| next()).collect();
            let right: Vec<f64> = (0..rank * columns).map(|_| next()).collect();
            let dense = product(&left, &right, [rows, rank, columns]);
            let whole = Parts::of(&dense, [rows, columns]).unwrap();
            let parts = Parts::of_product(&left, &right, [rows, rank, columns]).unwrap();
            let count = rows.min(columns).min(rank);
            prop_assert_eq!(parts.singular().len(), count);
            // Entries are below 7 in size: a few hundred roundings of 1e-16 of that.
            for (one, other) in parts.singular().iter().zip(whole.singular()) {
                prop_assert!((one - other).abs() < 1e-12, "{} {}", one, other);
            }
            // One more part than there is, which is zero.
            let (u, v) = (parts.left(count + 1, |s| s), parts.right(count + 1, |_| 1.0));
            for (one, other) in product(&u, &v, [rows, count + 1, columns]).iter().zip(&dense) {
                prop_assert!((one - other).abs() < 1e-12, "{} {}", one, other);
            }
        }
    }

    #[test]
    fn values_that_are_not_finite_have_no_parts() {
        assert!(Parts::of(&[f64::NAN, 1.0], [1, 2]).is_none());
        assert!(Parts::of_product(&[1.0, 2.0], &[f64::INFINITY], [2, 1, 1]).is_none());
    }
}
