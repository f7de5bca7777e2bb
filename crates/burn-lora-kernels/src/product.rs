//! Matrix products on strided views: over panels of our own (`product/panels.rs`), or through the `gemm` crate, which Flex uses as well.
//!
//! What Flex's own product leaves out: the result can be added to what the destination holds, or written to memory that
//! nothing cleared before ([`fresh`]), and
//! a product with a narrow side, as those of a low-rank factor are, has kernels of its own
//! (`product/narrow.rs`), which pack nothing. Others are shared out to the cores in pieces of the result
//! (`product/pieces.rs`), which wait for each other less than `gemm`'s own threads do; a low-rank product can be added to a wide one in
//! the same pass, and several products can be one piece of work ([`together`]). A product of a few rows is one of
//! [`few_rows`], but for a factor's gradient, which sums over the rows of a batch.
//!
//! The two views check once, when they are made, that every element lies in its slice. That is all
//! that the `unsafe` blocks here and below stand on.

#![allow(unsafe_code, reason = "kernels take pointers; the views prove them right")]

mod narrow;
mod panels;
mod pieces;
mod tile;
pub mod together;
mod turn;

use std::ops::Range;

use crate::few_rows::{self, FEW, Lies, Weight};

/// A matrix to read: element `(i, j)` is `data[i * strides[0] + j * strides[1]]`.
#[derive(Debug, Clone, Copy)]
pub struct MatRef<'a> {
    data: &'a [f32],
    shape: [usize; 2],
    strides: [usize; 2],
}

impl<'a> MatRef<'a> {
    /// A view of `shape` on the slice.
    ///
    /// # Panics
    ///
    /// Where an element would lie outside of the slice, which is a mistake in a kernel.
    pub fn new(data: &'a [f32], shape: [usize; 2], strides: [usize; 2]) -> Self {
        assert!(end(shape, strides).is_some_and(|end| end <= data.len()), "a view beyond its data");
        Self { data, shape, strides }
    }

    /// A view of rows that lie one after the other.
    pub fn dense(data: &'a [f32], shape: [usize; 2]) -> Self {
        Self::new(data, shape, [shape[1], 1])
    }

    /// Rows and columns exchanged.
    pub fn transposed(self) -> Self {
        let ([rows, columns], [down, along]) = (self.shape, self.strides);
        Self { data: self.data, shape: [columns, rows], strides: [along, down] }
    }

    /// Rows and columns.
    pub fn shape(self) -> [usize; 2] {
        self.shape
    }

    /// Columns `start..start + count`.
    pub fn columns(self, start: usize, count: usize) -> Self {
        let from = (start * self.strides[1]).min(self.data.len());
        Self::new(&self.data[from..], [self.shape[0], count], self.strides)
    }

    /// The slice, the shape and the strides.
    pub(crate) fn parts(self) -> (&'a [f32], [usize; 2], [usize; 2]) {
        (self.data, self.shape, self.strides)
    }

    /// Rows `start..start + count`.
    pub(crate) fn rows(self, start: usize, count: usize) -> Self {
        let from = (start * self.strides[0]).min(self.data.len());
        Self::new(&self.data[from..], [count, self.shape[1]], self.strides)
    }
}

/// A matrix to write, whose rows do not overlap: element `(i, j)` is `data[i * stride + j]`.
#[derive(Debug)]
pub struct MatMut<'a> {
    data: &'a mut [f32],
    shape: [usize; 2],
    stride: usize,
}

impl<'a> MatMut<'a> {
    /// A view of `shape` on the slice, `stride` from one row to the next.
    ///
    /// # Panics
    ///
    /// Where rows overlap or an element would lie outside of the slice, which is a mistake in a
    /// kernel.
    pub fn new(data: &'a mut [f32], shape: [usize; 2], stride: usize) -> Self {
        assert!(stride >= shape[1] || shape[0] <= 1, "rows that overlap");
        assert!(
            end(shape, [stride, 1]).is_some_and(|end| end <= data.len()),
            "a view beyond its data"
        );
        Self { data, shape, stride }
    }

    /// A view of rows that lie one after the other.
    pub fn dense(data: &'a mut [f32], shape: [usize; 2]) -> Self {
        Self::new(data, shape, shape[1])
    }

