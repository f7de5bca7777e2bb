//! Every question of every kind of frozen weight against float64, written out by hand, on odd shapes and
//! in every format that the device has.
//!
//! Tolerance: a weight is rounded to its format first, and float64 computes with the rounded one. A sum
//! of `n` products in f32, in any order and with the products rounded or not, is off by at most
//! `n u / (1 - n u)` of the sum of the products' sizes, `u = 2^-24` (Higham, Accuracy and Stability of
//! Numerical Algorithms, section 3.1). A GPU multiplies with a weight of 16 bits in its format: what meets the
//! weight is rounded to it first, which adds the unit roundoff of the format to that share.

mod reference;
mod test_device;

use burn::module::{Module, Param};
use burn::nn::{Embedding, Linear};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use burn_lora::{Adapter, Adapters, FrozenWeight, LoraForward, attach, embed, unembed};
use burn_lora_kernels::quantised::{BlockFormat, Quantised};
use half::{bf16, f16};
use proptest::prelude::*;
use reference::Matrix;

/// What a weight is held in.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Format {
    Numbers(DType),
    /// Blocks of the weight, or of the transposed.
    Blocks(BlockFormat, bool),
}

use Format::{Blocks, Numbers};

const FORMATS: [Format; 6] = [
    Numbers(DType::F32),
    Numbers(DType::F16),
    Numbers(DType::BF16),
    Blocks(BlockFormat::Q4_1, true),
    Blocks(BlockFormat::Q4_1, false),
    Blocks(BlockFormat::NF4, true),
];

impl Format {
    fn is_on(self, device: &Device) -> bool {
        match self {
            Numbers(dtype) => device.supports_dtype(dtype),
            Blocks(..) => burn_lora::device::is_flex(device),
        }
    }
}

/// The device, without autodiff, with every format that it has.
fn cases() -> Vec<(Device, Format)> {
    let name = test_device::name();
    let device = burn_lora::device::parse(&name).unwrap();
    let (had, lacked): (Vec<_>, Vec<_>) =
        FORMATS.into_iter().partition(|format| format.is_on(&device));
    assert!(lacked.is_empty() || !["cpu", "flex"].contains(&name.as_str()), "Flex has them all");
    if !lacked.is_empty() {
        eprintln!("{name} reports no {lacked:?}: those weights are not tested there");
    }
    had.into_iter().map(|format| (device.clone(), format)).collect()
}

fn rounded(value: f64, format: DType) -> f64 {
    match format {
        DType::F16 => f16::from_f32(value as f32).to_f64(),
        DType::BF16 => bf16::from_f32(value as f32).to_f64(),
        _ => f64::from(value as f32),
    }
}

/// Blocks without order whose scales are finite, and not zero.
fn blocks(shape: [usize; 2], seed: u64, format: BlockFormat, transposed: bool) -> Quantised {
    let stored = if transposed { [shape[1], shape[0]] } else { shape };
    let mut matrix = Quantised::zeroed(format, stored, transposed);
    let bytes = matrix.bytes_mut();
    let mut state = seed as u32 + 1;
    for byte in bytes.iter_mut() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (state >> 24) as u8;
    }
    if format == BlockFormat::NF4 {
        let groups = (shape[0] * shape[1]).div_ceil(64).div_ceil(256);
        for place in bytes[..4 + 4 * groups].chunks_exact_mut(4) {
            place.copy_from_slice(&1.0_f32.to_ne_bytes());
        }
    } else {
        for block in bytes.chunks_exact_mut(20) {
            block[..2].copy_from_slice(&f16::from_f32(0.1).to_le_bytes());
            block[2..4].copy_from_slice(&f16::from_f32(-0.7).to_le_bytes());
        }
    }
    matrix
}

