//! LoRA with a bias on B against float64, by the definition.

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};

use super::super::reference::{Expected, Matrix, expected};
use super::super::{Adaptation, Input, Strength, test_device};
use super::LoraBias;
use crate::{AdapterConfig, FrozenWeight, Method};

/// As in `tests/values.rs`: sums of a few hundred float32 products of values around 1.
const TOLERANCE: f64 = 1e-4;
const ROWS: usize = 6;
const D_IN: usize = 300;
const D_OUT: usize = 5;
const RANK: usize = 4;

fn device() -> Device {
    crate::device::parse(&test_device::name()).unwrap().autodiff()
}

fn to_tensor(matrix: &Matrix, device: &Device) -> Tensor<2> {
    let values: Vec<f32> = matrix.values.iter().map(|value| *value as f32).collect();
    Tensor::from_data(TensorData::new(values, [matrix.rows, matrix.columns]), device)
}

fn check_close<const D: usize>(what: &str, found: Tensor<D>, expected: &[f64]) {
    let found = found.try_into_vec_as::<f32>().unwrap();
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        let off = (f64::from(*found) - expected).abs();
        assert!(off < TOLERANCE * expected.abs().max(1.0), "{what}: {found} is not {expected}");
    }
}

#[test]
fn output_and_gradients_are_those_of_the_definition() {
    let device = device();
    let mut mask = Matrix::random(ROWS, D_IN, 7);
    mask.values.iter_mut().for_each(|v| *v = if *v > 0.0 { 2.0 } else { 0.0 });
    let (x, w) = (Matrix::random(ROWS, D_IN, 1), Matrix::random(D_IN, D_OUT, 2));
    let (a, b) = (Matrix::random(D_IN, RANK, 3), Matrix::random(RANK, D_OUT, 4));
    let (beta, dy) = (Matrix::random(1, D_OUT, 5), Matrix::random(ROWS, D_OUT, 6));
    for (scale, multiplier) in [(1.5, 1.0), (0.5, -2.0)] {
        let total = scale * multiplier;
        for mask in [None, Some(&mask)] {
            let shift = beta.scaled(total);
            let Expected { y, dx, da, db } =
                expected(&x, &w, &a, &b, Some(&shift), total, mask, &dy);
            let beta = Tensor::<1>::from_data(
                TensorData::new(beta.values.iter().map(|v| *v as f32).collect::<Vec<_>>(), [D_OUT]),
                &device,
            );
            let adapter = LoraBias {
                a: Param::from_tensor(to_tensor(&a, &device)),
                b: Param::from_tensor(to_tensor(&b, &device)),
                beta: Param::from_tensor(beta),
            };
            let weight = Param::from_tensor(to_tensor(&w, &device)).set_require_grad(false);
            let weight = FrozenWeight::of(&weight);
            let x = to_tensor(&x, &device).require_grad();
            let mask = mask.map(|mask| to_tensor(mask, &device));
            let input = Input { x: x.clone(), weight: weight.clone(), mask };
            let strength = Strength { scale, multiplier };

            let branch = adapter.branch(input.clone(), strength);
            let base = weight.multiply(x.clone());
            check_close("beside", branch + base, &y.values);
            let output = adapter.forward(input, strength);
            check_close("y", output.clone(), &y.values);
            let grads = (output * to_tensor(&dy, &device)).sum().backward();
            check_close("dx", x.grad(&grads).unwrap(), &dx.values);
            check_close("dA", adapter.a.val().grad(&grads).unwrap(), &da.values);
            check_close("dB", adapter.b.val().grad(&grads).unwrap(), &db.values);
            let column = |j: usize| (0..ROWS).map(|i| dy.at(i, j)).sum::<f64>() * total;
            let d_beta: Vec<f64> = (0..D_OUT).map(column).collect();
            check_close("dβ", adapter.beta.val().grad(&grads).unwrap(), &d_beta);
        }
    }
}

#[test]
fn the_bias_starts_at_zero_and_is_trained_at_the_larger_rate() {
    let device = device();
    let weight = Param::from_tensor(to_tensor(&Matrix::random(D_IN, D_OUT, 2), &device));
    let config = AdapterConfig::new(RANK).with_method(Method::LoraBias);
    let fresh = LoraBias::init(&config, &weight, 3).unwrap();
    check_close("β", fresh.beta.val(), &[0.0; D_OUT]);
    let factor = Method::LoraBias.factor("beta").unwrap();
    assert!(factor.trained && factor.lora_plus);
    assert_eq!(factor.key, "lora_B.bias");
}
