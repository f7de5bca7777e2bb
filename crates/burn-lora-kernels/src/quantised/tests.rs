use half::f16;

use super::*;

/// Bytes without order.
fn bytes(count: usize, seed: usize) -> impl Iterator<Item = u8> {
    let mut state = seed as u32 ^ 0x9e37_79b9;
    (0..count).map(move |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
}

/// Where a block has numbers in half precision.
fn scales(format: BlockFormat) -> &'static [usize] {
    match format {
        BlockFormat::Q8_0 | BlockFormat::Q4_0 | BlockFormat::Q5_0 => &[0],
        BlockFormat::Q6_K => &[208],
        _ => &[0, 2],
    }
}

/// A matrix of blocks without order, whose scales are finite.
fn random(format: BlockFormat, stored: [usize; 2], transposed: bool) -> Quantised {
    let mut matrix = Quantised::zeroed(format, stored, transposed);
    let blocks = matrix.bytes_mut();
    let count = blocks.len();
    blocks.iter_mut().zip(bytes(count, stored[1])).for_each(|(place, byte)| *place = byte);
    if format == BlockFormat::NF4 {
        let groups = (stored[0] * stored[1]).div_ceil(nf4::BLOCK).div_ceil(nf4::GROUP);
        for (index, place) in blocks[..4 + 4 * groups].chunks_exact_mut(4).enumerate() {
            place.copy_from_slice(&(0.5 + index as f32 / 8.0).to_ne_bytes());
        }
        return matrix;
    }
    let size = format.row_bytes(format.block_len());
    for (index, block) in blocks.chunks_exact_mut(size).enumerate() {
        for &at in scales(format) {
            let scale = f16::from_f32(0.01 + (index % 7) as f32 / 100.0);
            block[at..at + 2].copy_from_slice(&scale.to_le_bytes());
        }
    }
    matrix
}

/// All numbers as they are stored.
fn stored(matrix: &Quantised) -> Vec<f32> {
    let [rows, columns] = matrix.head.stored;
    let mut values = vec![f32::NAN; rows * columns];
    for (row, out) in values.chunks_exact_mut(columns).enumerate() {
        matrix.view().read(row, 0, out);
    }
    assert!(values.iter().all(|value| value.is_finite()));
    values
}

#[test]
fn any_run_of_a_row_is_that_of_the_whole_row() {
    for format in BlockFormat::ALL {
        // Rows of whole blocks, of less than one, and of a part more; of an odd length.
        for columns in [512, 7, 600, 333] {
            let matrix = random(format, [3, columns], false);
            let whole = stored(&matrix);
            let view = matrix.view();
            for row in 0..3 {
                for start in
                    [0, 1, 5, 31, 32, 64, 255, 256, 300].into_iter().filter(|s| *s <= columns)
                {
                    for len in [0, 1, 2, 31, 33, 256].into_iter().filter(|l| start + l <= columns) {
                        let mut run = vec![f32::NAN; len];
                        view.read(row, start, &mut run);
                        let expected = &whole[row * columns + start..][..len];
                        assert_eq!(run, expected, "{format:?} {columns} {row} {start} {len}");
                    }
                }
            }
        }
    }
}

#[test]
fn rows_of_a_transposed_matrix_are_its_columns() {
    for format in BlockFormat::ALL {
        let (plain, turned) = (random(format, [5, 70], false), random(format, [5, 70], true));
        let values = stored(&plain);
        assert_eq!((plain.view().shape(), turned.view().shape()), ([5, 70], [70, 5]));
        let mut rows = vec![0.0; 2 * 70];
        plain.view().rows(3, &mut rows);
        assert_eq!(rows, values[3 * 70..]);
        let mut rows = vec![0.0; 40 * 5];
        turned.view().rows(30, &mut rows);
        for (i, value) in rows.iter().enumerate() {
            assert_eq!(*value, values[i % 5 * 70 + 30 + i / 5], "{format:?} {i}");
        }
    }
}

#[test]
fn levels_rise_and_hold_zero_and_one() {
    let rising = |levels: &[f32]| levels.windows(2).all(|pair| pair[0] < pair[1]);
    assert!(rising(&nf4::LEVELS) && rising(&nf4::DYNAMIC));
    assert_eq!((nf4::LEVELS[0], nf4::LEVELS[7], nf4::LEVELS[15]), (-1.0, 0.0, 1.0));
    assert_eq!((nf4::DYNAMIC[127], nf4::DYNAMIC[255]), (0.0, 1.0));
}

