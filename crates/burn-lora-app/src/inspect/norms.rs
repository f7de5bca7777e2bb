//! Frobenius norms of a factor and of the product of two.

/// The root of the sum of squares.
pub(super) fn norm(values: &[f64]) -> f64 {
    dot(values, values).sqrt()
}

/// The Frobenius norm of `B A`, for A `[rank, d_in]` and B `[d_out, rank]` row by row, without
/// forming it: `‖B A‖² = tr((A Aᵀ)(Bᵀ B))`, which takes `rank² (d_in + d_out)` multiplications and two
/// matrices of the factors' sizes.
///
/// Where the product nearly cancels, the norm is exact to about 1e-8 of `‖A‖ ‖B‖`. It is NaN where a
/// factor holds NaN.
///
/// ```
/// // A = [3 4], B = [1 0]ᵀ: B A has the rows [3 4] and [0 0].
/// assert_eq!(burn_lora_app::inspect::product_norm(&[3.0, 4.0], &[1.0, 0.0], 1), 5.0);
/// ```
pub fn product_norm(a: &[f64], b: &[f64], rank: usize) -> f64 {
    if rank == 0 {
        return 0.0;
    }
    let d_in = a.len() / rank;
    let row = |index: usize| &a[index * d_in..(index + 1) * d_in];
    let columns: Vec<Vec<f64>> =
        (0..rank).map(|column| b.iter().skip(column).step_by(rank).copied().collect()).collect();
    let mut squared = 0.0;
    for (i, column) in columns.iter().enumerate() {
        squared += dot(row(i), row(i)) * dot(column, column);
        for (j, other) in columns.iter().enumerate().take(i) {
            // Both matrices are symmetric: what stands below the diagonal stands above it too.
            squared += 2.0 * dot(row(i), row(j)) * dot(column, other);
        }
    }
    // Rounding may leave less than nothing of a product that cancels.
    if squared < 0.0 { 0.0 } else { f64::sqrt(squared) }
}

fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(l, r)| l * r).sum()
}
