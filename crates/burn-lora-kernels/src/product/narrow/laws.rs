//! Laws of narrow products, and the three loops that they are compared with.

use proptest::prelude::*;

use super::*;
use crate::product::{self, Threads};

/// A matrix's values in -1..1, of every exponent from there to 2^-23.
fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// A view of `shape`, whose rows run along memory or down it.
fn view(values: &[f32], [rows, columns]: [usize; 2], down: bool) -> MatRef<'_> {
    match down {
        false => MatRef::dense(values, [rows, columns]),
        true => MatRef::dense(values, [columns, rows]).transposed(),
    }
}

/// The safe twin: element `(i, j)` in f64, and the sum of its products without their signs.
fn by_hand(lhs: MatRef<'_>, rhs: MatRef<'_>, i: usize, j: usize) -> (f64, f64) {
    let at = |m: MatRef<'_>, i, j| f64::from(m.data[i * m.strides[0] + j * m.strides[1]]);
    (0..lhs.shape[1])
        .map(|p| at(lhs, i, p) * at(rhs, p, j))
        .fold((0.0, 0.0), |(sum, size), product| (sum + product, size + product.abs()))
}

/// Shapes with a narrow side, of none to more than a tile, a band and a block.
fn shapes() -> impl Strategy<Value = [usize; 3]> {
    let (few, many, sums) = (0..=34_usize, 0..=130_usize, 0..=420_usize);
    prop_oneof![
        (many.clone(), sums.clone(), few.clone()),
        (many.clone(), few, many.clone()),
        (0..=66_usize, sums, many),
    ]
    .prop_map(|(m, k, n)| [m, k, n])
}

/// Shapes that each form is taken for, with what runs down.
const FORMS: [(Form, [usize; 3], bool); 5] = [
    (Form::Tall, [203, 801, 16], false),
    (Form::Tall, [130, 400, 9], false),
    (Form::Tall, [107, 13, 150], false),
    (Form::Flat, [13, 300, 199], true),
    (Form::Turned, [199, 300, 13], true),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn products_are_those_of_three_loops_in_f64(
        [m, k, n] in shapes(),
        (left, right, add, all) in any::<(bool, bool, bool, bool)>(),
        gap in 0..3_usize,
        seed in any::<u64>(),
    ) {
        let (a, b) = (values(m * k, seed), values(k * n, seed ^ 1));
        let (lhs, rhs) = (view(&a, [m, k], left), view(&b, [k, n], right));
        let old = values(m * (n + gap), seed ^ 2);
        let mut got = old.clone();
        let accumulate = if add { Accumulate::Add } else { Accumulate::Set };
        let threads = if all { Threads::All } else { Threads::One };
        let dst = MatMut::new(&mut got, [m, n], n + gap);
        product::product(dst, accumulate, lhs, rhs, threads);
        for (at, (got, old)) in got.iter().zip(&old).enumerate() {
            let (i, j) = (at / (n + gap), at % (n + gap));
            if j >= n {
                prop_assert_eq!(got, old, "what lies between rows");
                continue;
            }
            let (mut sum, mut size) = by_hand(lhs, rhs, i, j);
            if add {
                sum += f64::from(*old);
                size += f64::from(old.abs());
            }
            // At most k + 8 roundings on the way of a product into the sum, each of half a unit (2^-24).
            let bound = (k + 8) as f64 * 2_f64.powi(-24) * size;
            prop_assert!((f64::from(*got) - sum).abs() <= bound, "({i}, {j}): {got} for {sum}, {bound:e}");
        }
    }
}

#[test]
fn each_form_is_taken_and_its_bits_depend_on_no_number_of_threads() {
    for (form, [m, k, n], down) in FORMS {
        let (a, b) = (values(m * k, 3), values(k * n, 4));
        let (lhs, rhs) = (view(&a, [m, k], down), MatRef::dense(&b, [k, n]));
        assert_eq!(Form::of(lhs, rhs), Some(form), "{m} {k} {n}");
        let on = |parts| {
            let mut out = values(m * n, 5);
            let dst = MatMut::dense(&mut out, [m, n]);
            product(form, dst, Accumulate::Add, lhs, rhs, parts);
            out
        };
        let expected = on(1);
        for parts in [2, 3, 7] {
            assert!(on(parts) == expected, "{m} {k} {n} on {parts} threads");
        }
    }
}

#[test]
fn a_rows_bits_depend_on_no_row_beside_it() {
    for (form, [m, k, n], _) in FORMS.into_iter().filter(|(form, ..)| *form == Form::Tall) {
        let (a, b) = (values(m * k, 6), values(k * n, 7));
        let (lhs, rhs) = (MatRef::dense(&a, [m, k]), MatRef::dense(&b, [k, n]));
        let mut all = vec![0.0; m * n];
        product(form, MatMut::dense(&mut all, [m, n]), Accumulate::Set, lhs, rhs, 2);
        for (i, expected) in all.chunks(n).enumerate() {
            let mut row = vec![0.0; n];
            product(form, MatMut::dense(&mut row, [1, n]), Accumulate::Set, lhs.rows(i, 1), rhs, 1);
            assert!(row == expected, "row {i} of {m} {k} {n}");
        }
    }
}

/// One thread's work on a left operand of that many rows, done by `run`.
fn work(m: usize, k: usize, n: usize, down: bool, run: impl Fn(Work<'_, '_>)) -> Vec<f32> {
    let (a, b) = (values(m * k, 8), values(k * n.next_multiple_of(16), 9));
    let rhs = MatRef::dense(&b, [k, n.next_multiple_of(16)]);
    let mut out = values(m * n, 10);
    let dst = MatMut::dense(&mut out, [m, n]);
    run(Work {
        dst,
        accumulate: Accumulate::Add,
        lhs: view(&a, [m, k], down),
        rhs,
        band: 24,
        block: 128,
    });
    out
}

#[cfg(target_arch = "x86_64")]
#[test]
fn vectors_of_every_width_give_the_same_bits() {
    use pulp::x86::{V3, V4};

    for (m, k, n) in [(1, 1, 1), (31, 300, 8), (203, 129, 16), (100, 16, 95), (64, 257, 48)] {
        for down in [false, true] {
            let of_eight =
                V3::try_new().map(|simd| work(m, k, n, down, |work| Simd::vectorize(simd, work)));
            let of_sixteen =
                V4::try_new().map(|simd| work(m, k, n, down, |work| Simd::vectorize(simd, work)));
            if let (Some(eight), Some(sixteen)) = (of_eight, of_sixteen) {
                assert!(eight == sixteen, "{m} {k} {n} {down}");
            }
        }
    }
}

#[test]
fn without_vectors_a_share_is_the_same_product() {
    for (m, k, n) in [(31, 300, 8), (100, 16, 95), (64, 257, 48)] {
        for down in [false, true] {
            let (got, expected) = (
                work(m, k, n, down, |work| work.portable()),
                work(m, k, n, down, |work| work.run()),
            );
            for (got, expected) in got.iter().zip(&expected) {
                // Sums of k products of less than 1, in two orders.
                let bound = 2.0 * (k + 8) as f32 * k as f32 * 2_f32.powi(-24);
                assert!((got - expected).abs() <= bound, "{got} for {expected}");
            }
        }
    }
}
