//! Products with a narrow side, as those of a low-rank factor are: `gemm` packs both operands, which costs as much as multiplying
//! where each element is used for a few columns only. Here the long operand is read once, where it lies.
//!
//! - **Tall**: few columns, or few products summed (`x A`, `dy Bᵀ`, `low B`, `dlow Aᵀ`): rows of the result are shared out.
//! - **Flat**: few rows, of a left operand whose rows run down (`dB = lowᵀ dy`): columns are shared out.
//! - **Turned**: few columns, of such a left operand (`dA = xᵀ dlow`): the flat product of both transposed, and transposed again; of more
//!   than 32 columns where the sums are long.
//!
//! The order in which an element's products are summed depends on the form and on the operands' widths: a row's values are the same
//! whatever rows of the form are beside it and however many threads there are.
//!
//! Without vectors of 8 (AVX2) or 16 (AVX-512) elements a share is multiplied by `gemm`. Left out: sides that are less narrow, which are
//! `gemm`'s everywhere.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::tile::{Operands, strip};
use super::{Accumulate, MatMut, MatRef, multiply};

/// So many columns are few.
const FEW: usize = 32;

/// So many products are few to sum: of more, packing is the smaller part of the work.
const FEW_SUMS: usize = 16;

/// So many rows are few, or columns of a turned product: a window of the long operand that is at hand serves them all.
const FEW_ROWS: usize = 64;

/// A turned product of more columns than are [`FEW`] sums over more than so many times as many. Over fewer, what is turned is as large as
/// what is read: attention's gradients of keys (64 sums in 64 columns) are two to four times as fast packed.
const SUMS_OF_A_COLUMN: usize = 4;

/// So many rows of a tall product are worth a copy of its right operand, where that is not read as it lies.
const ROWS_OF_A_COPY: usize = 8;

/// Rows of a tall product that are gone through for all columns before the next: so few that each lies in a page that is at hand, and
/// in a stream that the processor fetches ahead. A multiple of the heights of tiles.
const BAND: usize = 24;

/// Elements of a flat product's right operand, whole rows of it, that are summed over before the next, for the same reason (128 KiB).
const WINDOW: usize = 1 << 15;

/// Elements of the right operand that stay in the first level of cache (24 KiB).
const RESIDENT: usize = 6144;

/// Columns of a flat product that a thread takes at a time: a multiple of the widths of tiles.
const COLUMNS: usize = 48;

/// How a product is gone about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Tall,
    Flat,
    Turned,
}

impl Form {
    /// The form of a product that is narrow; none of another, or of operands of which no side runs along memory.
    pub(super) fn of(lhs: MatRef<'_>, rhs: MatRef<'_>) -> Option<Self> {
        let ([m, k], n) = (lhs.shape, rhs.shape[1]);
        let down = lhs.strides[0] == 1 && lhs.strides[1] != 1;
        let runs = |strides: [usize; 2]| strides.contains(&1);
        if m == 0 || n == 0 || k == 0 || !runs(lhs.strides) {
            None
        } else if down && n <= FEW_ROWS && n <= m && runs(rhs.strides) {
            let is_packed = n > FEW && (FEW_SUMS + 1..=SUMS_OF_A_COLUMN * n).contains(&k);
            (!is_packed).then_some(Self::Turned)
        } else if down && m <= FEW_ROWS && rhs.strides[1] == 1 {
            Some(Self::Flat)
        } else if (n <= FEW || k <= FEW_SUMS) && (m >= ROWS_OF_A_COPY || as_it_lies(rhs)) {
            Some(Self::Tall)
        } else {
            None
        }
    }

    /// Whether it sums over the rows of a batch, as the gradients of factors do.
    pub(super) fn is_gradient(self) -> bool {
        self != Self::Tall
    }
}

/// Whether the columns of a tall product's right operand are read as they lie, in whole vectors.
fn as_it_lies(rhs: MatRef<'_>) -> bool {
    rhs.strides[1] == 1 && rhs.shape[1].is_multiple_of(16)
}

/// `dst = lhs rhs` or `dst += lhs rhs` of a product of that form, on `parts` threads.
pub(super) fn product(
    form: Form,
    dst: MatMut<'_>,
    accumulate: Accumulate,
    lhs: MatRef<'_>,
    rhs: MatRef<'_>,
    parts: usize,
) {
    match form {
        Form::Tall => tall(dst, accumulate, lhs, rhs, parts),
        Form::Flat => flat(dst, accumulate, lhs, rhs, parts),
        Form::Turned => turned(dst, accumulate, lhs, rhs, parts),
    }
}

