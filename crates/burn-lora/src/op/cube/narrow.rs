//! The product with a factor of few columns, as one kernel: a cube has some rows of the output whole, its units share out the sums.
//!
//! A product in tiles leaves most of a device idle where the output is that narrow, and in parts of its sums it takes two kernels
//! (`parts.rs`).

use burn::tensor::{DType, Shape};
use burn_cubecl::cubecl;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use crate::kernel::{CUBES, UNITS, fresh};

/// Columns of a factor that the kernel takes, at most.
const COLUMNS: usize = 64;

/// Rows of the output that a cube has, so that a number of the factor is read once for all of them.
const ROWS: usize = 8;

/// Whether `x factor` is one for this kernel: `[rows, n]` and `[n, columns]` in f32.
pub(super) fn takes(x: &CubeTensor, factor: &CubeTensor) -> bool {
    let columns = factor.meta.shape()[1];
    [x, factor].iter().all(|tensor| tensor.dtype == DType::F32 && tensor.meta.num_elements() > 0)
        && columns <= COLUMNS
        && x.meta.shape()[0].div_ceil(ROWS) <= CUBES
        // A transposed x would be copied first.
        && x.is_contiguous()
}

/// `scale · x factor`, `[rows, columns]`; the factor may be transposed.
pub(super) fn product(x: CubeTensor, factor: CubeTensor, scale: f64) -> CubeTensor {
    let (rows, columns) = (x.meta.shape()[0], factor.meta.shape()[1]);
    let x = into_contiguous(x);
    let y = fresh(&x, Shape::new([rows, columns]), DType::F32);
    let cubes = CubeCount::Static(rows.div_ceil(ROWS) as u32, 1, 1);
    let (client, units) = (x.client.clone(), CubeDim::new_1d(UNITS as u32));
    let [x, factor, to] = [x, factor, y.clone()].map(CubeTensor::into_tensor_arg);
    product_kernel::launch(&client, cubes, units, x, factor, to, scale as f32);
    y
}

/// A unit has a column, and of its sums every so many-th product.
#[cube(launch)]
fn product_kernel(x: &Tensor<f32>, factor: &Tensor<f32>, y: &mut Tensor<f32>, scale: f32) {
    let (rows, count, columns) = (x.shape(0), x.shape(1), factor.shape(1));
    let first = CUBE_POS_X as usize * ROWS;
    let unit = UNIT_POS as usize;
    let shares = UNITS / columns;
    let column = unit % columns;
    let share = unit / columns;
    let mut sums = Array::<f32>::new(ROWS);
    #[unroll]
    for row in 0..ROWS {
        sums[row] = 0.0f32;
    }
    if share < shares {
        let mut k = share;
        while k < count {
            let of_factor = factor[k * factor.stride(0) + column * factor.stride(1)];
            #[unroll]
            for row in 0..ROWS {
                // Rows behind the last are computed of it, and not written.
                let at = min(first + row, rows - 1);
                sums[row] += x[at * count + k] * of_factor;
            }
            k += shares;
        }
    }
    let mut all = Shared::<[f32]>::new_slice(ROWS * UNITS);
    #[unroll]
    for row in 0..ROWS {
        all[row * UNITS + unit] = sums[row];
    }
    sync_cube();
    let mut at = unit;
    while at < ROWS * columns {
        let row = at / columns;
        let column = at % columns;
        let mut total = 0.0f32;
        for share in 0..shares {
            total += all[row * UNITS + share * columns + column];
        }
        if first + row < rows {
            y[(first + row) * columns + column] = total * scale;
        }
        at += UNITS;
    }
}