/// A weight, and its values in float64.
fn weight(
    shape: [usize; 2],
    seed: u64,
    (device, format): &(Device, Format),
) -> (FrozenWeight, Matrix) {
    let format = match *format {
        Numbers(dtype) => dtype,
        Blocks(format, transposed) => {
            let matrix = blocks(shape, seed, format, transposed);
            let mut values = vec![0.0; shape[0] * shape[1]];
            matrix.view().rows(0, &mut values);
            let values = values.into_iter().map(f64::from).collect();
            let weight = FrozenWeight::quantised(matrix, device).unwrap();
            assert!(matches!(&weight, FrozenWeight::Quantised(..)));
            return (weight, Matrix { rows: shape[0], columns: shape[1], values });
        }
    };
    let format = &format;
    let mut matrix = Matrix::random(shape[0], shape[1], seed);
    matrix.values.iter_mut().for_each(|value| *value = rounded(*value, *format));
    let values: Vec<f32> = matrix.values.iter().map(|&value| value as f32).collect();
    let tensor = Tensor::<2>::from_data(TensorData::new(values, shape), (device, DType::F32));
    let weight = FrozenWeight::from(tensor.cast(*format));
    assert_eq!(weight.dtype(), *format);
    (weight, matrix)
}

fn tensor<const D: usize>(matrix: &Matrix, shape: [usize; D], device: &Device) -> Tensor<D> {
    let values: Vec<f32> = matrix.values.iter().map(|&value| value as f32).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    assert_eq!(tensor.dtype(), DType::F32, "activations are f32");
    tensor.into_data().try_into_vec().unwrap()
}

/// The matrix with the sizes of its values.
fn sizes(matrix: &Matrix) -> Matrix {
    let values = matrix.values.iter().map(|value| value.abs()).collect();
    Matrix { values, ..matrix.clone() }
}

/// `n u / (1 - n u)`, and one for the rounding of what is compared with.
fn gamma(n: usize) -> f64 {
    let nu = (n + 1) as f64 * 2.0_f64.powi(-24);
    nu / (1.0 - nu)
}

/// The unit roundoff of what meets a weight of this format on the device; 0 where nothing is rounded.
fn roundoff((device, format): &(Device, Format)) -> f64 {
    match format {
        _ if burn_lora::device::is_cpu(device) => 0.0,
        Numbers(DType::F16) => 2.0_f64.powi(-11),
        Numbers(DType::BF16) => 2.0_f64.powi(-8),
        _ => 0.0,
    }
}

/// Sums of `terms` products each, whose sizes are summed in `sizes`.
fn check(what: &str, got: &[f32], expected: &Matrix, sizes: &Matrix, terms: usize) {
    check_rounded(what, got, expected, sizes, gamma(terms));
}

/// The same with the share of `sizes` that is allowed.
fn check_rounded(what: &str, got: &[f32], expected: &Matrix, sizes: &Matrix, share: f64) {
    assert_eq!(got.len(), expected.values.len(), "{what}: size");
    for (i, (&got, expected)) in got.iter().zip(&expected.values).enumerate() {
        let off = (f64::from(got) - expected).abs();
        let allowed = share * sizes.values[i];
        assert!(off <= allowed, "{what}[{i}]: {got} instead of {expected}, allowed {allowed:e}");
    }
}

#[test]
fn products_and_their_gradients_equal_float64() {
    for case in cases() {
        let check = |what: &str, got: &[f32], (expected, sizes): &(Matrix, Matrix), terms| {
            check_rounded(what, got, expected, sizes, gamma(terms) + roundoff(&case));
        };
        for rows in [1, 3, 129] {
            for [d_in, d_out] in [[17, 64], [64, 577], [577, 17]] {
                let device = case.0.clone().autodiff();
                let (w, matrix) = weight([d_in, d_out], 1, &(device.clone(), case.1));
                let what = format!("{:?} {rows} {d_in} {d_out}", case.1);
                let x = Matrix::random(rows, d_in, 2);
                let y = Matrix::random(rows, d_out, 3);
                let transposed = matrix.transposed();

                let input = tensor(&x, [rows, d_in], &device).require_grad();
                let output = w.multiply(input.clone());
                let weighted = output.clone() * tensor(&y, [rows, d_out], &device);
                let grads = weighted.sum().backward();
                let of_x = (x.times(&matrix), sizes(&x).times(&sizes(&matrix)));
                let of_y = (y.times(&transposed), sizes(&y).times(&sizes(&transposed)));
                check(&what, &values(output), &of_x, d_in);
                let grad = values(input.grad(&grads).unwrap());
                check(&format!("{what} dx"), &grad, &of_y, d_out);

                // And from the other side.
                let input = tensor(&y, [rows, d_out], &device).require_grad();
                let output = w.multiply_transposed(input.clone());
                let weighted = output.clone() * tensor(&x, [rows, d_in], &device);
                let grads = weighted.sum().backward();
                check(&format!("{what} transposed"), &values(output), &of_y, d_out);
                let grad = values(input.grad(&grads).unwrap());
                check(&format!("{what} dy"), &grad, &of_x, d_in);
            }
        }
    }
}

