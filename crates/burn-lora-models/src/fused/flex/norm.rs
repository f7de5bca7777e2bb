//! RMS norm: two passes over a row that stays in the cache.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn_lora_kernels::vector::dot;
use burn_lora_kernels::vectorised;
use burn_lora_kernels::{Floats, rows};

/// `1 / √(mean(x²) + epsilon)`.
#[inline(always)]
fn inverse(x: &[f32], epsilon: f32) -> f32 {
    1.0 / (dot(x, x) / x.len() as f32 + epsilon).sqrt()
}

pub(super) fn forward(x: &Floats, gamma: &Floats, epsilon: f64) -> FloatTensor<Flex> {
    let (width, epsilon) = (gamma.values().len(), epsilon as f32);
    let (values, gamma) = (x.values(), gamma.values());
    let mut out = vec![0.0; values.len()];
    rows::share(&mut out, width, |first, chunk| {
        vectorised!({
            let x = &values[first * width..][..chunk.len()];
            for (y, x) in chunk.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                let inverse = inverse(x, epsilon);
                for ((y, x), gamma) in y.iter_mut().zip(x).zip(gamma) {
                    *y = x * inverse * gamma;
                }
            }
        });
    });
    Floats::tensor(out, x.dims().to_vec())
}

pub(super) fn backward(x: &Floats, gamma: &Floats, dy: &Floats, epsilon: f64) -> FloatTensor<Flex> {
    let (width, epsilon) = (gamma.values().len(), epsilon as f32);
    let (values, gamma, dy) = (x.values(), gamma.values(), dy.values());
    let mut out = vec![0.0; values.len()];
    rows::share(&mut out, width, |first, chunk| {
        vectorised!({
            let x = &values[first * width..][..chunk.len()];
            let dy = &dy[first * width..][..chunk.len()];
            let inputs = x.chunks_exact(width).zip(dy.chunks_exact(width));
            for (dx, (x, dy)) in chunk.chunks_exact_mut(width).zip(inputs) {
                let inverse = inverse(x, epsilon);
                for ((dx, dy), gamma) in dx.iter_mut().zip(dy).zip(gamma) {
                    *dx = dy * gamma;
                }
                let along = dot(dx, x) / width as f32 * inverse * inverse;
                for (dx, x) in dx.iter_mut().zip(x) {
                    *dx = (*dx - x * along) * inverse;
                }
            }
        });
    });
    Floats::tensor(out, x.dims().to_vec())
}
