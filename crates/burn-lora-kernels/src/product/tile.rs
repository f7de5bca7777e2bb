//! The tiles of a product: a few rows and a few vectors of the result, held in registers while `k` is summed over.
//!
//! An element of the left operand is broadcast, the right one is read in vectors along its rows, and each element
//! of the result is one chain of fused multiplications and additions in the order of `k`. So its bits depend on neither the width of the
//! vectors, nor the tile that it falls into, nor the thread.

use pulp::Simd;

use crate::few_rows::LINE;

/// Rows of the right operand that are asked for ahead of their use.
const AHEAD: usize = 12;

/// Products of an element that are summed between two branches: of one, the branch is a fifth of the time (66 GFLOP/s of a Zen 3 core's 86; 82 of four).
const STEPS: usize = 4;

/// Operands and the place of the result.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operands {
    /// Element `(i, p)` lies at `i * stride + p`; where rows run down, at `p * stride + i`.
    pub a: *const f32,
    pub stride: usize,
    /// Element `(p, j)` lies at `p * b_stride + j`.
    pub b: *const f32,
    pub b_stride: usize,
    /// Element `(i, j)` lies at `i * c_stride + j`.
    pub c: *mut f32,
    pub c_stride: usize,
    /// Products that are summed.
    pub k: usize,
    /// Columns of the result, those of all vectors or less by fewer than a vector.
    pub columns: usize,
    /// Whether the sums are added to what is there.
    pub add: bool,
}

impl Operands {
    /// The same from a row of the result on.
    fn below<const DOWN: bool>(self, rows: usize) -> Self {
        let a = self.a.wrapping_add(rows * if DOWN { 1 } else { self.stride });
        Self { a, c: self.c.wrapping_add(rows * self.c_stride), ..self }
    }
}

/// `rows` rows and `V` vectors of the result, in tiles of as many rows as the registers hold. `DOWN`: rows of `a` run down.
///
/// # Safety
///
/// With `L` the elements of a vector: `a` can be read at every `(i, p)`, `b` at every `(p, j)` and `c` be written, by no one else
/// meanwhile, at every `(i, j)`, for `i < rows`, `p < k`, and `j < V * L` of `b` and `j < columns` of `c`;
/// `(V - 1) * L < columns <= V * L`.
#[inline(always)]
pub(super) unsafe fn strip<S: Simd, const V: usize, const DOWN: bool>(
    simd: S,
    operands: Operands,
    rows: usize,
) {
    let (mut at, mut left) = (operands, rows);
    let many = S::REGISTER_COUNT >= 32;
    macro_rules! tiles {
        ($($rows:literal if $fits:expr),*) => { $(
            while $fits && left >= $rows {
                // SAFETY: rows `rows - left..rows - left + $rows` of what the caller promises.
                unsafe { tile::<S, $rows, V, DOWN>(simd, at) };
                at = at.below::<DOWN>($rows);
                left -= $rows;
            }
        )* };
    }
    // Sums and what is multiplied have to fit: 32 registers or 16.
    tiles!(
        12 if V == 1 || V == 2 && many,
        8 if V == 1 || many,
        6 if V == 2 && !many,
        4 if true,
        2 if true,
        1 if true
    );
}