fn tall(dst: MatMut<'_>, accumulate: Accumulate, lhs: MatRef<'_>, rhs: MatRef<'_>, parts: usize) {
    let [m, n] = dst.shape;
    // As many columns as vectors read, the last of them zeros.
    let padded = n.next_multiple_of(16);
    let held;
    let rhs = if as_it_lies(rhs) {
        rhs
    } else {
        held = rows_of(rhs, padded);
        MatRef::dense(&held, [rhs.shape[0], padded])
    };
    let block = (RESIDENT / padded.min(FEW)).next_multiple_of(16);
    let of_rows = |dst, lhs| Work { dst, accumulate, lhs, rhs, band: BAND, block }.run();
    if parts <= 1 {
        return of_rows(dst, lhs);
    }
    let share = m.div_ceil(parts);
    let MatMut { data, stride, .. } = dst;
    data.par_chunks_mut(share * stride.max(n)).take(m.div_ceil(share)).enumerate().for_each(
        |(index, data)| {
            let rows = share.min(m - index * share);
            of_rows(MatMut::new(data, [rows, n], stride), lhs.rows(index * share, rows));
        },
    );
}

fn flat(
    mut dst: MatMut<'_>,
    accumulate: Accumulate,
    lhs: MatRef<'_>,
    rhs: MatRef<'_>,
    parts: usize,
) {
    let [m, n] = dst.shape;
    if parts <= 1 && accumulate == Accumulate::Set {
        return columns_of(dst, accumulate, lhs, rhs);
    }
    // What is there is added to the whole sum, on one thread as on many: the same bits.
    let share = n.div_ceil(parts.max(1)).next_multiple_of(COLUMNS);
    let of_share = |index: usize| {
        let count = share.min(n - index * share);
        let mut out = vec![0.0; m * count];
        let window = MatMut::dense(&mut out, [m, count]);
        columns_of(window, Accumulate::Set, lhs, rhs.columns(index * share, count));
        out
    };
    let outs: Vec<Vec<f32>> = match n.div_ceil(share) {
        1 => vec![of_share(0)],
        shares => (0..shares).into_par_iter().map(of_share).collect(),
    };
    for (index, out) in outs.iter().enumerate() {
        dst.columns(index * share, share.min(n - index * share)).put(accumulate, out);
    }
}

fn turned(dst: MatMut<'_>, accumulate: Accumulate, lhs: MatRef<'_>, rhs: MatRef<'_>, parts: usize) {
    let [m, n] = dst.shape;
    let (left, right) = (rhs.transposed(), lhs.transposed());
    let of_columns = |mut dst: MatMut<'_>, right| {
        let rows = dst.shape[0];
        let mut out = vec![0.0; n * rows];
        columns_of(MatMut::dense(&mut out, [n, rows]), Accumulate::Set, left, right);
        dst.put(accumulate, &rows_of(MatRef::dense(&out, [n, rows]).transposed(), n));
    };
    if parts <= 1 {
        return of_columns(dst, right);
    }
    let share = m.div_ceil(parts).next_multiple_of(COLUMNS);
    let MatMut { data, stride, .. } = dst;
    data.par_chunks_mut(share * stride.max(n)).take(m.div_ceil(share)).enumerate().for_each(
        |(index, data)| {
            let rows = share.min(m - index * share);
            of_columns(MatMut::new(data, [rows, n], stride), right.columns(index * share, rows));
        },
    );
}

/// A product whose right operand is long and is read in vectors along its rows. Columns beside the last whole vector are multiplied
/// with a copy of theirs.
fn columns_of(mut dst: MatMut<'_>, accumulate: Accumulate, lhs: MatRef<'_>, rhs: MatRef<'_>) {
    let [k, n] = rhs.shape;
    let whole = n / 16 * 16;
    // Of the whole matrix's rows, so that each share sums in the same order.
    let block = (WINDOW / rhs.strides[0].max(1) / 16 * 16).clamp(16, 128);
    let band = FEW_ROWS;
    if whole > 0 {
        let (dst, rhs) = (dst.columns(0, whole), rhs.columns(0, whole));
        Work { dst, accumulate, lhs, rhs, band, block }.run();
    }
    if whole < n {
        let held = rows_of(rhs.columns(whole, n - whole), 16);
        let (dst, rhs) = (dst.columns(whole, n - whole), MatRef::dense(&held, [k, 16]));
        Work { dst, accumulate, lhs, rhs, band, block }.run();
    }
}

