//! The kernel of a sum of squares.

use burn_cubecl::cubecl;
use burn_lora::kernel;
use cubecl::prelude::*;

/// One cube; the gradient is contiguous.
#[cube(launch)]
pub(super) fn squares(grad: &Tensor<f32>, sum: &Tensor<f32>, total: &mut Tensor<f32>) {
    let mut part = 0.0f32;
    let mut i = UNIT_POS as usize;
    while i < grad.len() {
        let value = grad[i];
        part += value * value;
        i += CUBE_DIM as usize;
    }
    let all = kernel::sum(part);
    if UNIT_POS == 0 {
        total[0] = sum[0] + all;
    }
}