/// One tile.
///
/// # Safety
///
/// As [`strip`], with `M` rows.
#[inline(always)]
unsafe fn tile<S: Simd, const M: usize, const V: usize, const DOWN: bool>(
    simd: S,
    operands: Operands,
) {
    let Operands { a, stride, b, b_stride, c, c_stride, k, columns, add } = operands;
    let mut sums = [[simd.splat_f32s(0.0); V]; M];
    // Pointers to every fourth row, from which the other three are a multiple of the stride away.
    let mut rows = [a; 3];
    for (index, row) in rows.iter_mut().enumerate() {
        *row = a.wrapping_add(4 * index * stride);
    }
    // What the sums are written to, so that it is there when they are.
    for i in 0..M {
        let row = c.wrapping_add(i * c_stride);
        for line in 0..(V * S::F32_LANES).div_ceil(LINE) {
            prefetch(row.wrapping_add(line * LINE));
        }
        prefetch(row.wrapping_add(columns - 1));
    }
    let mut b = b;
    let mut p = 0;
    while p < k {
        let until = k.min(p + LINE);
        if !DOWN {
            for i in 0..M {
                prefetch(rows[i / 4].wrapping_add(i % 4 * stride + 3 * LINE));
            }
        }
        macro_rules! some {
            ($count:expr) => {{
                for step in 0..$count {
                    // SAFETY: product p + step < k; `rows` and `b` have gone p products along.
                    unsafe {
                        one::<S, M, V, DOWN>(simd, &mut sums, rows, stride, b, b_stride, step)
                    };
                }
                for row in &mut rows {
                    *row = row.wrapping_add($count * if DOWN { stride } else { 1 });
                }
                b = b.wrapping_add($count * b_stride);
                p += $count;
            }};
        }
        while p + STEPS <= until {
            some!(STEPS);
        }
        while p < until {
            some!(1);
        }
    }
    // Short bodies, so that both loops are unrolled and the sums stay in registers.
    let last = columns - (V - 1) * S::F32_LANES;
    for (i, sums) in sums.iter().enumerate() {
        let row = c.wrapping_add(i * c_stride);
        for (v, &sum) in sums.iter().enumerate() {
            let at = row.wrapping_add(v * S::F32_LANES);
            if v + 1 < V || last == S::F32_LANES {
                let at = at.cast::<S::f32s>();
                // SAFETY: row i < M and columns `v * L..(v + 1) * L`, all less than `columns`, which the caller promises.
                unsafe {
                    let sum = if add { simd.add_f32s(at.read_unaligned(), sum) } else { sum };
                    at.write_unaligned(sum);
                }
            } else {
                // SAFETY: row i < M and `last` columns from `(V - 1) * L` on, which the caller promises.
                unsafe { some_of::<S>(sum, at, last, add) };
            }
        }
    }
}

/// Adds one product to each sum.
///
/// # Safety
///
/// `rows` are pointers to every fourth row of `a`, and with `b` they have gone `p` products along: `p + step` is one of the tile's, as
/// [`strip`] has them.
#[inline(always)]
unsafe fn one<S: Simd, const M: usize, const V: usize, const DOWN: bool>(
    simd: S,
    sums: &mut [[S::f32s; V]; M],
    rows: [*const f32; 3],
    stride: usize,
    b: *const f32,
    b_stride: usize,
    step: usize,
) {
    let b = b.wrapping_add(step * b_stride);
    if DOWN {
        let next = b.wrapping_add(AHEAD * b_stride);
        for line in 0..(V * S::F32_LANES).div_ceil(LINE) {
            prefetch(next.wrapping_add(line * LINE));
        }
    }
    let mut vectors = [simd.splat_f32s(0.0); V];
    for (v, vector) in vectors.iter_mut().enumerate() {
        // SAFETY: columns `v * L..(v + 1) * L` of a row of `b`, which the caller promises.
        *vector = unsafe { b.add(v * S::F32_LANES).cast::<S::f32s>().read_unaligned() };
    }
    for (i, sums) in sums.iter_mut().enumerate() {
        // SAFETY: the element of row i < M of `a` for the product, which the caller promises.
        let factor = unsafe {
            match DOWN {
                true => *rows[0].add(step * stride + i),
                false => *rows[i / 4].add(i % 4 * stride + step),
            }
        };
        let factor = simd.splat_f32s(factor);
        for (sum, &vector) in sums.iter_mut().zip(&vectors) {
            *sum = simd.mul_add_e_f32s(factor, vector, *sum);
        }
    }
}

/// Writes the first `count` elements of a vector, or adds them.
///
/// # Safety
///
/// `count` elements from `at` on can be written, by no one else meanwhile.
#[inline(never)]
unsafe fn some_of<S: Simd>(vector: S::f32s, at: *mut f32, count: usize, add: bool) {
    const { assert!(S::F32_LANES <= LINE, "a vector of more than a line") };
    let mut lanes = [0.0_f32; LINE];
    // SAFETY: a vector has at most as many elements as `lanes`.
    unsafe { lanes.as_mut_ptr().cast::<S::f32s>().write_unaligned(vector) };
    for (j, &lane) in lanes[..count].iter().enumerate() {
        // SAFETY: j < count, which the caller promises.
        unsafe {
            let at = at.add(j);
            *at = if add { *at + lane } else { lane };
        }
    }
}

/// Asks for a line of cache, which may be anywhere.
#[inline(always)]
fn prefetch(at: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction reads nothing and faults nowhere, whatever the address; every x86-64 has it.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}
