//! Products of a few rows, which take as long as it takes to read the matrix: every value of it is read
//! once for all rows, by all cores, each of which has columns of its own of the result.
//!
//! A product of many rows has work to do for each value that it reads, packs the matrix into panels and
//! multiplies from there. With sixteen rows or so the time goes into reading, and up to some fifty, packing
//! costs more than it gives. Then the order of reading decides:
//!
//! - where rows of `rhs` lie along memory (a linear's weight, `[d_in, d_out]`), eight of them are read side
//!   by side, each from left to right, and added to the rows of the result, a block of which stays in the
//!   core's own cache (`along`);
//! - where columns do (an embedding's table that serves as a head, a cache of keys), each is read from end
//!   to end, four side by side, and multiplied with all rows (`across`).
//!
//! What is read next is asked for ahead of time. A matrix need not be one of f32: a `Weight` gives
//! pieces of its rows, from where they lie or converted into scratch, or multiplies where it converts.
//!
//! **A row of the result is bit for bit the same whatever rows are beside it**, and however many threads
//! there are: each of its numbers is summed in an order that the length of the sum alone decides.
//!
//! Vectors and the choice among instruction sets at run time are pulp's.

#![allow(unsafe_code, reason = "asking for memory ahead of time takes a pointer")]

mod across;
mod along;
#[cfg(test)]
mod tests;

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::product::{Accumulate, MatMut, MatRef, SMALL, Threads};

/// Rows up to which a product is one of these. (On a Cascade Lake core, streaming 576 x 1536: 41 against 22 GFLOP/s
/// of the packed product at 16 rows, 52 against 33 at 32, the same at 64.)
pub const FEW: usize = 63;

/// Columns of the result that a core gets are a multiple of so many: what several cores write lies in
/// different lines.
const GRAIN: usize = 64;

/// Numbers of a line of memory, and of the widest vector.
pub(crate) const LINE: usize = 16;

/// Numbers that begin with a line of memory, so that a vector of them lies in one.
struct Aligned {
    values: Vec<f32>,
    start: usize,
    len: usize,
}

impl Aligned {
    fn zeros(len: usize) -> Self {
        let values = vec![0.0_f32; len + LINE];
        let start = values.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        Self { values, start, len }
    }

    fn values(&self) -> &[f32] {
        &self.values[self.start..][..self.len]
    }

    fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values[self.start..][..self.len]
    }
}

/// A matrix whose rows lie along memory.
pub(crate) trait Weight: Copy + Send + Sync {
    /// Numbers of a row that are worth having at a time.
    const PIECE: usize;
    /// Whether [`Self::piece`] writes into its scratch.
    const CONVERTS: bool;

    /// Some columns of a row, where they lie or in the scratch, which is as long.
    fn piece<'a>(&'a self, row: usize, columns: Range<usize>, scratch: &'a mut [f32]) -> &'a [f32];

    /// As [`Tiled::across`](crate::tiled::Tiled::across).
    fn across(
        &self,
        _first: usize,
        _x: (&[f32], usize),
        _ys: &mut [&mut [f32]],
        _accumulate: Accumulate,
    ) -> bool {
        false
    }

    /// Asks for the line of memory where an element lies; one that there is none of is passed over.
    fn fetch(&self, row: usize, column: usize);
}

/// A matrix of f32.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dense<'a> {
    data: &'a [f32],
    /// From one row to the next.
    stride: usize,
}

impl Weight for Dense<'_> {
    const PIECE: usize = 4096;
    const CONVERTS: bool = false;

    #[inline(always)]
    fn piece<'a>(&'a self, row: usize, columns: Range<usize>, _: &'a mut [f32]) -> &'a [f32] {
        &self.data[row * self.stride + columns.start..][..columns.len()]
    }

    #[inline(always)]
    fn fetch(&self, row: usize, column: usize) {
        fetch(self.data, row * self.stride + column);
    }
}

/// Asks for the line of memory where `values[at]` lies, if that is one of them.
#[inline(always)]
pub(crate) fn fetch<T>(values: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(value) = values.get(at) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the instruction is a hint: it gives no value, changes none and faults at no address, and
        // this one is of an element that is there. Every x86-64 processor has it (SSE).
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (values, at);
}

/// How the matrix on the right lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lies {
    /// Its rows are those of the [`Weight`].
    Along,
    /// Its columns are.
    Across,
}

/// The matrix as a product of few rows reads it; none where neither rows nor columns lie along memory.
pub(crate) fn view(rhs: MatRef<'_>) -> Option<(Dense<'_>, Lies)> {
    let (data, [_, columns], strides) = rhs.parts();
    match strides {
        [1, stride] if columns == 1 || stride != 1 => Some((Dense { data, stride }, Lies::Across)),
        [stride, 1] => Some((Dense { data, stride }, Lies::Along)),
        _ => None,
    }
}

/// `dst = lhs rhs`, or `dst += lhs rhs`, where `rhs` is the weight as it lies.
///
/// # Shapes
///
/// - lhs: `[m, k]`, dst: `[m, n]`; the weight: `[k, n]` along, `[n, k]` across
pub(crate) fn product<W: Weight>(
    dst: MatMut<'_>,
    accumulate: Accumulate,
    lhs: MatRef<'_>,
    (weight, lies): (W, Lies),
    threads: Threads,
) {
    let ([m, n], [_, k]) = (dst.shape(), lhs.shape());
    if m == 0 || n == 0 {
        return;
    }
    let cores = match threads {
        Threads::All if m * n * k >= SMALL / 4 => rayon::current_num_threads(),
        _ => 1,
    };
    let x = match lies {
        Lies::Along => along::packed(lhs),
        Lies::Across => across::packed(lhs),
    };
    let width = n.div_ceil(cores).next_multiple_of(GRAIN);
    let task = |(index, ys): (usize, &mut Vec<&mut [f32]>)| {
        let first = index * width;
        if lies == Lies::Across
            && weight.across(first, (x.values(), across::stride(k)), ys, accumulate)
        {
            return;
        }
        pulp::Arch::new().dispatch(Task { ys, first, x: x.values(), k, weight, lies, accumulate });
    };
    let mut parts = dst.split(width);
    match parts.as_mut_slice() {
        [ys] => task((0, ys)),
        parts => parts.par_iter_mut().enumerate().for_each(task),
    }
}

/// Columns of a product.
struct Task<'a, 'y, W> {
    /// Those of each row of the result.
    ys: &'a mut [&'y mut [f32]],
    /// The first of them.
    first: usize,
    /// The rows on the left, as `along::packed` or `across::packed` laid them out.
    x: &'a [f32],
    /// The length of a sum.
    k: usize,
    weight: W,
    lies: Lies,
    accumulate: Accumulate,
}

impl<W: Weight> WithSimd for Task<'_, '_, W> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.lies {
            Lies::Along => along::columns(simd, self),
            Lies::Across => across::columns(simd, self),
        }
    }
}
