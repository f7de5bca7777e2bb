//! Root-mean-square norms: a row's squares are summed up by its cube, forward and backward once each.

use burn_cubecl::cubecl;
use burn_cubecl::tensor::CubeTensor;
use burn_lora::kernel;
use cubecl::prelude::*;

use super::fresh;

/// x: `[rows, width]`, gamma: `[width]`.
pub(super) fn forward(x: CubeTensor, gamma: CubeTensor, epsilon: f64) -> CubeTensor {
    let y = fresh(&x, x.meta.shape().clone());
    let (client, (cubes, units)) = (x.client.clone(), kernel::rows(x.meta.shape()[0]));
    let to = y.clone().into_tensor_arg();
    let (x, gamma) = (x.into_tensor_arg(), gamma.into_tensor_arg());
    forward_kernel::launch(&client, cubes, units, x, gamma, to, epsilon as f32);
    y
}

/// With `n = x / rms` and `g = dy · gamma`: `dx = (g - n · mean(g · n)) / rms`.
pub(super) fn backward(
    x: CubeTensor,
    gamma: CubeTensor,
    dy: CubeTensor,
    epsilon: f64,
) -> CubeTensor {
    let dx = fresh(&x, x.meta.shape().clone());
    let (client, (cubes, units)) = (x.client.clone(), kernel::rows(x.meta.shape()[0]));
    let to = dx.clone().into_tensor_arg();
    let [x, gamma, dy] = [x, gamma, dy].map(CubeTensor::into_tensor_arg);
    backward_kernel::launch(&client, cubes, units, x, gamma, dy, to, epsilon as f32);
    dx
}

#[cube(launch)]
fn forward_kernel(x: &Tensor<f32>, gamma: &Tensor<f32>, y: &mut Tensor<f32>, epsilon: f32) {
    if CUBE_POS >= x.shape(0) {
        terminate!();
    }
    let width = x.shape(1);
    let start = CUBE_POS * width;
    let mut squares = 0.0f32;
    let mut i = UNIT_POS as usize;
    while i < width {
        let value = x[start + i];
        squares += value * value;
        i += CUBE_DIM as usize;
    }
    let mean = kernel::sum(squares) / f32::cast_from(width as u32);
    let by = 1.0f32 / (mean + epsilon).sqrt();
    let mut i = UNIT_POS as usize;
    while i < width {
        y[start + i] = x[start + i] * by * gamma[i];
        i += CUBE_DIM as usize;
    }
}

#[cube(launch)]
fn backward_kernel(
    x: &Tensor<f32>,
    gamma: &Tensor<f32>,
    dy: &Tensor<f32>,
    dx: &mut Tensor<f32>,
    epsilon: f32,
) {
    if CUBE_POS >= x.shape(0) {
        terminate!();
    }
    let width = x.shape(1);
    let start = CUBE_POS * width;
    let mut squares = 0.0f32;
    let mut along = 0.0f32;
    let mut i = UNIT_POS as usize;
    while i < width {
        let value = x[start + i];
        squares += value * value;
        along += dy[start + i] * gamma[i] * value;
        i += CUBE_DIM as usize;
    }
    let count = f32::cast_from(width as u32);
    let by = 1.0f32 / (kernel::sum(squares) / count + epsilon).sqrt();
    let along = kernel::sum(along) * by / count;
    let mut i = UNIT_POS as usize;
    while i < width {
        let g = dy[start + i] * gamma[i];
        dx[start + i] = (g - x[start + i] * by * along) * by;
        i += CUBE_DIM as usize;
    }
}
