//! GELU by its tanh approximation, an element a unit.

use burn_cubecl::cubecl;
use burn_cubecl::tensor::CubeTensor;
use burn_lora::kernel;
use cubecl::prelude::*;

use super::super::composed::{CUBIC, STEEPNESS};
use super::fresh;

pub(super) fn forward(x: CubeTensor) -> CubeTensor {
    let y = fresh(&x, x.meta.shape().clone());
    let (client, (cubes, units)) = (x.client.clone(), kernel::elements(&y, y.meta.num_elements()));
    let [x, to] = [x, y.clone()].map(CubeTensor::into_tensor_arg);
    forward_kernel::launch(&client, cubes, units, x, to, STEEPNESS as f32, CUBIC as f32);
    y
}

/// With `t` the hyperbolic tangent and `u` its argument: `dx = dy/2 (1 + t + x (1 - t²) u')`.
pub(super) fn backward(x: CubeTensor, dy: CubeTensor) -> CubeTensor {
    let dx = fresh(&x, x.meta.shape().clone());
    let (client, (cubes, units)) =
        (x.client.clone(), kernel::elements(&dx, dx.meta.num_elements()));
    let [x, dy, to] = [x, dy, dx.clone()].map(CubeTensor::into_tensor_arg);
    backward_kernel::launch(&client, cubes, units, x, dy, to, STEEPNESS as f32, CUBIC as f32);
    dx
}

/// The hyperbolic tangent, by a power that cannot overflow on either side.
#[cube]
pub(super) fn tanh(x: f32) -> f32 {
    let power = (-2.0f32 * x.abs()).exp();
    let size = (1.0f32 - power) / (1.0f32 + power);
    select(x < 0.0f32, -size, size)
}

#[cube(launch)]
fn forward_kernel(x: &Tensor<f32>, y: &mut Tensor<f32>, steepness: f32, cubic: f32) {
    if ABSOLUTE_POS >= y.len() {
        terminate!();
    }
    let x = x[ABSOLUTE_POS];
    y[ABSOLUTE_POS] = 0.5f32 * x * (1.0f32 + tanh(steepness * (x + cubic * x * x * x)));
}

#[cube(launch)]
fn backward_kernel(
    x: &Tensor<f32>,
    dy: &Tensor<f32>,
    dx: &mut Tensor<f32>,
    steepness: f32,
    cubic: f32,
) {
    if ABSOLUTE_POS >= dx.len() {
        terminate!();
    }
    let x = x[ABSOLUTE_POS];
    let t = tanh(steepness * (x + cubic * x * x * x));
    let slope = steepness * (1.0f32 + 3.0f32 * cubic * x * x);
    let total = 1.0f32 + t + x * (1.0f32 - t * t) * slope;
    dx[ABSOLUTE_POS] = 0.5f32 * dy[ABSOLUTE_POS] * total;
}
