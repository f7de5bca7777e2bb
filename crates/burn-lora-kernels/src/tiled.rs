//! Products with a matrix that is not held in f32: a tile of it is converted into the panels of a product, multiplied with in
//! f32 and dropped, so that no more than a tile of it for each core ever exists in f32.
//!
//! Each core converts what its own piece of the result needs; a few rows take the way of
//! [`few_rows`], for which a matrix may know how to be multiplied without any number of it in memory.
//! Converting is exact: the result is that of the
//! f32 matrix with these values, with sums in another order.

use std::ops::Range;

use crate::few_rows::{self, Lies, Weight};
use crate::product::{
    Accumulate, LowRank, MatMut, MatRef, Threads, add, fresh_packed, packed, product,
};

/// A matrix to read, whose rows are stored one after the other, or that matrix transposed.
pub trait Tiled: Copy + Send + Sync {
    /// Rows and columns, of what is multiplied with.
    fn shape(self) -> [usize; 2];

    /// Whether it is the transposed of what is stored.
    fn is_transposed(self) -> bool;

    /// Writes the numbers of a stored row from `column` on, as many as `out` has.
    fn convert(self, row: usize, column: usize, out: &mut [f32]);

    /// Writes the products of a few rows with stored rows from `first` on, without the numbers of these in memory, if it knows how, and says
    /// whether it has: bit for bit those with numbers that were [converted](Self::convert).
    ///
    /// # Shapes
    ///
    /// - x: the rows one after the other, and the distance from one to the next, which is a multiple of 16: they are filled up with zeros
    /// - ys: for each of them, a number for each stored row
    fn across(
        self,
        _first: usize,
        _x: (&[f32], usize),
        _ys: &mut [&mut [f32]],
        _accumulate: Accumulate,
    ) -> bool {
        false
    }

    /// Asks for the line of memory where a number of a stored row lies, if that is known and worth it.
    #[inline(always)]
    fn fetch(self, _row: usize, _column: usize) {}
}

/// As it is stored.
#[derive(Clone, Copy)]
pub(crate) struct Stored<T>(pub(crate) T);

impl<T: Tiled> Weight for Stored<T> {
    const PIECE: usize = 512;
    const CONVERTS: bool = true;

    #[inline(always)]
    fn piece<'a>(&'a self, row: usize, columns: Range<usize>, scratch: &'a mut [f32]) -> &'a [f32] {
        self.0.convert(row, columns.start, scratch);
        scratch
    }

    fn across(
        &self,
        first: usize,
        x: (&[f32], usize),
        ys: &mut [&mut [f32]],
        accumulate: Accumulate,
    ) -> bool {
        self.0.across(first, x, ys, accumulate)
    }

    #[inline(always)]
    fn fetch(&self, row: usize, column: usize) {
        self.0.fetch(row, column);
    }
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
        return few_rows::product(dst, accumulate, lhs, (Stored(rhs), lies(rhs)), threads);
    }
    if n == 0 {
        return;
    }
    // An empty product writes zeros.
    if k == 0 {
        return product(dst, accumulate, lhs, MatRef::dense(&[], [0, n]), Threads::One);
    }
    packed(dst, accumulate, lhs, (Stored(rhs), lies(rhs)), threads.worth(m * n * k));
}

/// `lhs rhs` in memory of its own, whose rows lie one after the other, and where there is a low-rank product, that added to it.
///
/// # Shapes
///
/// - lhs: `[m, k]`, rhs: `[k, n]`, low: `[m, r]` and `[r, n]`, output: `[m, n]`
///
/// # Panics
///
/// Where the shapes do not agree, which is a mistake in a kernel.
pub fn tiled_fresh(
    lhs: MatRef<'_>,
    rhs: impl Tiled,
    low: Option<LowRank<'_>>,
    threads: Threads,
) -> Vec<f32> {
    let ([m, k], [of, n]) = (lhs.shape(), rhs.shape());
    assert_eq!(k, of, "shapes of a product");
    if m <= few_rows::FEW || n == 0 || k == 0 {
        let mut out = vec![0.0; m * n];
        tiled_product(MatMut::dense(&mut out, [m, n]), Accumulate::Set, lhs, rhs, threads);
        add(&mut out, low, [m, n], threads);
        return out;
    }
    fresh_packed(lhs, ((Stored(rhs), lies(rhs)), n), low, threads)
}

/// How it lies, of what is multiplied with.
pub(crate) fn lies(rhs: impl Tiled) -> Lies {
    if rhs.is_transposed() { Lies::Across } else { Lies::Along }
}