#[test]
#[should_panic(expected = "beyond its row")]
fn a_run_beyond_its_row_is_refused() {
    random(BlockFormat::Q4_0, [2, 40], false).view().read(0, 30, &mut [0.0; 11]);
}

#[cfg(feature = "flex")]
mod flex {
    use burn::tensor::{DType, Shape};
    use burn_flex::{FlexTensor, Layout};

    use super::*;
    use crate::few_rows::FEW;
    use crate::product::{Accumulate, MatMut, MatRef, Threads, product};
    use crate::tiled::{Tiled, tiled_product};

    /// Sums of the same products in f32 in another order: each within `k u / (1 - k u)` of the sum of the products'
    /// sizes (Higham, section 3.1).
    #[test]
    fn products_are_those_of_the_numbers_in_f32() {
        for format in BlockFormat::ALL {
            for [m, k, n] in [[1, 5, 3], [3, 577, 300], [70, 600, 513], [2, 3, 900]] {
                let a: Vec<f32> =
                    bytes(m * k, 7).map(|byte| f32::from(byte.cast_signed()) / 64.0).collect();
                let lhs = MatRef::dense(&a, [m, k]);
                for transposed in [false, true] {
                    let matrix =
                        random(format, if transposed { [n, k] } else { [k, n] }, transposed);
                    let values = stored(&matrix);
                    let turn = |values| match transposed {
                        false => MatRef::dense(values, [k, n]),
                        true => MatRef::dense(values, [n, k]).transposed(),
                    };
                    let sizes = |values: &[f32]| values.iter().map(|value| value.abs()).collect();
                    let (a_sizes, b_sizes): (Vec<f32>, Vec<f32>) = (sizes(&a), sizes(&values));
                    let [mut expected, mut allowed] = [vec![1.0; m * n], vec![1.0; m * n]];
                    product(
                        MatMut::dense(&mut expected, [m, n]),
                        Accumulate::Add,
                        lhs,
                        turn(&values),
                        Threads::One,
                    );
                    let a_sizes = MatRef::dense(&a_sizes, [m, k]);
                    product(
                        MatMut::dense(&mut allowed, [m, n]),
                        Accumulate::Add,
                        a_sizes,
                        turn(&b_sizes),
                        Threads::One,
                    );
                    let share = 2.0 * (k + 2) as f32 * 2.0_f32.powi(-24);
                    for threads in [Threads::One, Threads::All] {
                        let mut got = vec![1.0; m * n];
                        tiled_product(
                            MatMut::dense(&mut got, [m, n]),
                            Accumulate::Add,
                            lhs,
                            matrix.view(),
                            threads,
                        );
                        for ((got, expected), allowed) in got.iter().zip(&expected).zip(&allowed) {
                            let off = (got - expected).abs();
                            assert!(
                                off <= share * allowed,
                                "{format:?} {m} {k} {n} {got} {expected}"
                            );
                        }
                    }
                }
            }
        }
    }

    /// Whether both are the same number, or neither is one.
    fn same(a: &[f32], b: &[f32]) -> bool {
        let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
        a.len() == b.len() && a.iter().zip(b).all(same)
    }

    /// Blocks without order, with scales of either sign, below what is normal, none, and such as are no numbers.
    fn with_all_kinds_of_scales(format: BlockFormat, stored: [usize; 2]) -> Quantised {
        const KINDS: [u16; 11] = [
            0x0001, 0x83ff, 0x0000, 0x8000, 0x3c00, 0xbc12, 0x0400, 0x7bff, 0x7c00, 0xfc00, 0x7e00,
        ];
        let mut matrix = random(format, stored, true);
        let blocks = matrix.bytes_mut();
        if format == BlockFormat::NF4 {
            blocks[..4].copy_from_slice(&(-0.25_f32).to_ne_bytes());
            return matrix;
        }
        let size = format.row_bytes(format.block_len());
        for (index, block) in blocks.chunks_exact_mut(size).enumerate() {
            for &at in scales(format) {
                let kind = KINDS[(index * 3 + at) % KINDS.len()];
                block[at..at + 2].copy_from_slice(&kind.to_le_bytes());
            }
        }
        matrix
    }

