//! GELU by its tanh approximation, one pass.
//!
//! `(1 + tanh u) / 2` is the sigmoid of `2 u`, of which there is a kernel.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn_lora_kernels::vector::sigmoid;
use burn_lora_kernels::{Floats, blank, vectorised};

/// `2 √(2/π)`.
const STEEPNESS: f32 = 2.0 * std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::FRAC_1_SQRT_2;
const CUBIC: f32 = 0.044715;

pub(super) fn forward(x: &Floats) -> FloatTensor<Flex> {
    let inputs = x.values();
    let out = blank::made(inputs.len(), 1, |first, room| {
        vectorised!({
            let inputs = &inputs[first..][..room.len()];
            room.write(inputs.iter().map(
                #[inline(always)]
                |&x| x * sigmoid(STEEPNESS * (x + CUBIC * x * x * x)),
            ))
        })
    });
    Floats::tensor(out, x.dims().to_vec())
}

/// With `s` the sigmoid and `u` its argument: `dx = dy s (1 + x (1 - s) u')`.
pub(super) fn backward(x: &Floats, dy: &Floats) -> FloatTensor<Flex> {
    let (inputs, dys) = (x.values(), dy.values());
    let out = blank::made(inputs.len(), 1, |first, room| {
        vectorised!({
            let count = room.len();
            let inputs = inputs[first..][..count].iter().zip(&dys[first..][..count]);
            room.write(inputs.map(
                #[inline(always)]
                |(&x, &dy)| {
                    let s = sigmoid(STEEPNESS * (x + CUBIC * x * x * x));
                    let slope = STEEPNESS * (1.0 + 3.0 * CUBIC * x * x);
                    dy * s * (1.0 + x * (1.0 - s) * slope)
                },
            ))
        })
    });
    Floats::tensor(out, x.dims().to_vec())
}
