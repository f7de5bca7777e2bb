//! A product whose right operand is packed, a block of it at a time, into panels as wide as a tile, and multiplied from there.
//!
//! A panel has the elements of its columns in the order in which a tile reads them. A block of panels stays in the core's cache while the rows
//! of the left operand, which is read as it lies, go past. What is packed comes from where it lies, or is converted on the way: of a matrix
//! that is not held in f32, no more than a block for each core ever is.
//!
//! An element's products are summed in blocks whose lengths depend on their number alone, so that its bits depend on neither the
//! piece of the result, nor the thread, nor the width of vectors.
//!
//! Left out: a left operand whose rows do not lie along memory, which would have to be packed as well.

use std::cell::Cell;
use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::tile::{Operands, strip};
use super::turn::{SQUARE, Turn};
use super::{Accumulate, MatRef, parts};
use crate::few_rows::{self, Dense, LINE, Lies, Weight};

/// Products that are summed before the sums are written, at most. (On a Zen 3 core 288 are a tenth slower: every tile begins with waiting.)
const INNER: usize = 576;

/// Columns of a block. One of them in f32 (288 KiB) and the rows below lie in a core's own cache.
const OUTER: usize = 128;

/// Rows of the left operand that go past a block together: a multiple of the heights of tiles.
const ROWS: usize = 48;

/// Rows that lie along are asked for so many ahead.
const AHEAD: usize = 6;

/// Rows of the left operand from which on turning what lies across is the smaller part of the work. (Of 70 `gemm` is a sixth faster.)
const TURNED: usize = 128;

thread_local! {
    /// A block and what is converted for it, of a size that depends on the processor alone.
    static SCRATCH: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// A piece of a result, which the calling thread writes.
#[derive(Debug)]
pub(super) struct Work<'a, W> {
    /// Where the piece begins.
    dst: *mut f32,
    /// From one row of the result to the next.
    stride: usize,
    accumulate: Accumulate,
    /// The piece's rows.
    lhs: MatRef<'a>,
    /// All of it, and how it lies.
    weight: (W, Lies),
    /// The piece's columns of it.
    columns: Range<usize>,
    /// Another pair of the same sides, whose product is added.
    more: Option<(MatRef<'a>, (Dense<'a>, Lies))>,
}

impl<'a, W: Weight> Work<'a, W> {
    /// `weight` has as many rows (as it is multiplied with) as `lhs` has columns.
    ///
    /// # Safety
    ///
    /// Elements `dst + i * stride + j` for the rows `i` of `lhs` and `j < columns.len()` can be written, by nobody else as long as the work
    /// is there, and no two are the same; where they are added to, they have values.
    ///
    /// # Panics
    ///
    /// Where rows of `lhs` do not lie along memory, which is a mistake in a kernel.
    pub(super) unsafe fn new(
        (dst, stride): (*mut f32, usize),
        accumulate: Accumulate,
        lhs: MatRef<'a>,
        weight: (W, Lies),
        columns: Range<usize>,
    ) -> Self {
        assert!(lies_along(lhs), "rows that do not lie along memory");
        Self { dst, stride, accumulate, lhs, weight, columns, more: None }
    }

    /// The product of another pair is added to it: of the rows of `lhs` with a matrix of all columns.
    ///
    /// # Panics
    ///
    /// Where rows of `lhs` do not lie along memory, or are others, which is a mistake in a kernel.
    pub(super) fn and(self, lhs: MatRef<'a>, weight: (Dense<'a>, Lies)) -> Self {
        assert!(lies_along(lhs) && lhs.shape[0] == self.lhs.shape[0], "rows of another product");
        Self { more: Some((lhs, weight)), ..self }
    }

    /// In code for the widest vectors at hand.
    pub(super) fn run(self) {
        let mut scratch = SCRATCH.take();
        pulp::Arch::new().dispatch(Blocks { work: self, scratch: &mut scratch });
        SCRATCH.set(scratch);
    }
}

/// The right operand as it is packed, where panels of f32 are multiplied faster than by `gemm`: by vectors of 8 (AVX2) they are; by others it
/// has not been measured.
pub(super) fn faster<'a>(lhs: MatRef<'_>, rhs: MatRef<'a>) -> Option<(Dense<'a>, Lies)> {
    #[cfg(target_arch = "x86_64")]
    let measured = matches!(pulp::Arch::new(), pulp::x86::Arch::V3(_));
    #[cfg(not(target_arch = "x86_64"))]
    let measured = false;
    let [m, k] = lhs.shape;
    let is_worth = |lies: Lies| k > 0 && lies_along(lhs) && (lies == Lies::Along || m >= TURNED);
    few_rows::view(rhs).filter(|(_, lies)| measured && is_worth(*lies))
}

