//! DoRA against float64, by the definition: `V` formed, its norms taken, no identity used.

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};

use super::super::reference::{Matrix, expected};
use super::super::{Adaptation, Input, Strength, test_device};
use super::{Dora, squares};
use crate::FrozenWeight;

/// As in `tests/values.rs`: sums of a few hundred float32 products of values around 1. The norm by the
/// identity adds three such sums, none much larger than the result for the values drawn here.
const TOLERANCE: f64 = 1e-4;
const SCALE: f64 = 1.75;
const SHAPE: [usize; 4] = [6, 300, 5, 3];

struct Case {
    x: Matrix,
    w: Matrix,
    a: Matrix,
    b: Matrix,
    magnitude: Matrix,
    mask: Option<Matrix>,
    dy: Matrix,
}

struct Expected {
    y: Matrix,
    dx: Matrix,
    da: Matrix,
    db: Matrix,
    dm: Matrix,
    /// `W'`.
    composed: Matrix,
}

impl Case {
    fn new(dropout: bool) -> Self {
        let [rows, d_in, d_out, rank] = SHAPE;
        let mut magnitude = Matrix::random(1, d_out, 5);
        magnitude.values.iter_mut().for_each(|m| *m += 9.0);
        let mut mask = Matrix::random(rows, d_in, 7);
        mask.values.iter_mut().for_each(|v| *v = if *v > 0.0 { 2.0 } else { 0.0 });
        Self {
            x: Matrix::random(rows, d_in, 1),
            w: Matrix::random(d_in, d_out, 2),
            a: Matrix::random(d_in, rank, 3),
            b: Matrix::random(rank, d_out, 4),
            magnitude,
            mask: dropout.then_some(mask),
            dy: Matrix::random(rows, d_out, 6),
        }
    }

    /// The layer and the gradients of `sum(y ∘ dy)`, the norms being constants.
    fn expected(&self) -> Expected {
        let [rows, d_in, d_out, _] = SHAPE;
        let v = self.w.plus(&self.a.times(&self.b).scaled(SCALE));
        let norm = |j: usize| (0..d_in).map(|i| v.at(i, j).powi(2)).sum::<f64>().sqrt();
        let norms: Vec<f64> = (0..d_out).map(norm).collect();
        let gain = |j: usize| self.magnitude.at(0, j) / norms[j];
        let scaled = |m: &Matrix| Matrix::from_fn(m.rows, d_out, |i, j| m.at(i, j) * gain(j));
        let masked = |m: &Matrix| match &self.mask {
            Some(mask) => m.zip(mask, |value, keep| value * keep),
            None => m.clone(),
        };
        let (dropped, dz) = (masked(&self.x), scaled(&self.dy));
        let turned = expected(&dropped, &self.w, &self.a, &self.b, None, SCALE, None, &dz);
        let rest = self.x.plus(&dropped.scaled(-1.0));
        let through_rest = self.dy.times(&self.w.transposed());
        Expected {
            y: scaled(&turned.y).plus(&rest.times(&self.w)),
            dx: through_rest.plus(&masked(&turned.dx.plus(&through_rest.scaled(-1.0)))),
            da: turned.da,
            db: turned.db,
            dm: Matrix::from_fn(1, d_out, |_, j| {
                (0..rows).map(|i| self.dy.at(i, j) * turned.y.at(i, j)).sum::<f64>() / norms[j]
            }),
            composed: scaled(&v),
        }
    }

    fn weight(&self, device: &Device) -> Param<Tensor<2>> {
        Param::from_tensor(to_tensor(&self.w, device)).set_require_grad(false)
    }

    fn dora(&self, device: &Device) -> Dora {
        Dora {
            a: Param::from_tensor(to_tensor(&self.a, device)),
            b: Param::from_tensor(to_tensor(&self.b, device)),
            magnitude: Param::from_tensor(to_tensor(&self.magnitude, device).reshape([SHAPE[2]])),
            squares: squares(&self.weight(device)),
            initial: None,
        }
    }

    fn input(&self, device: &Device) -> Input {
        Input {
            x: to_tensor(&self.x, device).require_grad(),
            weight: FrozenWeight::of(&self.weight(device)),
            mask: self.mask.as_ref().map(|mask| to_tensor(mask, device)),
        }
    }
}

fn to_tensor(matrix: &Matrix, device: &Device) -> Tensor<2> {
    let values: Vec<f32> = matrix.values.iter().map(|&v| v as f32).collect();
    Tensor::from_data(TensorData::new(values, [matrix.rows, matrix.columns]), device)
}

