//! RMS norm: two passes over a row that stays in the cache.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn_lora_kernels::vector::{dot, dot_of_three};
use burn_lora_kernels::{Floats, blank, vectorised};

/// `1 / √(mean(x²) + epsilon)`.
#[inline(always)]
fn inverse(x: &[f32], epsilon: f32) -> f32 {
    1.0 / (dot(x, x) / x.len() as f32 + epsilon).sqrt()
}

pub(super) fn forward(x: &Floats, gamma: &Floats, epsilon: f64) -> FloatTensor<Flex> {
    let (width, epsilon) = (gamma.values().len(), epsilon as f32);
    let (values, gamma) = (x.values(), gamma.values());
    let out = blank::made(values.len(), width, |first, room| {
        vectorised!(room.rows(
            width,
            #[inline(always)]
            |row, y| {
                let x = &values[(first + row) * width..][..width];
                let inverse = inverse(x, epsilon);
                y.write(x.iter().zip(gamma).map(|(x, gamma)| x * inverse * gamma))
            }
        ))
    });
    Floats::tensor(out, x.dims().to_vec())
}

pub(super) fn backward(x: &Floats, gamma: &Floats, dy: &Floats, epsilon: f64) -> FloatTensor<Flex> {
    let (width, epsilon) = (gamma.values().len(), epsilon as f32);
    let (values, gamma, dy) = (x.values(), gamma.values(), dy.values());
    let out = blank::made(values.len(), width, |first, room| {
        vectorised!(room.rows(
            width,
            #[inline(always)]
            |row, dx| {
                let start = (first + row) * width;
                let (x, dy) = (&values[start..][..width], &dy[start..][..width]);
                let inverse = inverse(x, epsilon);
                let along = dot_of_three(dy, gamma, x) / width as f32 * inverse * inverse;
                let inputs = dy.iter().zip(gamma).zip(x);
                dx.write(inputs.map(|((dy, gamma), x)| (dy * gamma - x * along) * inverse))
            }
        ))
    });
    Floats::tensor(out, x.dims().to_vec())
}