/// A copy whose rows lie one after the other, of `width` elements, zeros where the matrix has less.
pub(super) fn rows_of(matrix: MatRef<'_>, width: usize) -> Vec<f32> {
    let ([rows, columns], [down, along]) = (matrix.shape, matrix.strides);
    let mut out = vec![0.0; rows * width];
    // Squares, so that what is read and what is written stays in cache for both.
    for top in (0..rows).step_by(16) {
        for left in (0..columns).step_by(16) {
            for i in top..rows.min(top + 16) {
                let count = columns.min(left + 16) - left;
                let from = &matrix.data[i * down + left * along..];
                for (to, from) in out[i * width + left..][..count]
                    .iter_mut()
                    .zip(from.iter().step_by(along.max(1)))
                {
                    *to = *from;
                }
            }
        }
    }
    out
}

/// One thread's product.
struct Work<'a, 'b> {
    dst: MatMut<'a>,
    accumulate: Accumulate,
    lhs: MatRef<'b>,
    /// Rows one after the other, with as many columns as vectors of the result read.
    rhs: MatRef<'b>,
    /// Rows that are gone through for all columns before the next.
    band: usize,
    /// Products that are summed before the next rows.
    block: usize,
}

impl Work<'_, '_> {
    /// In code for the widest vectors at hand.
    fn run(self) {
        #[cfg(target_arch = "x86_64")]
        match pulp::Arch::new() {
            pulp::x86::Arch::Scalar => {}
            arch => return arch.dispatch(self),
        }
        self.portable();
    }

    /// Where there are no vectors.
    fn portable(self) {
        let Self { dst, accumulate, lhs, rhs, .. } = self;
        let rhs = rhs.columns(0, dst.shape[1]);
        multiply(dst, accumulate, lhs, rhs, 1);
    }
}

impl WithSimd for Work<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { dst, accumulate, lhs, rhs, band, block } = self;
        let c = dst.data.as_mut_ptr();
        let ([m, n], k) = (dst.shape, lhs.shape[1]);
        assert_eq!((lhs.shape[0], rhs.shape[0]), (m, k), "shapes of a product");
        assert!(rhs.strides[1] == 1 && rhs.shape[1] >= n.next_multiple_of(S::F32_LANES));
        let down = lhs.strides[0] == 1 && lhs.strides[1] != 1;
        assert!(down || lhs.strides[1] == 1, "rows that run neither way");
        let lanes = S::F32_LANES;
        for top in (0..m).step_by(band) {
            let rows = band.min(m - top);
            for first in (0..k).step_by(block) {
                let mut left = 0;
                while left < n {
                    let vectors = (n - left).div_ceil(lanes).min(3);
                    let columns = (n - left).min(vectors * lanes);
                    let at = Operands {
                        a: lhs
                            .data
                            .as_ptr()
                            .wrapping_add(top * lhs.strides[0] + first * lhs.strides[1]),
                        stride: if down { lhs.strides[1] } else { lhs.strides[0] },
                        b: rhs.data.as_ptr().wrapping_add(first * rhs.strides[0] + left),
                        b_stride: rhs.strides[0],
                        c: c.wrapping_add(top * dst.stride + left),
                        c_stride: dst.stride,
                        k: block.min(k - first),
                        columns,
                        add: accumulate == Accumulate::Add || first > 0,
                    };
                    // SAFETY: `lhs` is a view of [m, k], `rhs` of [k, at least n to the next vector], `dst` of [m, n], as asserted
                    // above, and each view has proved that its elements lie in its data. The tile's are rows `top..top + rows` of
                    // m, products `first..first + k` of k and columns from `left` on: `columns` of n in `dst`, and in `rhs` as
                    // many as whole vectors have, which is at most n to the next vector. `dst` is borrowed mutably.
                    unsafe {
                        match (vectors, down) {
                            (1, false) => strip::<S, 1, false>(simd, at, rows),
                            (2, false) => strip::<S, 2, false>(simd, at, rows),
                            (_, false) => strip::<S, 3, false>(simd, at, rows),
                            (1, true) => strip::<S, 1, true>(simd, at, rows),
                            (2, true) => strip::<S, 2, true>(simd, at, rows),
                            (_, true) => strip::<S, 3, true>(simd, at, rows),
                        }
                    }
                    left += columns;
                }
            }
        }
    }
}

#[cfg(test)]
mod laws;