fn check_close<const D: usize>(what: &str, got: Tensor<D>, expected: &Matrix) {
    let got: Vec<f32> = got.into_data().convert::<f32>().try_to_vec().unwrap();
    assert_eq!(got.len(), expected.values.len(), "{what}: size");
    let largest = expected.values.iter().fold(1e-3_f64, |m, v| m.max(v.abs()));
    for (i, (&got, &expected)) in got.iter().zip(&expected.values).enumerate() {
        let off = (f64::from(got) - expected).abs() / largest;
        assert!(off < TOLERANCE, "{what}[{i}]: {got} instead of {expected}");
    }
}

fn device() -> Device {
    crate::device::parse(&test_device::name()).unwrap().autodiff()
}

fn strength(multiplier: f64) -> Strength {
    Strength { scale: SCALE, multiplier }
}

#[test]
fn forward_and_gradients_equal_float64_with_and_without_dropout() {
    for dropout in [false, true] {
        let case = Case::new(dropout);
        let expected = case.expected();
        let device = device();
        let (dora, input) = (case.dora(&device), case.input(&device));
        let y = dora.forward(input.clone(), strength(1.0));
        check_close("y", y.clone(), &expected.y);
        let grads = (y * to_tensor(&case.dy, &device)).sum().backward();
        check_close("dx", input.x.grad(&grads).unwrap(), &expected.dx);
        check_close("dA", dora.a.grad(&grads).unwrap(), &expected.da);
        check_close("dB", dora.b.grad(&grads).unwrap(), &expected.db);
        check_close("dm", dora.magnitude.grad(&grads).unwrap(), &expected.dm);
    }
}

#[test]
fn the_composed_weight_and_its_gradients_equal_float64() {
    let case = Case::new(false);
    let expected = case.expected();
    let device = device();
    let (dora, input) = (case.dora(&device), case.input(&device));
    let weight = input.weight.dense();
    let composed = weight.clone() + dora.change(weight, strength(1.0));
    check_close("W'", composed.clone(), &expected.composed);
    let grads = (input.x.matmul(composed) * to_tensor(&case.dy, &device)).sum().backward();
    check_close("dA", dora.a.grad(&grads).unwrap(), &expected.da);
    check_close("dB", dora.b.grad(&grads).unwrap(), &expected.db);
    check_close("dm", dora.magnitude.grad(&grads).unwrap(), &expected.dm);
}

/// Alone, beside another adapter and merged: the share of the change that is asked for.
#[test]
fn a_multiplier_takes_its_share_of_the_change() {
    for dropout in [false, true] {
        let case = Case::new(dropout);
        let (full, base) = (case.expected().y, case.x.times(&case.w));
        let device = device();
        let (dora, input) = (case.dora(&device), case.input(&device));
        for multiplier in [0.25, 1.0, -0.5] {
            let change = full.plus(&base.scaled(-1.0)).scaled(multiplier);
            let alone = dora.forward(input.clone(), strength(multiplier));
            check_close("alone", alone, &base.plus(&change));
            let beside = dora.branch(input.clone(), strength(multiplier));
            check_close("beside", beside, &change);
            if !dropout {
                let change_of_weight = dora.change(input.weight.dense(), strength(multiplier));
                check_close("merged", input.x.clone().matmul(change_of_weight), &change);
            }
        }
    }
}

/// A column of zeros has no direction; it must not turn a step into not-a-numbers.
#[test]
fn a_column_of_zeros_stays_finite() {
    let mut case = Case::new(false);
    for row in 0..SHAPE[1] {
        case.w.values[row * SHAPE[2]] = 0.0;
    }
    case.b.values.iter_mut().for_each(|b| *b = 0.0);
    let device = device();
    let mut dora = case.dora(&device);
    dora.magnitude = Param::from_tensor(dora.squares.clone().sqrt());
    let y = dora.forward(case.input(&device), strength(1.0));
    let grads = y.clone().sum().backward();
    let finite = |tensor: Tensor<1>| {
        let values: Vec<f32> = tensor.into_data().try_to_vec().unwrap();
        values.iter().all(|value| value.is_finite())
    };
    assert!(finite(y.flatten(0, 1)));
    assert!(finite(dora.a.grad(&grads).unwrap().flatten(0, 1)));
    assert!(finite(dora.b.grad(&grads).unwrap().flatten(0, 1)));
    assert!(finite(dora.magnitude.grad(&grads).unwrap()));
}
