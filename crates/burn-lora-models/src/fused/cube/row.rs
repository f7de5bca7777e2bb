//! A row that the units of one cube share: how many there are, and what they know together.

use burn_cubecl::cubecl;
use cubecl::prelude::*;

/// Units that share a row; a power of two, and as many as every device has in a cube.
pub(super) const UNITS: u32 = 256;

/// Cubes in a direction, at most, as WebGPU has it.
const CUBES: usize = 65535;

/// A cube for each of so many rows; there may be more, behind the last row.
pub(super) fn cubes(rows: usize) -> (CubeCount, CubeDim) {
    let across = rows.clamp(1, CUBES);
    let down = rows.div_ceil(across);
    (CubeCount::Static(across as u32, down as u32, 1), CubeDim::new_1d(UNITS))
}

/// The sum of what each unit of the cube brings, told to all.
#[cube]
pub(super) fn sum(value: f32) -> f32 {
    let mut values = Shared::<[f32]>::new_slice(UNITS as usize);
    let unit = UNIT_POS as usize;
    values[unit] = value;
    sync_cube();
    let mut half = CUBE_DIM as usize / 2;
    while half > 0 {
        if unit < half {
            let other = values[unit + half];
            values[unit] += other;
        }
        sync_cube();
        half /= 2;
    }
    values[0]
}

/// The largest of what each unit of the cube brings, told to all.
#[cube]
pub(super) fn largest(value: f32) -> f32 {
    let mut values = Shared::<[f32]>::new_slice(UNITS as usize);
    let unit = UNIT_POS as usize;
    values[unit] = value;
    sync_cube();
    let mut half = CUBE_DIM as usize / 2;
    while half > 0 {
        if unit < half {
            values[unit] = max(values[unit], values[unit + half]);
        }
        sync_cube();
        half /= 2;
    }
    values[0]
}