/// Whether elements of a row lie one after the other.
pub(super) fn lies_along(matrix: MatRef<'_>) -> bool {
    matrix.strides[1] == 1 || matrix.shape[1] <= 1
}

/// The work on a piece, block by block.
struct Blocks<'a, 's, W> {
    work: Work<'a, W>,
    scratch: &'s mut Vec<f32>,
}

impl<W: Weight> WithSimd for Blocks<'_, '_, W> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Work { dst, stride, accumulate, lhs, weight, columns, more } = self.work;
        let width = 2 * S::F32_LANES;
        // A line more than a panel has, so that panels do not fall on each other in the cache.
        let gap = INNER * width + LINE;
        let panels = OUTER / width * gap;
        self.scratch.resize(panels + SQUARE * INNER, 0.0);
        let (panels, converted) = self.scratch.split_at_mut(panels);
        let mut scratch = Scratch { panels, width, gap, converted, turn: Turn::new() };
        for panels in parts(columns.len().div_ceil(width), OUTER / width) {
            let (start, end) = (panels.start * width, columns.len().min(panels.end * width));
            let dst = dst.wrapping_add(start);
            let of = columns.start + start..columns.start + end;
            // SAFETY: the columns' part of what `Work::new` was promised, which has asserted the rest; `and` has for the other pair.
            unsafe {
                columns_of(simd, (dst, stride), accumulate, lhs, weight, of.clone(), &mut scratch);
                if let Some((lhs, weight)) = more {
                    columns_of(simd, (dst, stride), Accumulate::Add, lhs, weight, of, &mut scratch);
                }
            }
        }
    }
}

/// A block of panels, and what is converted for it.
struct Scratch<'a> {
    panels: &'a mut [f32],
    /// Columns of a panel.
    width: usize,
    /// From one panel to the next, more than `INNER` rows of it.
    gap: usize,
    converted: &'a mut [f32],
    turn: Turn,
}

/// The product of as many columns as are packed together.
///
/// # Safety
///
/// Rows of `lhs` lie along memory. Elements `dst + i * stride + j` for the rows `i` of `lhs` and `j < columns.len()` can be written, by nobody
/// else meanwhile; where they are added to, they have values.
#[inline(always)]
unsafe fn columns_of<S: Simd, W: Weight>(
    simd: S,
    (dst, stride): (*mut f32, usize),
    accumulate: Accumulate,
    lhs: MatRef<'_>,
    (weight, lies): (W, Lies),
    columns: Range<usize>,
    scratch: &mut Scratch<'_>,
) {
    let [m, k] = lhs.shape;
    for inner in parts(k, INNER) {
        match lies {
            Lies::Along => scratch.along(weight, inner.clone(), columns.clone()),
            Lies::Across => scratch.across(weight, inner.clone(), columns.clone()),
        }
        for top in (0..m).step_by(ROWS) {
            let rows = ROWS.min(m - top);
            let lefts = (0..columns.len()).step_by(scratch.width);
            for (left, panel) in lefts.zip(scratch.panels.chunks_exact(scratch.gap)) {
                let at = Operands {
                    a: lhs.data.as_ptr().wrapping_add(top * lhs.strides[0] + inner.start),
                    stride: lhs.strides[0],
                    b: panel.as_ptr(),
                    b_stride: scratch.width,
                    c: dst.wrapping_add(top * stride + left),
                    c_stride: stride,
                    k: inner.len(),
                    columns: scratch.width.min(columns.len() - left),
                    add: accumulate == Accumulate::Add || inner.start > 0,
                };
                // SAFETY: `lhs` is a view of [m, k] that has proved that its elements lie in its data, those of a row one after the
                // other, as the caller promises: rows `top..top + rows` of m and products `inner` of k are such. A panel has
                // more than `INNER` rows of `width`, which are two vectors, so `inner.len()` rows of them. The elements of `dst` are of
                // rows below m and, from `left` on, of `columns` columns: what the caller promises.
                unsafe {
                    match at.columns > S::F32_LANES {
                        true => strip::<S, 2, false>(simd, at, rows),
                        false => strip::<S, 1, false>(simd, at, rows),
                    }
                }
            }
        }
    }
}

