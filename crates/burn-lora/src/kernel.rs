//! What this project's kernels for Cube devices (wgpu, CUDA) share: memory for what they write, how many units a kernel has, and what the
//! units of a cube make of their numbers together.
//!
//! Left out: products, which are cubek's (`op/cube.rs`), and what a single kernel computes, which lies with the operation that it is of.

#![allow(missing_docs, reason = "a module is made beside each function of units")]

use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

/// Units of a cube whose units work together; a power of two, and as many as every device has in a cube.
pub const UNITS: usize = 256;

/// Cubes in a direction, at most, as WebGPU has it.
pub const CUBES: usize = 65535;

/// Memory for a tensor on the device of another, its rows one after the other: what is reshaped later is not copied for it, as it is where
/// rows lie at a pitch.
pub fn fresh(like: &CubeTensor, shape: Shape, format: DType) -> CubeTensor {
    empty_device_contiguous_dtype(like.client.clone(), like.device.clone(), shape, format)
}

/// A unit for each of so many elements; there may be more, behind the last.
pub fn elements(like: &CubeTensor, count: usize) -> (CubeCount, CubeDim) {
    let units = CubeDim::new(&like.client, count);
    (cubecl::calculate_cube_count_elemwise(&like.client, count, units), units)
}

/// A cube of [`UNITS`] for each of so many rows; there may be more, behind the last row.
pub fn rows(count: usize) -> (CubeCount, CubeDim) {
    let across = count.clamp(1, CUBES);
    let down = count.div_ceil(across);
    (CubeCount::Static(across as u32, down as u32, 1), CubeDim::new_1d(UNITS as u32))
}

/// The sum of what each of a cube's [`UNITS`] brings, told to all.
#[cube]
pub fn sum(value: f32) -> f32 {
    together(value, false)
}

/// The largest of what each of a cube's [`UNITS`] brings, told to all.
#[cube]
pub fn largest(value: f32) -> f32 {
    together(value, true)
}

/// Half of the units take in what the other half has, until one has all.
#[cube]
fn together(value: f32, #[comptime] largest: bool) -> f32 {
    let mut values = Shared::<[f32]>::new_slice(UNITS);
    let unit = UNIT_POS as usize;
    values[unit] = value;
    sync_cube();
    // Not a constant, which could not be halved below.
    let mut half = CUBE_DIM as usize / 2;
    while half > 0 {
        if unit < half {
            let other = values[unit + half];
            if comptime!(largest) {
                values[unit] = max(values[unit], other);
            } else {
                values[unit] += other;
            }
        }
        sync_cube();
        half /= 2;
    }
    values[0]
}