#[test]
fn rows_and_dense_values_are_exact() {
    for case in cases() {
        let (w, matrix) = weight([129, 17], 1, &case);
        let expected: Vec<f32> = matrix.values.iter().map(|&value| value as f32).collect();
        assert_eq!(values(w.dense()), expected, "{case:?}");
        let ids = [128, 0, 5, 5];
        let rows = w.gather(Tensor::<1, Int>::from_data(TensorData::from(ids), &case.0));
        let of = |id: usize| expected[id * 17..][..17].to_vec();
        assert_eq!(values(rows), ids.map(|id| of(id as usize)).concat(), "{case:?}");
        let bytes = match case.1 {
            Numbers(dtype) => 129 * 17 * dtype.size(),
            Blocks(BlockFormat::NF4, _) => 4 + 4 + 35 + 1097,
            // Five blocks of 32 are a row of 129 numbers, and one is a row of 17.
            Blocks(_, true) => 17 * 5 * 20,
            Blocks(_, false) => 129 * 20,
        };
        assert_eq!(w.bytes(), bytes as u64);
        assert_eq!(values(w.rows(5, 2)), [of(5), of(6)].concat(), "{case:?}");
        assert_eq!(w.dims(), [129, 17]);
    }
}

#[test]
fn norms_of_columns_equal_float64_over_several_tiles() {
    for case in cases() {
        // The last has more rows than a tile of 2^20 numbers.
        for shape in [[1, 3], [129, 17], [1100, 1000]] {
            let (w, matrix) = weight(shape, 1, &case);
            let ones = Matrix { rows: 1, columns: shape[0], values: vec![1.0; shape[0]] };
            let squares = matrix.values.iter().map(|value| value * value).collect();
            let expected = ones.times(&Matrix { values: squares, ..matrix });
            let got = values(w.column_norms_squared());
            check("norms", &got, &expected, &expected, shape[0]);
        }
    }
}

#[test]
fn a_value_that_is_not_finite_is_found_in_any_tile() {
    for (device, format) in cases() {
        let Numbers(format) = format else {
            let (weight, _) = weight([1100, 1000], 1, &(device.clone(), format));
            assert!(weight.is_finite().unwrap());
            continue;
        };
        for (at, value) in [(0, f32::NAN), (1100 * 1000 - 1, f32::INFINITY), (7, f32::NEG_INFINITY)]
        {
            let mut values = vec![1.0_f32; 1100 * 1000];
            let finite = |values: &[f32]| {
                let data = TensorData::new(values.to_vec(), [1100, 1000]);
                let tensor = Tensor::<2>::from_data(data, &device).cast(format);
                FrozenWeight::from(tensor).is_finite().unwrap()
            };
            assert!(finite(&values));
            values[at] = value;
            assert!(!finite(&values), "{format:?} {at}");
        }
    }
}

#[test]
fn a_block_whose_scale_is_not_finite_is_found() {
    let device = burn_lora::device::parse(&test_device::name()).unwrap();
    for format in [BlockFormat::Q4_1, BlockFormat::NF4] {
        let mut matrix = blocks([70, 40], 1, format, false);
        let bytes = matrix.bytes_mut();
        match format {
            BlockFormat::NF4 => bytes[4..8].copy_from_slice(&f32::NAN.to_ne_bytes()),
            _ => bytes[1980..1982].copy_from_slice(&f16::INFINITY.to_le_bytes()),
        }
        match FrozenWeight::quantised(matrix, &device) {
            Some(weight) => assert!(!weight.is_finite().unwrap(), "{format:?}"),
            None => assert!(!burn_lora::device::is_flex(&device)),
        }
    }
}

