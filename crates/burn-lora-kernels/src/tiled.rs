//! Products with a matrix that is not held in f32: a tile of it is converted into scratch, multiplied with in
//! f32 and dropped, so that no more than a tile of it for each core ever exists in f32.
//!
//! Many rows share a converted tile, and each core converts what its own piece of the result needs; a few take the way of
//! [`few_rows`]. Converting is exact: the result is that of the
//! f32 matrix with these values, with sums in another order.

use std::ops::Range;

use crate::few_rows::{self, Lies, Weight};
use crate::product::{Accumulate, MatMut, MatRef, Threads, by_pieces, product};

/// The side of a tile that is summed over.
const INNER: usize = 512;

/// The other side of a tile (2 MiB of f32), at most: the left operand is packed anew for each.
const OUTER: usize = 1024;

/// A matrix to read, whose rows are stored one after the other, or that matrix transposed.
pub trait Tiled: Copy + Send + Sync {
    /// Rows and columns, of what is multiplied with.
    fn shape(self) -> [usize; 2];

    /// Whether it is the transposed of what is stored.
    fn is_transposed(self) -> bool;

    /// Writes the numbers of a stored row from `column` on, as many as `out` has.
    fn convert(self, row: usize, column: usize, out: &mut [f32]);

    /// Asks for the line of memory where a number of a stored row lies, if that is known and worth it.
    #[inline(always)]
    fn fetch(self, _row: usize, _column: usize) {}
}

/// As it is stored, for products of a few rows.
#[derive(Clone, Copy)]
struct Stored<T>(T);

impl<T: Tiled> Weight for Stored<T> {
    const PIECE: usize = INNER;
    const CONVERTS: bool = true;

    #[inline(always)]
    fn piece<'a>(&'a self, row: usize, columns: Range<usize>, scratch: &'a mut [f32]) -> &'a [f32] {
        self.0.convert(row, columns.start, scratch);
        scratch
    }

    #[inline(always)]
    fn fetch(&self, row: usize, column: usize) {
        self.0.fetch(row, column);
    }
}

/// Rows `inner` and columns `outer` in f32, converted into `scratch`.
fn tile<'s>(matrix: impl Tiled, inner: Span, outer: Span, scratch: &'s mut Vec<f32>) -> MatRef<'s> {
    let transposed = matrix.is_transposed();
    let (rows, columns) = if transposed { (outer, inner) } else { (inner, outer) };
    scratch.resize(rows.len * columns.len, 0.0);
    for (row, out) in scratch.chunks_exact_mut(columns.len).enumerate() {
        matrix.convert(rows.start + row, columns.start, out);
    }
    let tile = MatRef::dense(scratch, [rows.len, columns.len]);
    if transposed { tile.transposed() } else { tile }
}

/// Some of a side.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: usize,
    len: usize,
}

/// A side in spans of at most `most`.
fn spans(side: usize, most: usize) -> impl Iterator<Item = Span> {
    (0..side).step_by(most).map(move |start| Span { start, len: most.min(side - start) })
}

/// `dst = lhs rhs`, or `dst += lhs rhs`.
///
/// # Shapes
///
/// - lhs: `[m, k]`, rhs: `[k, n]`, dst: `[m, n]`
///
/// # Panics
///
/// Where the shapes do not agree, which is a mistake in a kernel.
pub fn tiled_product(
    dst: MatMut<'_>,
    accumulate: Accumulate,
    lhs: MatRef<'_>,
    rhs: impl Tiled,
    threads: Threads,
) {
    let [m, n] = dst.shape();
    let k = lhs.shape()[1];
    assert_eq!((lhs.shape()[0], rhs.shape()), (m, [k, n]), "shapes of a product");
    if m <= few_rows::FEW {
        let lies = if rhs.is_transposed() { Lies::Across } else { Lies::Along };
        return few_rows::product(dst, accumulate, lhs, (Stored(rhs), lies), threads);
    }
    if n == 0 {
        return;
    }
    // An empty product writes zeros.
    if k == 0 {
        return product(dst, accumulate, lhs, MatRef::dense(&[], [0, n]), Threads::One);
    }
    by_pieces(dst, threads.worth(m * n * k), |[rows, columns], mut piece| {
        let lhs = lhs.rows(rows.start, rows.len());
        let mut scratch = Vec::new();
        for outer in spans(columns.len(), OUTER) {
            let mut accumulate = accumulate;
            for inner in spans(k, INNER) {
                let at = Span { start: columns.start + outer.start, len: outer.len };
                let tile = tile(rhs, inner, at, &mut scratch);
                let lhs = lhs.columns(inner.start, inner.len);
                piece.product(outer.start, accumulate, lhs, tile);
                accumulate = Accumulate::Add;
            }
        }
    });
}