    /// Rows and columns.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// Columns `start..start + count`.
    ///
    /// # Panics
    ///
    /// Where there are not so many, which is a mistake in a kernel.
    pub fn columns(&mut self, start: usize, count: usize) -> MatMut<'_> {
        assert!(start + count <= self.shape[1], "columns beyond the matrix");
        let from = start.min(self.data.len());
        MatMut::new(&mut self.data[from..], [self.shape[0], count], self.stride)
    }

    /// Overwrites the values by those of `from`, row by row, or adds them.
    pub(crate) fn put(&mut self, accumulate: Accumulate, from: &[f32]) {
        let width = self.shape[1].max(1);
        for (row, from) in self.data.chunks_mut(self.stride.max(1)).zip(from.chunks_exact(width)) {
            match accumulate {
                Accumulate::Set => row[..width].copy_from_slice(from),
                Accumulate::Add => row.iter_mut().zip(from).for_each(|(to, more)| *to += more),
            }
        }
    }

    /// Its columns in parts of `width`, the last with what is left; of each part its rows.
    pub(crate) fn split(self, width: usize) -> Vec<Vec<&'a mut [f32]>> {
        let [rows, columns] = self.shape;
        let mut parts = Vec::new();
        parts.resize_with(columns.div_ceil(width), || Vec::with_capacity(rows));
        for row in self.data.chunks_mut(self.stride.max(1)).take(rows) {
            for (part, piece) in parts.iter_mut().zip(row[..columns].chunks_mut(width)) {
                part.push(piece);
            }
        }
        parts
    }
}

/// One past the last element; none where that is more than can be counted.
fn end([rows, columns]: [usize; 2], [down, along]: [usize; 2]) -> Option<usize> {
    if rows == 0 || columns == 0 {
        return Some(0);
    }
    let last = (rows - 1).checked_mul(down)?.checked_add((columns - 1).checked_mul(along)?)?;
    last.checked_add(1)
}

/// What becomes of the destination's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accumulate {
    /// They are overwritten.
    Set,
    /// The product is added to them.
    Add,
}

impl Accumulate {
    /// Puts a number of a product where it belongs.
    #[inline(always)]
    pub(crate) fn put(self, y: &mut f32, product: f32) {
        match self {
            Self::Set => *y = product,
            Self::Add => *y += product,
        }
    }
}

/// Who multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// The calling thread.
    One,
    /// All of rayon's, where the product is large enough.
    All,
}

/// Below so many multiplications a thread costs more than it gives.
pub(crate) const SMALL: usize = 1 << 18;

