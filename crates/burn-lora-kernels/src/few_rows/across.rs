//! Columns of the matrix lie along memory: each number of the result is the product of two rows.
//!
//! Some columns at a time meet some rows at a time, so that what was loaded is used more than once. A number
//! is summed in as many lanes as a vector has, and the lanes then in the order of pulp's sum.

use pulp::Simd;

use super::{Aligned, LINE, Task, Weight};
use crate::product::{Accumulate, MatRef};

/// Rows on the left that a product meets at a time, with two columns on 16 registers or four on 32.
const ROWS: usize = 6;

/// The same with four columns on 16 registers.
const ROWS_OF_FOUR: usize = 3;

/// From one row of what [`packed`] makes to the next.
pub(super) fn stride(k: usize) -> usize {
    k.next_multiple_of(LINE)
}

/// The left side with its rows one after the other, each filled up with zeros.
pub(super) fn packed(lhs: MatRef<'_>) -> Aligned {
    let ([m, k], (data, _, [down, along])) = (lhs.shape(), lhs.parts());
    let mut packed = Aligned::zeros(m * stride(k));
    for (row, to) in packed.values_mut().chunks_exact_mut(stride(k).max(1)).enumerate() {
        match along {
            1 => to[..k].copy_from_slice(&data[row * down..][..k]),
            _ => to[..k].iter_mut().zip(0..).for_each(|(to, i)| *to = data[row * down + i * along]),
        }
    }
    packed
}

#[inline(always)]
pub(super) fn columns<S: Simd, W: Weight>(simd: S, mut task: Task<'_, '_, W>) {
    // As many as the registers hold, with a vector of the left side and what is loaded. Where all rows do not meet a column at once, more
    // columns at a time meet each of those that do, which the first cache may not hold.
    let is_long = W::CONVERTS && task.ys.len() > ROWS;
    match S::REGISTER_COUNT >= 32 {
        true => blocks::<S, W, 4>(simd, &mut task, ROWS),
        false if is_long => blocks::<S, W, 4>(simd, &mut task, ROWS_OF_FOUR),
        false => blocks::<S, W, 2>(simd, &mut task, ROWS),
    }
}

#[inline(always)]
fn blocks<S: Simd, W: Weight, const J: usize>(simd: S, task: &mut Task<'_, '_, W>, rows: usize) {
    let width = task.ys.first().map_or(0, |y| y.len());
    let mut scratch = vec![0.0; if W::CONVERTS { J * task.k } else { 0 }];
    let whole = width / J * J;
    for j in (0..whole).step_by(J) {
        block::<S, W, J>(simd, task, j, rows, &mut scratch);
    }
    for j in whole..width {
        block::<S, W, 1>(simd, task, j, rows, &mut scratch);
    }
}

/// Columns `j..j + J` of the task, all rows, so many at a time.
#[inline(always)]
fn block<S: Simd, W: Weight, const J: usize>(
    simd: S,
    task: &mut Task<'_, '_, W>,
    j: usize,
    at_a_time: usize,
    scratch: &mut [f32],
) {
    let (k, weight, row) = (task.k, task.weight, task.first + j);
    let mut scratches = scratch.chunks_exact_mut(k.max(1));
    let mut columns: [&[f32]; J] = [&[]; J];
    for (t, column) in columns.iter_mut().enumerate() {
        *column = weight.piece(row + t, 0..k, scratches.next().unwrap_or_default());
    }
    let mut r = 0;
    while r < task.ys.len() {
        // The first rows are multiplied while the columns come from memory: the next ones are asked for then.
        let ahead = |i: usize| {
            if r == 0 {
                for t in 0..J {
                    weight.fetch(row + J + t, i);
                }
            }
        };
        let x = &task.x[r * stride(k)..];
        let rows = &mut task.ys[r..];
        let put = (j, task.accumulate);
        r += match rows.len().min(at_a_time) {
            1 => write::<1, J>(rows, put, dots::<S, 1, J>(simd, x, &columns, ahead)),
            2 => write::<2, J>(rows, put, dots::<S, 2, J>(simd, x, &columns, ahead)),
            3 => write::<3, J>(rows, put, dots::<S, 3, J>(simd, x, &columns, ahead)),
            4 => write::<4, J>(rows, put, dots::<S, 4, J>(simd, x, &columns, ahead)),
            5 => write::<5, J>(rows, put, dots::<S, 5, J>(simd, x, &columns, ahead)),
            _ => write::<ROWS, J>(rows, put, dots::<S, ROWS, J>(simd, x, &columns, ahead)),
        };
    }
}

/// The products of the first `R` rows of x, as [`packed`] laid them out, with `J` columns.
#[inline(always)]
fn dots<S: Simd, const R: usize, const J: usize>(
    simd: S,
    x: &[f32],
    columns: &[&[f32]; J],
    ahead: impl Fn(usize),
) -> [[f32; J]; R] {
    let k = columns[0].len();
    let (count, all) = (k / S::F32_LANES, k.div_ceil(S::F32_LANES));
    let mut of_x: [&[S::f32s]; R] = [&[]; R];
    for (r, of) in of_x.iter_mut().enumerate() {
        *of = &S::as_simd_f32s(&x[r * stride(k)..][..stride(k)]).0[..all];
    }
    let mut of_columns: [&[S::f32s]; J] = [&[]; J];
    for (of, column) in of_columns.iter_mut().zip(columns) {
        *of = &S::as_simd_f32s(column).0[..count];
    }
    let zero = simd.splat_f32s(0.0);
    let mut sums = [[zero; J]; R];
    for v in 0..count {
        ahead(v * S::F32_LANES);
        // The fewer are held, the others come from the first cache as they are met.
        if R < J {
            let mut held = [zero; R];
            for (held, x) in held.iter_mut().zip(&of_x) {
                *held = x[v];
            }
            for (t, column) in of_columns.iter().enumerate() {
                let w = column[v];
                for (sums, x) in sums.iter_mut().zip(&held) {
                    sums[t] = simd.mul_add_e_f32s(w, *x, sums[t]);
                }
            }
        } else {
            let mut held = [zero; J];
            for (held, column) in held.iter_mut().zip(&of_columns) {
                *held = column[v];
            }
            for (sums, x) in sums.iter_mut().zip(&of_x) {
                let x = x[v];
                for (sum, w) in sums.iter_mut().zip(&held) {
                    *sum = simd.mul_add_e_f32s(*w, x, *sum);
                }
            }
        }
    }
    if count < all {
        // What is left of the columns, filled up with zeros.
        let mut w = [zero; J];
        for (w, column) in w.iter_mut().zip(columns) {
            *w = simd.partial_load_f32s(&column[count * S::F32_LANES..]);
        }
        for (sums, x) in sums.iter_mut().zip(&of_x) {
            for (sum, w) in sums.iter_mut().zip(&w) {
                *sum = simd.mul_add_e_f32s(*w, x[count], *sum);
            }
        }
    }
    let mut products = [[0.0; J]; R];
    for (products, sums) in products.iter_mut().zip(&sums) {
        for (product, sum) in products.iter_mut().zip(sums) {
            *product = simd.reduce_sum_f32s(*sum);
        }
    }
    products
}

/// Puts the products where they belong; how many rows there were.
#[inline(always)]
fn write<const R: usize, const J: usize>(
    rows: &mut [&mut [f32]],
    (j, accumulate): (usize, Accumulate),
    products: [[f32; J]; R],
) -> usize {
    for (row, products) in rows.iter_mut().zip(products) {
        for (y, product) in row[j..j + J].iter_mut().zip(products) {
            accumulate.put(y, product);
        }
    }
    R
}
