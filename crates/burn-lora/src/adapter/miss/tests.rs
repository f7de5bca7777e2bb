//! MiSS against float64, by the definition: LoRA whose A is the matrix that adds shards up.

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};

use super::super::reference::{Expected, Matrix, expected};
use super::super::{Adaptation, Input, Strength, test_device};
use super::Miss;
use crate::{AdapterConfig, FrozenWeight, LoraError, Method, Sizes};

/// As in `tests/values.rs`: sums of a few hundred float32 products of values around 1.
const TOLERANCE: f64 = 1e-4;
const ROWS: usize = 6;
const D_OUT: usize = 5;

/// Inputs and rank: shards that fill the inputs, a last one that is shorter, one alone, one input each.
const SIZES: [[usize; 2]; 5] = [[300, 4], [301, 8], [7, 7], [9, 5], [10, 1]];

struct Case {
    x: Matrix,
    w: Matrix,
    block: Matrix,
    mask: Option<Matrix>,
    dy: Matrix,
}

impl Case {
    fn new([d_in, rank]: [usize; 2], dropout: bool) -> Self {
        let mut mask = Matrix::random(ROWS, d_in, 7);
        mask.values.iter_mut().for_each(|v| *v = if *v > 0.0 { 2.0 } else { 0.0 });
        Self {
            x: Matrix::random(ROWS, d_in, 1),
            w: Matrix::random(d_in, D_OUT, 2),
            block: Matrix::random(rank, D_OUT, 4),
            mask: dropout.then_some(mask),
            dy: Matrix::random(ROWS, D_OUT, 6),
        }
    }

    /// `R`: row i is the unit row of `i mod rank`.
    fn adding(&self) -> Matrix {
        let rank = self.block.rows;
        Matrix::from_fn(self.w.rows, rank, |i, j| if i % rank == j { 1.0 } else { 0.0 })
    }

    fn expected(&self, scale: f64) -> Expected {
        let (r, mask) = (self.adding(), self.mask.as_ref());
        expected(&self.x, &self.w, &r, &self.block, None, scale, mask, &self.dy)
    }

    fn miss(&self, device: &Device) -> Miss {
        let block = to_tensor(&self.block.transposed(), device);
        Miss { block: Param::from_tensor(block), d_in: self.w.rows, groups: 1 }
    }

    fn input(&self, device: &Device) -> Input {
        let weight = Param::from_tensor(to_tensor(&self.w, device)).set_require_grad(false);
        Input {
            x: to_tensor(&self.x, device).require_grad(),
            weight: FrozenWeight::of(&weight),
            mask: self.mask.as_ref().map(|mask| to_tensor(mask, device)),
        }
    }
}

fn to_tensor(matrix: &Matrix, device: &Device) -> Tensor<2> {
    let values: Vec<f32> = matrix.values.iter().map(|&v| v as f32).collect();
    Tensor::from_data(TensorData::new(values, [matrix.rows, matrix.columns]), device)
}

fn check_close(what: &str, got: Tensor<2>, expected: &Matrix) {
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
    Strength { scale: 1.0, multiplier }
}

/// The operation with its own backward, and the one of single operations that is its twin.
#[test]
fn output_and_gradients_equal_float64_for_every_way_the_inputs_fall_into_shards() {
    let device = device();
    for sizes in SIZES {
        for (dropout, multiplier) in [(false, 1.0), (true, 1.0), (false, 0.5), (true, -2.0)] {
            let case = Case::new(sizes, dropout);
            let expected = case.expected(multiplier);
            let miss = case.miss(&device);
            for alone in [true, false] {
                let input = case.input(&device);
                let what = |name| format!("{sizes:?}, {dropout}, {multiplier}, {alone}: {name}");
                let strength = strength(multiplier);
                let y = match alone {
                    true => miss.forward(input.clone(), strength),
                    false => {
                        let base = input.weight.multiply(input.x.clone());
                        base + miss.branch(input.clone(), strength)
                    }
                };
                check_close(&what("y"), y.clone(), &expected.y);
                let grads = (y * to_tensor(&case.dy, &device)).sum().backward();
                check_close(&what("dx"), input.x.grad(&grads).unwrap(), &expected.dx);
                let block = miss.block.grad(&grads).unwrap();
                check_close(&what("dD"), block, &expected.db.transposed());
            }
        }
    }
}

#[test]
fn the_change_of_the_weight_repeats_the_block() {
    let device = device();
    for sizes in SIZES {
        let case = Case::new(sizes, false);
        let change = case.adding().times(&case.block).scaled(0.5);
        let weight = to_tensor(&case.w, &device);
        check_close("change", case.miss(&device).change(weight, strength(0.5)), &change);
    }
}

#[test]
fn a_rank_above_the_inputs_is_refused_whoever_asks() {
    let device = device();
    let weight = Param::from_tensor(Tensor::<2>::zeros([3, 8], &device));
    let config = AdapterConfig::new(4).with_method(Method::Miss);
    let refused = LoraError::Shards { rank: 4, d_in: 3 };
    let fresh = crate::Adapter::init("x", &config, &weight, 0).unwrap_err();
    let given = crate::Adapter::from_values("x", &config, &weight, |_| vec![0.0; 32]).unwrap_err();
    assert_eq!([fresh, given], [refused.clone(), refused]);
    let sizes = Sizes { d_in: 4, d_out: 1, rank: 4, groups: 1 };
    assert_eq!(Method::Miss.fits(sizes), Ok(()));
    assert!(Method::Lora.fits(Sizes { rank: 9, ..sizes }).is_ok());
}
