//! The kernel of a step.

use burn_cubecl::cubecl;
use cubecl::prelude::*;

/// An element a unit, all tensors contiguous.
#[cube(launch)]
#[allow(clippy::too_many_arguments, reason = "a kernel takes its numbers one by one")]
pub(super) fn step(
    grad: &Tensor<f32>,
    factor: &Tensor<f32>,
    parameter: &mut Tensor<f32>,
    first: &mut Tensor<f32>,
    second: &mut Tensor<f32>,
    beta_1: f32,
    beta_2: f32,
    held_1: f32,
    held_2: f32,
    epsilon: f32,
    rate: f32,
    keep: f32,
) {
    if ABSOLUTE_POS >= parameter.len() {
        terminate!();
    }
    let g = grad[ABSOLUTE_POS] * factor[0];
    let m = first[ABSOLUTE_POS] * beta_1 + g * (1.0f32 - beta_1);
    let v = second[ABSOLUTE_POS] * beta_2 + g * g * (1.0f32 - beta_2);
    first[ABSOLUTE_POS] = m;
    second[ABSOLUTE_POS] = v;
    let change = (m / held_1) / ((v / held_2).sqrt() + epsilon);
    parameter[ABSOLUTE_POS] = parameter[ABSOLUTE_POS] * keep - change * rate;
}