impl Scratch<'_> {
    /// Packs rows and columns of a weight that lies along.
    #[inline(always)]
    fn along<W: Weight>(&mut self, weight: W, rows: Range<usize>, columns: Range<usize>) {
        for (p, row) in rows.enumerate() {
            for column in columns.clone().step_by(LINE) {
                weight.fetch(row + AHEAD, column);
            }
            let converted = &mut self.converted[..columns.len()];
            let run = weight.piece(row, columns.clone(), converted);
            let whole = run.chunks_exact(self.width);
            let rest = whole.remainder();
            let mut panels = self.panels.chunks_exact_mut(self.gap);
            for (run, panel) in whole.zip(&mut panels) {
                panel[p * self.width..][..self.width].copy_from_slice(run);
            }
            if let (false, Some(panel)) = (rest.is_empty(), panels.next()) {
                panel[p * self.width..][..rest.len()].copy_from_slice(rest);
            }
        }
    }

    /// Packs rows (as they are multiplied with) and columns of a weight that lies across.
    #[inline(always)]
    fn across<W: Weight>(&mut self, weight: W, rows: Range<usize>, columns: Range<usize>) {
        let starts = columns.clone().step_by(self.width);
        for (start, panel) in starts.zip(self.panels.chunks_exact_mut(self.gap)) {
            let count = self.width.min(columns.end - start);
            let squares = count / SQUARE * SQUARE;
            for first in (0..squares).step_by(SQUARE) {
                let mut converted = self.converted.chunks_exact_mut(INNER);
                let runs: [&[f32]; SQUARE] = std::array::from_fn(|j| {
                    let converted = converted.next().unwrap_or_default();
                    weight.piece(start + first + j, rows.clone(), &mut converted[..rows.len()])
                });
                let fetch = |p: usize| {
                    for j in SQUARE..2 * SQUARE {
                        weight.fetch(start + first + j, rows.start + p);
                    }
                };
                turn(self.turn, runs, &mut panel[first..], self.width, fetch);
            }
            for j in squares..count {
                let converted = &mut self.converted[..rows.len()];
                let run = weight.piece(start + j, rows.clone(), converted);
                for (to, &value) in panel[j..].iter_mut().step_by(self.width).zip(run) {
                    *to = value;
                }
            }
        }
    }
}

/// Writes runs of one length as columns, `width` from one row to the next.
#[inline(always)]
fn turn(turn: Turn, runs: [&[f32]; SQUARE], out: &mut [f32], width: usize, fetch: impl Fn(usize)) {
    let len = runs[0].len();
    for at in (0..len / SQUARE * SQUARE).step_by(SQUARE) {
        if at.is_multiple_of(LINE) {
            fetch(at);
        }
        let mut rows = [&[0.0; SQUARE]; SQUARE];
        for (row, run) in rows.iter_mut().zip(&runs) {
            if let Some(piece) = run[at..].first_chunk() {
                *row = piece;
            }
        }
        turn.square(rows, &mut out[at * width..], width);
    }
    for at in len / SQUARE * SQUARE..len {
        for (to, run) in out[at * width..].iter_mut().zip(&runs) {
            *to = run[at];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::few_rows::view;
    use crate::product::tests::uneven;

    /// Against sums in f64: what f32 rounds in `k` steps is at most `k` times 2^-24 of the sum of the products' sizes. What lies between the
    /// rows of the result stays.
    #[test]
    fn panels_multiply_as_by_hand() {
        let one =
            [[64, 1, 1], [7, 5, 33], [50, 577, 130], [97, 1200, 17], [48, 576, 128], [1, 600, 9]];
        for [m, k, n] in one {
            let (a, b) = (uneven(m * k, 1), uneven(k * n, 2));
            let lhs = MatRef::dense(&a, [m, k]);
            let lying = [MatRef::dense(&b, [k, n]), MatRef::dense(&b, [n, k]).transposed()];
            for (rhs, accumulate) in lying.into_iter().flat_map(|rhs| {
                [Accumulate::Set, Accumulate::Add].map(|accumulate| (rhs, accumulate))
            }) {
                let stride = n + 3;
                let mut out = vec![0.25; m * stride];
                let weight = view(rhs).unwrap();
                // SAFETY: `out` has an element for each row and column, with values.
                unsafe { Work::new((out.as_mut_ptr(), stride), accumulate, lhs, weight, 0..n) }
                    .run();
                for (i, row) in out.chunks_exact(stride).enumerate() {
                    assert_eq!(row[n..], [0.25; 3], "{m} {k} {n}");
                    for (j, &value) in row[..n].iter().enumerate() {
                        let before = if accumulate == Accumulate::Add { 0.25 } else { 0.0 };
                        let (mut sum, mut size) = (before, before);
                        for p in 0..k {
                            let factor = rhs.data[p * rhs.strides[0] + j * rhs.strides[1]];
                            let product = f64::from(a[i * k + p]) * f64::from(factor);
                            sum += product;
                            size += product.abs();
                        }
                        let bound = (k + 1) as f64 * 2_f64.powi(-24) * size;
                        assert!((f64::from(value) - sum).abs() <= bound, "{m} {k} {n} at {i} {j}");
                    }
                }
            }
        }
    }
}
