//! Products of few rows against f64, on every instruction set at hand, and alone against in company.

use ::half::{bf16, f16};
use pulp::{Scalar, Simd};

use super::{FEW, Lies, Task, Weight, across, along, view};
use crate::half::{HalfRef, Halves};
use crate::product::{Accumulate, MatMut, MatRef, Threads, product};
use crate::tiled::tiled_product;

/// Between -1 and 1, with all digits in use.
fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Rows alone and many, sums and columns that fill no vector, more than a block, more than a thread's worth.
const SHAPES: [[usize; 3]; 11] = [
    [1, 1, 1],
    [1, 576, 1536],
    [2, 7, 33],
    [3, 600, 70],
    [5, 64, 4200],
    [7, 129, 257],
    [11, 40, 8],
    [16, 1500, 190],
    [16, 33, 640],
    [45, 70, 130],
    [FEW, 24, 330],
];

/// A matrix `[k, n]` of values that lie along or across.
fn laid(values: &[f32], [k, n]: [usize; 2], lies: Lies) -> MatRef<'_> {
    match lies {
        Lies::Along => MatRef::dense(values, [k, n]),
        Lies::Across => MatRef::dense(values, [n, k]).transposed(),
    }
}

/// The product in f64, and the sum of absolute values, by which its rounding is judged.
fn by_hand(m: usize, x: MatRef<'_>, w: MatRef<'_>) -> Vec<(f64, f64)> {
    let at = |(data, _, [down, along]): (&[f32], [usize; 2], [usize; 2]), i: usize, j: usize| {
        f64::from(data[i * down + j * along])
    };
    let [k, n] = w.shape();
    let cell = |i: usize, j: usize| {
        (0..k)
            .map(|t| at(x.parts(), i, t) * at(w.parts(), t, j))
            .fold((0.0, 0.0), |(sum, size), v| (sum + v, size + v.abs()))
    };
    (0..m * n).map(|index| cell(index / n, index % n)).collect()
}

fn check(got: &[f32], expected: &[(f64, f64)], what: &str) {
    assert_eq!(got.len(), expected.len());
    for (got, (sum, size)) in got.iter().zip(expected) {
        // Each of some hundred roundings is at most half a unit (2^-24) of what was summed so far; they
        // mostly cancel.
        let allowed = 16.0 * 2_f64.powi(-24) * size;
        assert!((f64::from(*got) - sum).abs() <= allowed, "{what}: {got} and not {sum}");
    }
}

#[test]
fn products_of_few_rows_are_those_of_float64() {
    for [m, k, n] in SHAPES {
        let (a, b) = (values(m * k, 1), values(k * n, 2));
        for lies in [Lies::Along, Lies::Across] {
            let w = laid(&b, [k, n], lies);
            for turned in [false, true] {
                let x = match turned {
                    false => MatRef::dense(&a, [m, k]),
                    true => MatRef::dense(&a, [k, m]).transposed(),
                };
                let expected = by_hand(m, x, w);
                for threads in [Threads::One, Threads::All] {
                    let what = format!("{m} {k} {n} {lies:?} {threads:?}");
                    let mut got = vec![f32::NAN; m * n];
                    product(MatMut::dense(&mut got, [m, n]), Accumulate::Set, x, w, threads);
                    check(&got, &expected, &what);
                    // Two wide strides, and something to add to.
                    let mut wide = vec![1.0; m * (n + 3)];
                    let dst = MatMut::new(&mut wide, [m, n], n + 3);
                    product(dst, Accumulate::Add, x, w, threads);
                    for (row, expected) in wide.chunks(n + 3).zip(expected.chunks(n)) {
                        let more = |&(sum, size): &(f64, f64)| (sum + 1.0, size + 1.0);
                        let expected: Vec<_> = expected.iter().map(more).collect();
                        check(&row[..n], &expected, &what);
                        assert_eq!(row[n..], [1.0; 3], "what lies between rows");
                    }
                }
            }
        }
    }
}

