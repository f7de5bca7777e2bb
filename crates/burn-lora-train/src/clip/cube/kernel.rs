//! The kernel of a sum of squares.

use burn_cubecl::cubecl;
use cubecl::prelude::*;

use super::UNITS;

/// One cube; the gradient is contiguous.
#[cube(launch)]
pub(super) fn squares(grad: &Tensor<f32>, sum: &Tensor<f32>, total: &mut Tensor<f32>) {
    let unit = UNIT_POS as usize;
    let mut part = 0.0f32;
    let mut i = unit;
    while i < grad.len() {
        let value = grad[i];
        part += value * value;
        i += CUBE_DIM as usize;
    }
    let mut parts = Shared::<[f32]>::new_slice(UNITS as usize);
    parts[unit] = part;
    sync_cube();
    let mut half = CUBE_DIM as usize / 2;
    while half > 0 {
        if unit < half {
            let other = parts[unit + half];
            parts[unit] += other;
        }
        sync_cube();
        half /= 2;
    }
    if unit == 0 {
        total[0] = sum[0] + parts[0];
    }
}
