//! Forward and every gradient against float64, written out by hand.

mod reference;
mod test_device;

use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor, TensorData};
use burn_lora::{Adapter, Adapters, LoraForward, attach, lora_forward_together, lora_linear};
use proptest::prelude::*;
use reference::{Expected, Matrix};

/// Sums of at most a few hundred float32 products of values around 1: each rounds to 6e-8 of its
/// size and their errors add up like their count at worst, so 1e-4 of the largest entry is safe;
/// a wrong scale, transpose or missing term is off by parts in ten.
const TOLERANCE: f64 = 1e-4;

fn device() -> Device {
    burn_lora::device::parse(&test_device::name()).unwrap().autodiff()
}

fn to_tensor<const D: usize>(matrix: &Matrix, shape: [usize; D], device: &Device) -> Tensor<D> {
    let values: Vec<f32> = matrix.values.iter().map(|&v| v as f32).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
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

#[derive(Debug, Clone)]
struct Case {
    rows: usize,
    d_in: usize,
    d_out: usize,
    rank: usize,
    scale: f64,
    bias: bool,
    seed: u64,
}

struct Inputs {
    x: Matrix,
    w: Matrix,
    a: Matrix,
    b: Matrix,
    bias: Option<Matrix>,
    /// The gradient that arrives at the output.
    dy: Matrix,
}

impl Case {
    fn inputs(&self) -> Inputs {
        let mut seed = self.seed;
        let mut draw = |rows, columns| {
            seed += 1;
            Matrix::random(rows, columns, seed)
        };
        Inputs {
            x: draw(self.rows, self.d_in),
            w: draw(self.d_in, self.d_out),
            a: draw(self.d_in, self.rank),
            b: draw(self.rank, self.d_out),
            bias: self.bias.then(|| draw(1, self.d_out)),
            dy: draw(self.rows, self.d_out),
        }
    }

    fn linear(&self, inputs: &Inputs, device: &Device) -> Linear {
        let linear = Linear {
            weight: Param::from_tensor(to_tensor(&inputs.w, [self.d_in, self.d_out], device)),
            bias: inputs
                .bias
                .as_ref()
                .map(|bias| Param::from_tensor(to_tensor(bias, [self.d_out], device))),
        };
        let a = to_tensor(&inputs.a, [self.d_in, self.rank], device);
        let b = to_tensor(&inputs.b, [self.rank, self.d_out], device);
        let adapter = Adapter::from_factors("default", a, b, self.scale, 0.0).unwrap();
        attach(linear, "weight", adapter).unwrap()
    }

    fn expected(&self, inputs: &Inputs) -> Expected {
        reference::expected(
            &inputs.x,
            &inputs.w,
            &inputs.a,
            &inputs.b,
            inputs.bias.as_ref(),
            self.scale,
            None,
            &inputs.dy,
        )
    }
}

fn factors(linear: &Linear) -> (Tensor<2>, Tensor<2>) {
    let adapter = linear.weight.reparameterization::<Adapters>().unwrap().get("default").unwrap();
    let factor = |name: &str| adapter.factor::<2>(name).unwrap().val();
    (factor("a"), factor("b"))
}

/// x as `[rows, d_in]` (2-D) or as `[1, rows, d_in]` and `[rows, 1, d_in]` (3-D).
fn check_linear<const D: usize>(case: &Case, batch: impl Fn(usize) -> [usize; D], tracked: bool) {
    let inputs = case.inputs();
    let expected = case.expected(&inputs);
    let device = device();
    let linear = case.linear(&inputs, &device);
    let mut x: Tensor<D> = to_tensor(&inputs.x, batch(case.d_in), &device);
    if tracked {
        x = x.require_grad();
    }
    let y = linear.lora_forward(x.clone());
    check_close("y", y.clone(), &expected.y);

    let dy: Tensor<D> = to_tensor(&inputs.dy, batch(case.d_out), &device);
    let grads = (y * dy).sum().backward();
    let (a, b) = factors(&linear);
    check_close("dA", a.grad(&grads).unwrap(), &expected.da);
    check_close("dB", b.grad(&grads).unwrap(), &expected.db);
    assert!(linear.weight.base().grad(&grads).is_none(), "the base has a gradient");
    match x.grad(&grads) {
        Some(dx) => check_close("dx", dx, &expected.dx),
        None => assert!(!tracked, "x is tracked but has no gradient"),
    }
}

fn check_all_shapes(case: &Case) {
    for tracked in [true, false] {
        check_linear(case, |width| [case.rows, width], tracked);
        check_linear(case, |width| [1, case.rows, width], tracked);
        check_linear(case, |width| [case.rows, 1, width], tracked);
    }
}

#[test]
fn forward_and_gradients_equal_float64() {
    for bias in [false, true] {
        check_all_shapes(&Case { rows: 6, d_in: 7, d_out: 5, rank: 3, scale: 1.75, bias, seed: 1 });
    }
}

#[test]
fn rows_that_burn_would_keep_batched_are_right_too() {
    // Burn's own linear keeps the batch where the row count is a multiple of 32.
    let case = Case { rows: 64, d_in: 33, d_out: 40, rank: 4, scale: 0.5, bias: true, seed: 2 };
    check_linear(&case, |width| [2, 32, width], true);
    check_linear(&case, |width| [64, width], true);
}

/// Where kernels change their way: a narrow factor's, one that is too wide for them, rows that end inside of what a unit has.
#[test]
fn ranks_and_rows_on_both_sides_of_a_kernels_limits_equal_float64() {
    for (rows, rank) in [(1, 1), (9, 3), (300, 16), (17, 64), (17, 65)] {
        let case = Case { rows, d_in: 70, d_out: 129, rank, scale: 0.75, bias: false, seed: 5 };
        check_linear(&case, |width| [rows, width], true);
    }
}

/// Queries, keys and values of one input: of few rows, of such as go over panels, and of such as are cut among cores. Of the third layer no
/// output is used in one case.
#[test]
fn layers_of_one_input_equal_float64_together() {
    for (rows, used, tracked) in
        [(5, 3, true), (70, 3, true), (300, 3, true), (300, 2, true), (130, 3, false)]
    {
        let case = |d_out, rank, scale, bias, seed| Case {
            rows,
            d_in: 80,
            d_out,
            rank,
            scale,
            bias,
            seed,
        };
        let cases = [
            case(130, 16, 0.5, false, 11),
            case(48, 3, 2.0, true, 12),
            case(65, 8, -1.5, false, 13),
        ];
        // All have the first one's x.
        let mut all = cases.each_ref().map(Case::inputs);
        let x_of_all = all[0].x.clone();
        all.iter_mut().for_each(|inputs| inputs.x = x_of_all.clone());
        let device = device();
        let linears = [0, 1, 2].map(|at| cases[at].linear(&all[at], &device));
        let mut x: Tensor<3> = to_tensor(&x_of_all, [1, rows, 80], &device);
        if tracked {
            x = x.require_grad();
        }
        let outputs = lora_forward_together(linears.each_ref(), x.clone());
        let expected = [0, 1, 2].map(|at| cases[at].expected(&all[at]));
        for (y, expected) in outputs.iter().zip(&expected) {
            check_close("y", y.clone(), &expected.y);
        }
        let loss = outputs.into_iter().enumerate().take(used).map(|(at, y)| {
            let dy: Tensor<3> = to_tensor(&all[at].dy, y.dims(), &device);
            (y * dy).sum()
        });
        let grads = loss.reduce(|sum, more| sum + more).unwrap().backward();
        for (at, linear) in linears.iter().enumerate() {
            let (a, b) = factors(linear);
            if at < used {
                check_close("dA", a.grad(&grads).unwrap(), &expected[at].da);
                check_close("dB", b.grad(&grads).unwrap(), &expected[at].db);
            } else {
                assert!(a.grad(&grads).is_none() && b.grad(&grads).is_none());
            }
        }
        let dx = expected.iter().take(used).map(|it| it.dx.clone());
        match x.grad(&grads) {
            Some(got) => check_close("dx", got, &dx.reduce(|sum, dx| sum.plus(&dx)).unwrap()),
            None => assert!(!tracked, "x is tracked but has no gradient"),
        }
    }
}

#[test]
fn dropout_mask_enters_forward_and_every_gradient() {
    let case = Case { rows: 5, d_in: 8, d_out: 6, rank: 2, scale: 2.0, bias: false, seed: 3 };
    let inputs = case.inputs();
    let mut mask = Matrix::random(case.rows, case.d_in, 99);
    mask.values.iter_mut().for_each(|v| *v = if *v > 0.0 { 1.25 } else { 0.0 });
    let expected = reference::expected(
        &inputs.x,
        &inputs.w,
        &inputs.a,
        &inputs.b,
        None,
        case.scale,
        Some(&mask),
        &inputs.dy,
    );
    let device = device();
    let x = to_tensor(&inputs.x, [case.rows, case.d_in], &device).require_grad();
    let a = to_tensor(&inputs.a, [case.d_in, case.rank], &device).require_grad();
    let b = to_tensor(&inputs.b, [case.rank, case.d_out], &device).require_grad();
    let w = to_tensor(&inputs.w, [case.d_in, case.d_out], &device);
    let mask = to_tensor(&mask, [case.rows, case.d_in], &device);
    let y = lora_linear(x.clone(), w, a.clone(), b.clone(), case.scale, Some(mask));
    check_close("y", y.clone(), &expected.y);
    let dy = to_tensor(&inputs.dy, [case.rows, case.d_out], &device);
    let grads = (y * dy).sum().backward();
    check_close("dx", x.grad(&grads).unwrap(), &expected.dx);
    check_close("dA", a.grad(&grads).unwrap(), &expected.da);
    check_close("dB", b.grad(&grads).unwrap(), &expected.db);
}

#[test]
fn only_what_is_tracked_gets_a_gradient() {
    let case = Case { rows: 4, d_in: 3, d_out: 5, rank: 2, scale: 3.0, bias: false, seed: 4 };
    let inputs = case.inputs();
    let expected = case.expected(&inputs);
    let device = device();
    for tracked in 0..8_u8 {
        let track = |bit: u8, tensor: Tensor<2>| {
            if tracked & bit != 0 { tensor.require_grad() } else { tensor }
        };
        let x = track(1, to_tensor(&inputs.x, [case.rows, case.d_in], &device));
        let a = track(2, to_tensor(&inputs.a, [case.d_in, case.rank], &device));
        let b = track(4, to_tensor(&inputs.b, [case.rank, case.d_out], &device));
        let w = to_tensor(&inputs.w, [case.d_in, case.d_out], &device);
        let y = lora_linear(x.clone(), w, a.clone(), b.clone(), case.scale, None);
        check_close("y", y.clone(), &expected.y);
        if tracked == 0 {
            continue;
        }
        let dy = to_tensor(&inputs.dy, [case.rows, case.d_out], &device);
        let grads = (y * dy).sum().backward();
        for (bit, tensor, expected) in
            [(1, x, &expected.dx), (2, a, &expected.da), (4, b, &expected.db)]
        {
            match tensor.grad(&grads) {
                Some(grad) => check_close("gradient", grad, expected),
                None => assert_eq!(tracked & bit, 0, "tracked, but no gradient"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(test_device::cases(24)))]

    #[test]
    fn every_shape_equals_float64(
        rows in 1_usize..9, d_in in 1_usize..12, d_out in 1_usize..12, rank in 1_usize..14,
        scale in -2.0_f64..2.0, bias: bool, seed in 0_u64..1000,
    ) {
        prop_assume!(scale != 0.0);
        let case = Case { rows, d_in, d_out, rank, scale, bias, seed };
        check_linear(&case, |width| [rows, width], true);
    }
}