/// The columns of a product on one instruction set.
fn on<S: Simd, W: Weight>(simd: S, [m, k, n]: [usize; 3], x: &[f32], w: W, lies: Lies) -> Vec<f32> {
    let lhs = MatRef::dense(x, [m, k]);
    let x = match lies {
        Lies::Along => along::packed(lhs),
        Lies::Across => across::packed(lhs),
    };
    let mut out = vec![f32::NAN; m * n];
    let mut ys: Vec<&mut [f32]> = out.chunks_mut(n).collect();
    let accumulate = Accumulate::Set;
    let x = x.values();
    simd.vectorize(Task { ys: &mut ys, first: 0, x, k, weight: w, lies, accumulate });
    out
}

#[test]
fn every_instruction_set_gives_the_product() {
    for shape @ [m, k, n] in SHAPES {
        let (a, b) = (values(m * k, 3), values(k * n, 4));
        for lies in [Lies::Along, Lies::Across] {
            let w = laid(&b, [k, n], lies);
            let expected = by_hand(m, MatRef::dense(&a, [m, k]), w);
            let (weight, found) = view(w).unwrap();
            // One column is a row as well.
            let lies = if n == 1 || k == 1 { found } else { lies };
            assert_eq!(found, lies);
            check(&on(Scalar, shape, &a, weight, lies), &expected, "portable");
            #[cfg(target_arch = "x86_64")]
            {
                if let Some(simd) = pulp::x86::V3::try_new() {
                    check(&on(simd, shape, &a, weight, lies), &expected, "AVX2");
                }
                if let Some(simd) = pulp::x86::V4::try_new() {
                    check(&on(simd, shape, &a, weight, lies), &expected, "AVX-512");
                }
            }
        }
    }
}

/// Generation stands on it: a text does not depend on those that are written beside it.
#[test]
fn a_row_is_bit_for_bit_what_it_is_alone() {
    for [_, k, n] in SHAPES {
        let (a, b) = (values(FEW * k, 5), values(k * n, 6));
        let f16s: Vec<f16> = b.iter().map(|&v| f16::from_f32(v)).collect();
        let bf16s: Vec<bf16> = b.iter().map(|&v| bf16::from_f32(v)).collect();
        for lies in [Lies::Along, Lies::Across] {
            let half = |values| match lies {
                Lies::Along => HalfRef::dense(values, [k, n]),
                Lies::Across => HalfRef::dense(values, [n, k]).transposed(),
            };
            let of = |kind: usize, rows: usize, x: &[f32], threads| {
                let mut out = values(rows * n, 7);
                let dst = MatMut::dense(&mut out, [rows, n]);
                let (x, add) = (MatRef::dense(x, [rows, k]), Accumulate::Set);
                match kind {
                    0 => product(dst, add, x, laid(&b, [k, n], lies), threads),
                    1 => tiled_product(dst, add, x, half(Halves::F16(&f16s)), threads),
                    _ => tiled_product(dst, add, x, half(Halves::Bf16(&bf16s)), threads),
                }
                out
            };
            for kind in 0..3 {
                let alone: Vec<f32> =
                    a.chunks(k).flat_map(|x| of(kind, 1, x, Threads::One)).collect();
                for rows in [2, 3, 5, 13, 16, FEW] {
                    let together = of(kind, rows, &a[..rows * k], Threads::All);
                    let same = together.iter().zip(&alone).all(|(a, b)| a.to_bits() == b.to_bits());
                    assert!(same, "{rows} rows, {k} by {n}, {lies:?}, kind {kind}");
                }
            }
        }
    }
}

#[test]
fn a_matrix_held_in_16_bits_gives_bit_for_bit_what_its_values_do() {
    for [m, k, n] in SHAPES {
        let a = values(m * k, 8);
        let f16s: Vec<f16> = values(k * n, 9).into_iter().map(f16::from_f32).collect();
        let dense: Vec<f32> = f16s.iter().map(|v| v.to_f32()).collect();
        let (x, mut half, mut whole) =
            (MatRef::dense(&a, [m, k]), vec![0.0; m * n], vec![0.0; m * n]);
        let w = HalfRef::dense(Halves::F16(&f16s), [k, n]);
        tiled_product(MatMut::dense(&mut half, [m, n]), Accumulate::Set, x, w, Threads::All);
        let w = laid(&dense, [k, n], Lies::Along);
        let dst = MatMut::dense(&mut whole, [m, n]);
        match n {
            // One column lies across as well, and is summed so.
            1 => continue,
            _ => product(dst, Accumulate::Set, x, w, Threads::All),
        }
        assert_eq!(half, whole, "{m} {k} {n}");
    }
}