/// What computes with the tensor of a parameter, and does not ask the weight, must not get numbers.
#[test]
fn the_tensor_that_carries_blocks_is_not_a_number_and_keeps_them_where_modules_go() {
    for case in cases().into_iter().filter(|(_, format)| matches!(format, Blocks(..))) {
        let (w, matrix) = weight([33, 17], 1, &case);
        let carrier = w.clone().into_tensor();
        assert!(values(carrier.clone() * 1.0).iter().all(|value| value.is_nan()));
        let expected: Vec<f32> = matrix.values.iter().map(|&value| value as f32).collect();
        let linear = Linear { weight: Param::from_tensor(carrier), bias: None };
        let linear = linear.train().no_grad().fork(&case.0.clone().autodiff());
        for linear in [linear.clone(), linear.clone().valid(), linear.to_device(&case.0)] {
            let held = FrozenWeight::of(&linear.weight);
            assert!(matches!(held, FrozenWeight::Quantised(..)), "{case:?}");
            assert_eq!(values(held.dense()), expected);
            assert_eq!(values(FrozenWeight::flattened(linear.weight.val()).dense()), expected);
        }
    }
}

#[test]
fn an_adapted_linear_of_every_kind_equals_float64_with_its_gradients() {
    for (device, format) in cases() {
        let device = device.autodiff();
        for [rows, d_in, d_out] in [[1, 17, 64], [3, 64, 577], [129, 577, 17]] {
            let (w, matrix) = weight([d_in, d_out], 1, &(device.clone(), format));
            let w = w.into_tensor();
            let [x, dy] =
                [(rows, d_in, 2), (rows, d_out, 3)].map(|(r, c, s)| Matrix::random(r, c, s));
            let [a, b] = [(d_in, 4, 4), (4, d_out, 5)].map(|(r, c, s)| Matrix::random(r, c, s));
            let bias = Matrix::random(1, d_out, 6);
            let linear = Linear {
                weight: Param::from_tensor(w).set_require_grad(false),
                bias: Some(Param::from_tensor(tensor(&bias, [d_out], &device))),
            };
            let plain = linear.lora_forward(tensor::<2>(&x, [rows, d_in], &device));
            let factors = (tensor(&a, [d_in, 4], &device), tensor(&b, [4, d_out], &device));
            let adapter = Adapter::from_factors("default", factors.0, factors.1, 0.5, 0.0).unwrap();
            let linear = attach(linear, "weight", adapter).unwrap();
            let input = tensor::<2>(&x, [rows, d_in], &device).require_grad();
            let y = linear.lora_forward(input.clone());
            // Burn's own linear takes activations of the weight's format only: `unchanged.rs` has the others.
            let composed =
                (format == Numbers(DType::F32)).then(|| linear.forward(input.clone().detach()));
            let grads = (y.clone() * tensor(&dy, [rows, d_out], &device)).sum().backward();

            let expected = reference::expected(&x, &matrix, &a, &b, Some(&bias), 0.5, None, &dy);
            // As `values.rs` argues: f32 sums of a few hundred products of values around 1. Beside it what
            // rounding to the format adds to a product with the weight.
            let rounded = roundoff(&(device.clone(), format));
            let nearly = |what: &str, got: Vec<f32>, expected: &Matrix, met: &Matrix| {
                let largest = expected.values.iter().fold(1e-3_f64, |m, v| m.max(v.abs()));
                let allowed =
                    Matrix { values: vec![gamma(1700) * largest; got.len()], ..met.clone() };
                let allowed = allowed.plus(&met.scaled(rounded));
                check_rounded(&format!("{format:?} {what}"), &got, expected, &allowed, 1.0);
            };
            let close = |what: &str, got: Vec<f32>, expected: &Matrix| {
                nearly(what, got, expected, &expected.scaled(0.0));
            };
            let forward = sizes(&x).times(&sizes(&matrix));
            nearly("y", values(y), &expected.y, &forward);
            if let Some(composed) = composed {
                close("the weight that Burn's own linear composes", values(composed), &expected.y);
            }
            let backward = sizes(&dy).times(&sizes(&matrix.transposed()));
            nearly("dx", values(input.grad(&grads).unwrap()), &expected.dx, &backward);
            let set = linear.weight.reparameterization::<Adapters>().unwrap();
            let adapter = set.get("default").unwrap();
            let factor = |name: &str| adapter.factor::<2>(name).unwrap().val();
            close("da", values(factor("a").grad(&grads).unwrap()), &expected.da);
            close("db", values(factor("b").grad(&grads).unwrap()), &expected.db);
            let base = x.times(&matrix);
            let with_bias = Matrix {
                values: base
                    .values
                    .iter()
                    .enumerate()
                    .map(|(i, v)| v + bias.values[i % d_out])
                    .collect(),
                ..base
            };
            nearly("without an adapter", values(plain), &with_bias, &forward);
        }
    }
}