impl Threads {
    /// How many of them a product of so many multiplications is worth.
    pub(crate) fn worth(self, multiplications: usize) -> usize {
        match self {
            Self::One => 1,
            Self::All => rayon::current_num_threads().min(multiplications / SMALL).max(1),
        }
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
pub fn product(
    dst: MatMut<'_>,
    accumulate: Accumulate,
    lhs: MatRef<'_>,
    rhs: MatRef<'_>,
    threads: Threads,
) {
    let [m, n] = dst.shape;
    let k = lhs.shape[1];
    assert_eq!((lhs.shape[0], rhs.shape), (m, [k, n]), "shapes of a product");
    let form = narrow::Form::of(lhs, rhs);
    if m <= FEW
        && !form.is_some_and(narrow::Form::is_gradient)
        && let Some(weight) = few_rows::view(rhs)
    {
        return few_rows::product(dst, accumulate, lhs, weight, threads);
    }
    let count = threads.worth(m * n * k);
    if let Some(form) = form {
        return narrow::product(form, dst, accumulate, lhs, rhs, count);
    }
    multiply(dst, accumulate, lhs, rhs, count);
}

/// By panels or by `gemm`, on at most `count` threads.
fn multiply(
    dst: MatMut<'_>,
    accumulate: Accumulate,
    lhs: MatRef<'_>,
    rhs: MatRef<'_>,
    count: usize,
) {
    let ([m, n], k) = (dst.shape, lhs.shape[1]);
    debug_assert_eq!((lhs.shape[0], rhs.shape), (m, [k, n]));
    // SAFETY: making the view asserted that its elements lie in its slice and that its rows do not overlap. It
    // is borrowed mutably, so that nothing else aliases it, and all of the slice has values.
    unsafe { write_shared((dst.data.as_mut_ptr(), dst.stride), accumulate, (lhs, rhs), count) }
}

/// The product into memory that may hold no values yet, on at most `count` threads. What an element's bits are is decided here, for all pieces.
///
/// # Safety
///
/// As [`write`].
unsafe fn write_shared(
    dst: (*mut f32, usize),
    accumulate: Accumulate,
    (lhs, rhs): (MatRef<'_>, MatRef<'_>),
    count: usize,
) {
    // SAFETY: the elements are those of the rows of `lhs` and the columns of `rhs`, which the caller promises.
    unsafe {
        match panels::faster(lhs, rhs) {
            Some(weight) => {
                pieces::packed(dst, accumulate, (lhs, weight, rhs.shape[1]), None, count);
            }
            None => pieces::write(dst, accumulate, (lhs, rhs), count),
        }
    }
}

/// The product by `gemm` into memory that may hold no values yet, on the calling thread.
///
/// # Safety
///
/// Elements `dst + i * stride + j` for the rows `i` of `lhs` and the columns `j` of `rhs` can be written, by nobody else meanwhile, and
/// no two are the same; where they are added to, they have values. `lhs` has as many columns as `rhs` has rows.
unsafe fn write(
    dst: *mut f32,
    stride: usize,
    accumulate: Accumulate,
    lhs: MatRef<'_>,
    rhs: MatRef<'_>,
) {
    for rows in parts(lhs.shape[0], BAND) {
        let at = dst.wrapping_add(rows.start * stride);
        let lhs = lhs.rows(rows.start, rows.len());
        // SAFETY: the band's elements are those of its rows, which the caller promises.
        unsafe { write_band(at, stride, accumulate, lhs, rhs) }
    }
}

/// A thread packs so many rows of the left operand at most: 2 MiB of them.
///
/// `gemm` packs all rows of one operand at once, and what a thread's heap held once stays with it: the gradient of a model's head has as
/// many rows as there are tokens in the vocabulary. It sums alike whatever the number of rows, but where both sides are at most 64: no
/// band of several is so small.
const BAND: usize = 1024;

/// `count` in parts of about the same length, at most `most`.
fn parts(count: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let parts = count.div_ceil(most);
    (0..parts).map(move |part| count * part / parts..count * (part + 1) / parts)
}

/// The product of a band of rows.
///
/// # Safety
///
/// As [`write`].
unsafe fn write_band(
    dst: *mut f32,
    stride: usize,
    accumulate: Accumulate,
    lhs: MatRef<'_>,
    rhs: MatRef<'_>,
) {
    let ([m, k], [_, n]) = (lhs.shape, rhs.shape);
    let (read, alpha) = match accumulate {
        Accumulate::Set => (false, 0.0),
        Accumulate::Add => (true, 1.0),
    };
    // SAFETY: `gemm` reads `lhs` at `i * strides[0] + j * strides[1]` for i < m and j < k, `rhs`
    // alike for i < k and j < n, and writes `dst` at `i * stride + j` for i < m and j < n, which it reads only
    // where `read` says so. The views were made with these shapes, and making a view asserts that
    // its largest such index lies in its slice; strides are not negative, so that the smallest is
    // 0. A stride fits an isize, because it is at most an index into a slice of f32 wherever it
    // is multiplied by more than 0, and is not used otherwise. What is written is the caller's to
    // answer for.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            dst,
            1,
            stride as isize,
            read,
            lhs.data.as_ptr(),
            lhs.strides[1] as isize,
            lhs.strides[0] as isize,
            rhs.data.as_ptr(),
            rhs.strides[1] as isize,
            rhs.strides[0] as isize,
            alpha,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// A low-rank product that is added to a wide one of as many rows and columns: `[m, r]` and `[r, n]`.
pub type LowRank<'a> = (MatRef<'a>, MatRef<'a>);

/// `lhs rhs` in memory of its own, whose rows lie one after the other, and where there is a low-rank product, that added to it. Memory is not
/// cleared before the product is written to it, but where a product has a narrow side or few rows.
///
/// # Shapes
///
/// - lhs: `[m, k]`, rhs: `[k, n]`, low: `[m, r]` and `[r, n]`, output: `[m, n]`
///
/// # Panics
///
/// Where the shapes do not agree, which is a mistake in a kernel.
pub fn fresh(
    lhs: MatRef<'_>,
    rhs: MatRef<'_>,
    low: Option<LowRank<'_>>,
    threads: Threads,
) -> Vec<f32> {
    let ([m, k], n) = (lhs.shape, rhs.shape[1]);
    assert_eq!(k, rhs.shape[0], "shapes of a product");
    if m <= FEW || narrow::Form::of(lhs, rhs).is_some() {
        let mut out = vec![0.0; m * n];
        product(MatMut::dense(&mut out, [m, n]), Accumulate::Set, lhs, rhs, threads);
        add(&mut out, low, [m, n], threads);
        return out;
    }
    if let Some(weight) = panels::faster(lhs, rhs) {
        return fresh_packed(lhs, (weight, n), low, threads);
    }
    let count = threads.worth(m * n * k);
    // SAFETY: there is memory for each row and column, rows one after the other, and each of them is written; none is added to, so
    // that they need no values.
    let mut out = unsafe {
        written(m * n, |dst| pieces::write((dst, n), Accumulate::Set, (lhs, rhs), count))
    };
    add(&mut out, low, [m, n], threads);
    out
}

/// The same with a weight as it lies, of `n` columns and as many rows as `lhs` has columns, which are some: by panels. The low-rank product
/// is added to a block of columns while that is in a core's cache.
pub(crate) fn fresh_packed<W: Weight>(
    lhs: MatRef<'_>,
    (weight, n): ((W, Lies), usize),
    low: Option<LowRank<'_>>,
    threads: Threads,
) -> Vec<f32> {
    let [m, k] = lhs.shape;
    assert!(k > 0, "a product of nothing");
    let count = threads.worth(m * n * k);
    let mut held = Vec::new();
    let lhs = laid_along(lhs, &mut held);
    let beside = low.filter(|(low, factor)| {
        assert_eq!((low.shape[0], factor.shape), (m, [low.shape[1], n]), "shapes of a product");
        panels::lies_along(*low)
    });
    let beside = beside.and_then(|(low, factor)| Some((low, few_rows::view(factor)?)));
    // SAFETY: there is memory for each row and column, rows one after the other, and each of them is written before it is added to, as
    // there is something to sum; no other values are needed.
    let mut out = unsafe {
        written(m * n, |dst| {
            pieces::packed((dst, n), Accumulate::Set, (lhs, weight, n), beside, count);
        })
    };
    if beside.is_none() {
        add(&mut out, low, [m, n], threads);
    }
    out
}

/// The matrix, or where its rows do not lie along memory, a copy whose rows do.
fn laid_along<'a>(matrix: MatRef<'a>, held: &'a mut Vec<f32>) -> MatRef<'a> {
    if panels::lies_along(matrix) {
        return matrix;
    }
    *held = narrow::rows_of(matrix, matrix.shape[1]);
    MatRef::dense(held, matrix.shape)
}

/// Adds a low-rank product, if there is one.
pub(crate) fn add(out: &mut [f32], low: Option<LowRank<'_>>, shape: [usize; 2], threads: Threads) {
    if let Some((low, factor)) = low {
        product(MatMut::dense(out, shape), Accumulate::Add, low, factor, threads);
    }
}

/// So many values.
///
/// # Safety
///
/// `write` writes so many from the address on that it is given, where there is memory for them without values.
unsafe fn written(count: usize, write: impl FnOnce(*mut f32)) -> Vec<f32> {
    let mut out = Vec::with_capacity(count);
    write(out.as_mut_ptr());
    // SAFETY: there is room for so many, and each was written, which the caller promises.
    unsafe { out.set_len(count) };
    out
}

/// `dst = lhs rhs`, or `dst += lhs rhs`, with a weight as it lies, of as many rows as `lhs` has columns, which are some: by panels, on at most
/// `count` threads.
///
/// # Shapes
///
/// - lhs: `[m, k]`, dst: `[m, n]`; the weight: `[k, n]` along, `[n, k]` across
pub(crate) fn packed<W: Weight>(
    dst: MatMut<'_>,
    accumulate: Accumulate,
    lhs: MatRef<'_>,
    weight: (W, Lies),
    count: usize,
) {
    let ([m, n], k) = (dst.shape, lhs.shape[1]);
    assert!(lhs.shape[0] == m && k > 0, "shapes of a product");
    let mut held = Vec::new();
    let lhs = laid_along(lhs, &mut held);
    // SAFETY: the view has proved that all its rows and columns lie in its slice, which is borrowed mutably and has values.
    unsafe {
        let at = (dst.data.as_mut_ptr(), dst.stride);
        pieces::packed(at, accumulate, (lhs, weight, n), None, count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is there before is not a number, and would stay one, or spread, were it read.
    #[test]
    fn memory_without_values_is_written_whole() {
        let shapes = [[64, 0, 7], [65, 33, 129], [64, 5, 700], [130, 300, 40], [200, 130, 257]];
        for [m, k, n] in shapes.into_iter().chain([[3, 5, 7], [70, 4, 0], [0, 4, 4]]) {
            let (a, b) = (values(m * k, 1), values(k * n, 2));
            let turned: Vec<f32> = (0..k * n).map(|at| b[at % n * k + at / n]).collect();
            let lhs = MatRef::dense(&a, [m, k]);
            let stored = MatRef::dense(&b, [n, k]).transposed();
            let along = MatRef::dense(&turned, [k, n]);
            let mut expected = vec![0.0; m * n];
            by_hand(&mut expected, n, Accumulate::Set, lhs, stored);
            for (rhs, threads) in [along, stored]
                .into_iter()
                .flat_map(|rhs| [Threads::One, Threads::All].map(|threads| (rhs, threads)))
            {
                let mut written = vec![f32::NAN; m * n];
                let (dst, count) = ((written.as_mut_ptr(), n), threads.worth(m * n * k));
                // SAFETY: `written` has an element for each row and column.
                unsafe { write_shared(dst, Accumulate::Set, (lhs, rhs), count) };
                assert_eq!(written, expected, "{m} {k} {n} {threads:?}");
                assert_eq!(fresh(lhs, rhs, None, threads), expected, "{m} {k} {n} {threads:?}");
            }
        }
    }

    /// In one pass or in two: the same bits, of rows that lie along and of such as run down.
    #[test]
    fn a_low_rank_product_beside_a_wide_one_is_added_to_it() {
        for [m, k, n, r] in
            [[130, 600, 150, 16], [300, 64, 577, 3], [20, 70, 90, 8], [200, 33, 40, 64]]
        {
            let (a, b) = (uneven(m * k, 1), uneven(k * n, 2));
            let (low, factor) = (uneven(m * r, 3), uneven(r * n, 4));
            for [lhs_down, rhs_down, low_down, factor_down] in
                (0..16).map(|at| [1, 2, 4, 8].map(|bit| at & bit > 0))
            {
                let view = |data, [rows, columns]: [usize; 2], down| match down {
                    false => MatRef::dense(data, [rows, columns]),
                    true => MatRef::dense(data, [columns, rows]).transposed(),
                };
                let (lhs, rhs) = (view(&a, [m, k], lhs_down), view(&b, [k, n], rhs_down));
                let low = (view(&low, [m, r], low_down), view(&factor, [r, n], factor_down));
                let mut expected = fresh(lhs, rhs, None, Threads::All);
                add(&mut expected, Some(low), [m, n], Threads::All);
                let together = fresh(lhs, rhs, Some(low), Threads::All);
                assert!(together == expected, "{m} {k} {n} {r} {lhs_down} {rhs_down}");
            }
        }
    }

    /// Values that f32 adds exactly, so that the order of additions does not matter.
    pub(super) fn values(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7 + seed * 13) % 17) as f32 - 8.0).collect()
    }

    /// Values whose sums depend on the order of additions.
    pub(super) fn uneven(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 37 + seed) as f32 * 0.618).sin()).collect()
    }

    /// The safe twin: three loops over indices.
    fn by_hand(out: &mut [f32], n: usize, add: Accumulate, lhs: MatRef<'_>, rhs: MatRef<'_>) {
        let at = |m: MatRef<'_>, i, j| m.data[i * m.strides[0] + j * m.strides[1]];
        for i in 0..lhs.shape[0] {
            for j in 0..n {
                let sum: f32 = (0..lhs.shape[1]).map(|k| at(lhs, i, k) * at(rhs, k, j)).sum();
                let old = if add == Accumulate::Add { out[i * n + j] } else { 0.0 };
                out[i * n + j] = old + sum;
            }
        }
    }

    #[test]
    fn products_equal_three_loops_on_every_path() {
        // Small, split by rows (narrow k and narrow n, rows that do not divide), left to gemm.
        for [m, k, n] in [[3, 5, 2], [301, 600, 16], [517, 16, 130], [130, 140, 150], [0, 4, 4]] {
            let (a, b) = (values(m * k, 1), values(k * n, 2));
            for transposed in [false, true] {
                let (lhs, rhs) = match transposed {
                    false => (MatRef::dense(&a, [m, k]), MatRef::dense(&b, [k, n])),
                    true => (
                        MatRef::dense(&a, [k, m]).transposed(),
                        MatRef::dense(&b, [n, k]).transposed(),
                    ),
                };
                for accumulate in [Accumulate::Set, Accumulate::Add] {
                    for threads in [Threads::One, Threads::All] {
                        let mut expected = values(m * n, 3);
                        let mut got = expected.clone();
                        by_hand(&mut expected, n, accumulate, lhs, rhs);
                        product(MatMut::dense(&mut got, [m, n]), accumulate, lhs, rhs, threads);
                        assert_eq!(got, expected, "{m} {k} {n} {accumulate:?} {threads:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_wide_stride_leaves_what_lies_between_rows() {
        let (a, b) = (values(400 * 40, 1), values(40 * 30, 2));
        let (lhs, rhs) = (MatRef::dense(&a, [400, 40]), MatRef::dense(&b, [40, 30]));
        let mut dense = vec![0.0; 400 * 30];
        by_hand(&mut dense, 30, Accumulate::Set, lhs, rhs);
        let mut wide = vec![7.0; 399 * 50 + 30];
        product(MatMut::new(&mut wide, [400, 30], 50), Accumulate::Set, lhs, rhs, Threads::All);
        for (row, expected) in wide.chunks(50).zip(dense.chunks(30)) {
            assert_eq!(&row[..30], expected);
            assert!(row[30..].iter().all(|&value| value == 7.0));
        }
    }

    #[test]
    fn bands_cover_the_rows_and_are_not_large() {
        for rows in [0, 1, 64, BAND, BAND + 1, 5000, 128_256] {
            let mut next = 0;
            for band in parts(rows, BAND) {
                assert_eq!(band.start, next, "{rows}");
                assert!(band.len() <= BAND && (band.len() > 64 || band.len() == rows), "{rows}");
                next = band.end;
            }
            assert_eq!(next, rows);
        }
    }

    /// Several bands write what one writes that has the same rows.
    #[test]
    fn bits_depend_on_no_band() {
        let [m, k, n] = [2 * BAND + 3, 70, 66];
        let (a, b) = (uneven(m * k, 1), uneven(k * n, 2));
        let (lhs, rhs) = (MatRef::dense(&a, [m, k]), MatRef::dense(&b, [k, n]));
        let (mut whole, mut banded) = (vec![0.0; m * n], vec![0.0; m * n]);
        // SAFETY: both have an element for each row and column.
        unsafe {
            write_band(whole.as_mut_ptr(), n, Accumulate::Set, lhs, rhs);
            write(banded.as_mut_ptr(), n, Accumulate::Set, lhs, rhs);
        }
        assert!(whole == banded);
    }

    #[test]
    #[should_panic(expected = "beyond its data")]
    fn a_view_beyond_its_data_is_refused() {
        MatRef::new(&[0.0; 5], [2, 3], [3, 1]);
    }

    #[test]
    #[should_panic(expected = "beyond its data")]
    fn a_view_whose_end_cannot_be_counted_is_refused() {
        MatRef::new(&[0.0; 5], [3, 3], [usize::MAX / 2 + 1, 1]);
    }

    #[test]
    #[should_panic(expected = "overlap")]
    fn overlapping_rows_are_refused() {
        MatMut::new(&mut [0.0; 5], [2, 3], 2);
    }
}
