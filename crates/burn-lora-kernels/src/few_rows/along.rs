//! Rows of the matrix lie along memory: `y_r += x_r[i] · W[i]`, for eight `i` at a time.
//!
//! Eight values of a column are held in registers, or those of two vectors of columns where there are so many
//! registers, and every row of the result takes them up before the next are read. A number of the result is a
//! chain of fused multiply-adds in the order of `i`.
//!
//! Loops, and no functions of arrays, here and in `across`: what the compiler does not draw into code for wide
//! vectors, it compiles without them.

use std::ops::Range;

use pulp::Simd;

use super::{Aligned, GRAIN, Task, Weight};
use crate::product::MatRef;

/// Rows of the matrix that are read side by side.
const GROUP: usize = 8;

/// Numbers of the result that are added to at a time, of all rows (16 KiB): they stay in a core's first cache
/// beside what is read.
const BLOCK: usize = 4096;

/// The left side as the groups take it: for each group of columns, those of the first row, of the second, …;
/// the columns left over are groups of one.
pub(super) fn packed(lhs: MatRef<'_>) -> Aligned {
    let ([m, k], (data, _, [down, along])) = (lhs.shape(), lhs.parts());
    let (mut packed, whole) = (Aligned::zeros(m * k), k / GROUP * GROUP);
    let (groups, rest) = packed.values_mut().split_at_mut(whole * m);
    for (group, to) in groups.chunks_exact_mut((GROUP * m).max(1)).enumerate() {
        for (row, to) in to.as_chunks_mut::<GROUP>().0.iter_mut().enumerate() {
            let from = row * down + group * GROUP * along;
            match along {
                1 => to.copy_from_slice(&data[from..from + GROUP]),
                _ => to.iter_mut().zip(0..).for_each(|(to, i)| *to = data[from + i * along]),
            }
        }
    }
    for (i, to) in (whole..).zip(rest.chunks_exact_mut(m.max(1))) {
        for (row, to) in to.iter_mut().enumerate() {
            *to = data[row * down + i * along];
        }
    }
    packed
}

#[inline(always)]
pub(super) fn columns<S: Simd, W: Weight>(simd: S, task: Task<'_, '_, W>) {
    let Task { ys, first, x, k, weight, accumulate, .. } = task;
    let (m, width) = (ys.len(), ys.first().map_or(0, |y| y.len()));
    let piece = (BLOCK / m.max(1)).next_multiple_of(GRAIN).min(W::PIECE).min(width);
    let mut scratch = vec![0.0; if W::CONVERTS { GROUP * piece } else { 0 }];
    let vectors = piece.div_ceil(S::F32_LANES);
    let mut sums = Aligned::zeros(vectors * m * S::F32_LANES);
    for start in (0..width).step_by(piece.max(1)) {
        let columns = start..(start + piece).min(width);
        let of = first + columns.start..first + columns.end;
        sums.values_mut().fill(0.0);
        let (of_vectors, _) = S::as_mut_simd_f32s(sums.values_mut());
        let whole = k / GROUP * GROUP;
        for i in (0..whole).step_by(GROUP) {
            let x = &x[i * m..(i + GROUP) * m];
            group::<S, W, GROUP>(simd, of_vectors, x, &weight, i, of.clone(), &mut scratch);
        }
        for i in whole..k {
            let x = &x[i * m..(i + 1) * m];
            group::<S, W, 1>(simd, of_vectors, x, &weight, i, of.clone(), &mut scratch);
        }
        for (r, y) in ys.iter_mut().enumerate() {
            let sums = sums.values().chunks_exact(S::F32_LANES).skip(r).step_by(m);
            for (y, sums) in y[columns.clone()].chunks_mut(S::F32_LANES).zip(sums) {
                for (y, sum) in y.iter_mut().zip(sums) {
                    accumulate.put(y, *sum);
                }
            }
        }
    }
}

/// Adds what `G` rows of the matrix give, from row `i` on, in some of its columns.
///
/// - sums: for each vector of columns, that of each row, `[vectors, m]`; x: `[m, G]`
#[inline(always)]
fn group<S: Simd, W: Weight, const G: usize>(
    simd: S,
    sums: &mut [S::f32s],
    x: &[f32],
    weight: &W,
    i: usize,
    columns: Range<usize>,
    scratch: &mut [f32],
) {
    let len = columns.len();
    let mut scratches = scratch.chunks_exact_mut(len);
    let mut rows: [&[f32]; G] = [&[]; G];
    for (t, row) in rows.iter_mut().enumerate() {
        *row = weight.piece(i + t, columns.clone(), scratches.next().unwrap_or_default());
    }
    let count = len / S::F32_LANES;
    let mut vectors: [&[S::f32s]; G] = [&[]; G];
    for (vectors, row) in vectors.iter_mut().zip(rows) {
        *vectors = &S::as_simd_f32s(row).0[..count];
    }
    let (x, m) = (x.as_chunks::<G>().0, x.len() / G);
    let ahead = |vector: usize| {
        for t in 0..G {
            weight.fetch(i + G + t, columns.start + vector * S::F32_LANES);
        }
    };
    let zero = simd.splat_f32s(0.0);
    let mut done = 0;
    if S::REGISTER_COUNT >= 32 {
        while done + 2 <= count {
            ahead(done);
            ahead(done + 1);
            let (mut first, mut second) = ([zero; G], [zero; G]);
            for ((first, second), row) in first.iter_mut().zip(&mut second).zip(&vectors) {
                (*first, *second) = (row[done], row[done + 1]);
            }
            let (of_first, of_second) = sums[done * m..(done + 2) * m].split_at_mut(m);
            for ((a, b), x) in of_first.iter_mut().zip(of_second).zip(x) {
                let (mut sum_a, mut sum_b) = (*a, *b);
                for ((w_a, w_b), x) in first.iter().zip(&second).zip(x) {
                    let x = simd.splat_f32s(*x);
                    sum_a = simd.mul_add_e_f32s(*w_a, x, sum_a);
                    sum_b = simd.mul_add_e_f32s(*w_b, x, sum_b);
                }
                (*a, *b) = (sum_a, sum_b);
            }
            done += 2;
        }
    }
    while done < len.div_ceil(S::F32_LANES) {
        ahead(done);
        let mut w = [zero; G];
        for (w, (vectors, row)) in w.iter_mut().zip(vectors.iter().zip(&rows)) {
            *w = match vectors.get(done) {
                Some(w) => *w,
                // What is left of the row, filled up with zeros.
                None => simd.partial_load_f32s(&row[done * S::F32_LANES..]),
            };
        }
        for (sum, x) in sums[done * m..(done + 1) * m].iter_mut().zip(x) {
            let mut of = *sum;
            for (w, x) in w.iter().zip(x) {
                of = simd.mul_add_e_f32s(*w, simd.splat_f32s(*x), of);
            }
            *sum = of;
        }
        done += 1;
    }
}