    /// The functions for any processor are the others' twins.
    #[test]
    fn numbers_by_vectors_are_bit_for_bit_those_for_any_processor() {
        for format in BlockFormat::ALL {
            for columns in [512, 7, 600, 333, 448, 96] {
                let matrix = with_all_kinds_of_scales(format, [9, columns]);
                let view = matrix.view();
                for row in 0..9 {
                    for start in [0, 1, 32, 64, 200, 256].into_iter().filter(|s| *s <= columns) {
                        for len in [0, 31, 64, 150, columns].map(|len| len.min(columns - start)) {
                            let (mut got, mut expected) =
                                (vec![f32::NAN; len], vec![f32::NAN; len]);
                            view.convert(row, start, &mut got);
                            view.read(row, start, &mut expected);
                            let what = format!("{format:?} {columns} {row} {start} {len}");
                            assert!(same(&got, &expected), "{what}: {got:?}, not {expected:?}");
                        }
                    }
                }
            }
        }
    }

    /// Generation stands on it: a text depends neither on those written beside it nor on how numbers are made.
    #[test]
    fn a_row_is_bit_for_bit_what_it_is_alone_and_over_numbers_in_f32() {
        // Whole strips and others, whole blocks and others, columns that come alone, some for each core.
        for [k, n] in [[64, 7], [576, 35], [96, 70], [41, 5], [768, 130], [1536, 200]] {
            let x: Vec<f32> =
                bytes(FEW * k, 3).map(|byte| f32::from(byte.cast_signed()) / 50.0).collect();
            for format in BlockFormat::ALL {
                let matrix = random(format, [n, k], true);
                let values = stored(&matrix);
                let weight = MatRef::dense(&values, [n, k]).transposed();
                for rows in [1, 2, 3, 4, 5, 7, 13, FEW] {
                    for accumulate in [Accumulate::Set, Accumulate::Add] {
                        let lhs = MatRef::dense(&x[..rows * k], [rows, k]);
                        let mut got = vec![0.5; rows * n];
                        let dst = MatMut::dense(&mut got, [rows, n]);
                        tiled_product(dst, accumulate, lhs, matrix.view(), Threads::All);
                        let mut expected = vec![0.5; rows * n];
                        for (out, x) in expected.chunks_exact_mut(n).zip(x.chunks_exact(k)) {
                            let (dst, x) = (MatMut::dense(out, [1, n]), MatRef::dense(x, [1, k]));
                            product(dst, accumulate, x, weight, Threads::One);
                        }
                        assert!(same(&got, &expected), "{format:?} {rows} {k} {n} {accumulate:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_carrier_has_the_shape_and_gives_its_matrix_back_and_is_no_number_itself() {
        for transposed in [false, true] {
            let matrix = random(BlockFormat::Q4_K, [3, 70], transposed);
            let expected = stored(&matrix);
            let shape = matrix.view().shape();
            let carrier = QuantisedMatrix::carrier(matrix);
            assert_eq!(carrier.layout().shape()[..], shape);
            let found = QuantisedMatrix::of(&carrier.clone()).unwrap();
            let mut row = vec![0.0; 70];
            found.view().read(2, 0, &mut row);
            assert_eq!(row, expected[140..]);
            assert_eq!(found.view().bytes(), 3 * 144);
            let numbers = carrier.to_contiguous();
            assert!(numbers.as_slice::<f32>().unwrap().iter().all(|number| number.is_nan()));
            // What is made of a carrier is none.
            assert!(QuantisedMatrix::of(&numbers).is_none());
            assert!(QuantisedMatrix::of(&carrier.transpose(0, 1)).is_none());
            assert!(QuantisedMatrix::of(&carrier.narrow(0, 1, 1)).is_none());
        }
        let expanded = Layout::new(Shape::from([3, 70]), vec![0, 0], 0);
        let numbers = burn::tensor::Bytes::from_elems(vec![f32::NAN; 8]);
        assert!(QuantisedMatrix::of(&FlexTensor::new(numbers, expanded, DType::F32)).is_none());
    }
}