#[test]
fn merging_is_dense_in_f32_whatever_the_base_is_held_in() {
    for case in cases() {
        let (w, matrix) = weight([17, 64], 1, &case);
        let base = w.into_tensor();
        let [a, b] = [(17, 4, 4), (4, 64, 5)].map(|(r, c, s)| Matrix::random(r, c, s));
        let adapter = Adapter::from_factors(
            "default",
            tensor(&a, [17, 4], &case.0),
            tensor(&b, [4, 64], &case.0),
            2.0,
            0.0,
        );
        let set = Adapters::single(adapter.unwrap()).merge(base);
        let merged = set.merged().unwrap();
        let delta = a.times(&b).scaled(2.0);
        let expected = matrix.plus(&delta);
        let allowed = sizes(&matrix).plus(&sizes(&a).times(&sizes(&b)).scaled(2.0));
        check("merged", &values(merged.clone()), &expected, &allowed, 5);
        assert!(set.unmerge().merged().is_none());
    }
}

#[test]
fn an_embedding_gives_f32_rows_and_scores_in_every_format() {
    for case in cases() {
        let (w, matrix) = weight([33, 17], 1, &case);
        let table = w.into_tensor();
        let embedding = Embedding { weight: Param::from_tensor(table).set_require_grad(false) };
        let ids = [[32, 0, 7], [7, 7, 1]];
        let rows = embed(&embedding, Tensor::<2, Int>::from_data(TensorData::from(ids), &case.0));
        assert_eq!(rows.dims(), [2, 3, 17]);
        let of = |id: usize| matrix.values[id * 17..][..17].iter().map(|&v| v as f32);
        let expected: Vec<f32> = ids.concat().into_iter().flat_map(|id| of(id as usize)).collect();
        assert_eq!(values(rows), expected);

        let hidden = Matrix::random(6, 17, 2);
        let logits = unembed(&embedding, tensor(&hidden, [2, 3, 17], &case.0));
        assert_eq!(logits.dims(), [2, 3, 33]);
        let table = matrix.transposed();
        let allowed = sizes(&hidden).times(&sizes(&table));
        let share = gamma(17) + roundoff(&case);
        check_rounded("logits", &values(logits), &hidden.times(&table), &allowed, share);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(test_device::cases(24)))]

    /// Both sides are sums of the same products in f32 in some order, so that each is within the bound of
    /// the exact sum.
    #[test]
    fn a_product_is_that_of_the_dense_values(
        rows in 1..140_usize, d_in in 1..700_usize, d_out in 1..300_usize, seed in 0..1000_u64,
    ) {
        for case in cases() {
            let (w, matrix) = weight([d_in, d_out], seed, &case);
            let x = Matrix::random(rows, d_in, seed + 1);
            let input = tensor(&x, [rows, d_in], &case.0);
            let half = values(w.multiply(input.clone()));
            let dense = values(FrozenWeight::from(w.dense()).multiply(input));
            let allowed = sizes(&x).times(&sizes(&matrix));
            for ((half, dense), allowed) in half.iter().zip(&dense).zip(&allowed.values) {
                let off = f64::from(half - dense).abs();
                let share = 2.0 * gamma(d_in) + roundoff(&case);
                prop_assert!(off <= share * allowed, "{half} instead of {dense}");
            }
        }
    }
}
