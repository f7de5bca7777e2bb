//! `silu(gate) · up`, an element a unit.

use burn_cubecl::cubecl;
use burn_cubecl::tensor::CubeTensor;
use burn_lora::kernel;
use cubecl::prelude::*;

use super::fresh;

pub(super) fn forward(gate: CubeTensor, up: CubeTensor) -> CubeTensor {
    let y = fresh(&gate, gate.meta.shape().clone());
    let (client, (cubes, units)) =
        (gate.client.clone(), kernel::elements(&y, y.meta.num_elements()));
    let [gate, up, to] = [gate, up, y.clone()].map(CubeTensor::into_tensor_arg);
    forward_kernel::launch(&client, cubes, units, gate, up, to);
    y
}

/// With `s = sigmoid(gate)`: `dgate = dy · up · s (1 + gate (1 - s))`, `dup = dy · gate · s`.
pub(super) fn backward(
    gate: CubeTensor,
    up: CubeTensor,
    dy: CubeTensor,
) -> (CubeTensor, CubeTensor) {
    let [dgate, dup] = [0; 2].map(|_| fresh(&gate, gate.meta.shape().clone()));
    let (client, (cubes, units)) =
        (gate.client.clone(), kernel::elements(&dup, dup.meta.num_elements()));
    let [to_gate, to_up] = [&dgate, &dup].map(|grad| grad.clone().into_tensor_arg());
    let [gate, up, dy] = [gate, up, dy].map(CubeTensor::into_tensor_arg);
    backward_kernel::launch(&client, cubes, units, gate, up, dy, to_gate, to_up);
    (dgate, dup)
}

#[cube]
fn sigmoid(x: f32) -> f32 {
    1.0f32 / (1.0f32 + (-x).exp())
}

#[cube(launch)]
fn forward_kernel(gate: &Tensor<f32>, up: &Tensor<f32>, y: &mut Tensor<f32>) {
    if ABSOLUTE_POS >= y.len() {
        terminate!();
    }
    let gate = gate[ABSOLUTE_POS];
    y[ABSOLUTE_POS] = gate * sigmoid(gate) * up[ABSOLUTE_POS];
}

#[cube(launch)]
fn backward_kernel(
    gate: &Tensor<f32>,
    up: &Tensor<f32>,
    dy: &Tensor<f32>,
    dgate: &mut Tensor<f32>,
    dup: &mut Tensor<f32>,
) {
    if ABSOLUTE_POS >= dup.len() {
        terminate!();
    }
    let gate = gate[ABSOLUTE_POS];
    let dy = dy[ABSOLUTE_POS];
    let s = sigmoid(gate);
    dgate[ABSOLUTE_POS] = dy * up[ABSOLUTE_POS] * s * (1.0f32 + gate * (1.0f32 - s));
    dup[ABSOLUTE_POS] = dy * gate * s;
}
