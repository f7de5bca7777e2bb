//! The cross-entropy of logits and its gradient: a row's cube finds its largest logit, sums up the powers and writes.
//!
//! Losses of rows are summed up by one cube, so that the sum does not depend on the device's order.

use burn::tensor::Shape;
use burn_cubecl::CubeBackend;
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use burn_lora::kernel;
use cubecl::prelude::*;

use super::super::LogitsLoss;
use super::fresh;
use super::gelu::tanh;

/// The sum over rows, `[1]`. logits: `[rows, vocabulary]`, targets: `[rows, 1]`.
pub(super) fn forward(logits: CubeTensor, targets: CubeTensor, cap: Option<f64>) -> CubeTensor {
    let (rows, client) = (logits.meta.shape()[0], logits.client.clone());
    let (losses, (cubes, units)) = (fresh(&logits, Shape::new([rows])), kernel::rows(rows));
    let (targets, to) = (into_contiguous(targets), losses.clone().into_tensor_arg());
    let (logits, targets) = (logits.into_tensor_arg(), targets.into_tensor_arg());
    forward_kernel::launch(&client, cubes, units, logits, targets, to, size(cap), cap.is_some());
    total(losses)
}

/// The sum, and its gradient with respect to the logits before their cap, which is written where the logits lie if nobody else has them.
pub(super) fn backward(
    logits: CubeTensor,
    targets: CubeTensor,
    cap: Option<f64>,
) -> LogitsLoss<CubeBackend> {
    let (rows, client) = (logits.meta.shape()[0], logits.client.clone());
    let (losses, (cubes, units)) = (fresh(&logits, Shape::new([rows])), kernel::rows(rows));
    let logits = if logits.can_mut() { logits } else { logits.copy() };
    let targets = into_contiguous(targets).into_tensor_arg();
    let [from, of_rows] = [&logits, &losses].map(|to| to.clone().into_tensor_arg());
    // The first argument's memory.
    let to = logits.as_tensor_alias(0);
    let (cap, capped) = (size(cap), cap.is_some());
    backward_kernel::launch(&client, cubes, units, from, targets, of_rows, to, cap, capped);
    LogitsLoss { loss: total(losses), dlogits: logits }
}

/// What a kernel without a cap is told, and does not read.
fn size(cap: Option<f64>) -> f32 {
    cap.unwrap_or(1.0) as f32
}

/// The sum of `[rows]`, `[1]`.
fn total(losses: CubeTensor) -> CubeTensor {
    let sum = fresh(&losses, Shape::new([1]));
    let (client, (cubes, units)) = (losses.client.clone(), kernel::rows(1));
    let [losses, to] = [losses, sum.clone()].map(CubeTensor::into_tensor_arg);
    total_kernel::launch(&client, cubes, units, losses, to);
    sum
}

/// `cap · tanh(x / cap)`, or x itself.
#[cube]
fn capped(x: f32, cap: f32, #[comptime] is_capped: bool) -> f32 {
    if comptime!(is_capped) { cap * tanh(x / cap) } else { x }
}

/// A row's largest logit, and the sum of the powers of all, less the largest.
#[cube]
fn of_row(
    logits: &Tensor<f32>,
    start: usize,
    width: usize,
    cap: f32,
    #[comptime] is_capped: bool,
) -> (f32, f32) {
    let mut most = capped(logits[start], cap, is_capped);
    let mut i = UNIT_POS as usize;
    while i < width {
        most = max(most, capped(logits[start + i], cap, is_capped));
        i += CUBE_DIM as usize;
    }
    let most = kernel::largest(most);
    let mut powers = 0.0f32;
    let mut i = UNIT_POS as usize;
    while i < width {
        powers += (capped(logits[start + i], cap, is_capped) - most).exp();
        i += CUBE_DIM as usize;
    }
    (most, kernel::sum(powers))
}

#[cube(launch)]
fn forward_kernel(
    logits: &Tensor<f32>,
    targets: &Tensor<i32>,
    losses: &mut Tensor<f32>,
    cap: f32,
    #[comptime] is_capped: bool,
) {
    if CUBE_POS >= logits.shape(0) {
        terminate!();
    }
    let width = logits.shape(1);
    let start = CUBE_POS * width;
    let (most, powers) = of_row(logits, start, width, cap, is_capped);
    if UNIT_POS == 0 {
        let target = targets[CUBE_POS] as usize;
        losses[CUBE_POS] = powers.ln() + most - capped(logits[start + target], cap, is_capped);
    }
}

/// The gradient lies where the logits do: a unit writes what it reads itself, after the row's sums are known, and the target's logit was
/// read before them.
#[cube(launch)]
fn backward_kernel(
    logits: &Tensor<f32>,
    targets: &Tensor<i32>,
    losses: &mut Tensor<f32>,
    dlogits: &mut Tensor<f32>,
    cap: f32,
    #[comptime] is_capped: bool,
) {
    if CUBE_POS >= logits.shape(0) {
        terminate!();
    }
    let width = logits.shape(1);
    let start = CUBE_POS * width;
    let target = targets[CUBE_POS] as usize;
    let of_target = capped(logits[start + target], cap, is_capped);
    let (most, powers) = of_row(logits, start, width, cap, is_capped);
    if UNIT_POS == 0 {
        losses[CUBE_POS] = powers.ln() + most - of_target;
    }
    let mut i = UNIT_POS as usize;
    while i < width {
        let logit = capped(logits[start + i], cap, is_capped);
        let mut grad = (logit - most).exp() / powers;
        if i == target {
            grad -= 1.0f32;
        }
        if comptime!(is_capped) {
            let part = logit / cap;
            grad *= 1.0f32 - part * part;
        }
        dlogits[start + i] = grad;
        i += CUBE_DIM as usize;
    }
}

#[cube(launch)]
fn total_kernel(losses: &Tensor<f32>, sum: &mut Tensor<f32>) {
    let mut part = 0.0f32;
    let mut i = UNIT_POS as usize;
    while i < losses.len() {
        part += losses[i];
        i += CUBE_DIM as usize;
    }
    let total = kernel::sum(part);
    if UNIT_POS == 0 {
        sum[0] = total;
    }
}
