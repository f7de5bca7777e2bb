//! The adapted linear layer on the Cube backends: the low-rank product is added to where the wide one lies, by one kernel, and the scale
//! goes along with sums that are taken anyway.
//!
//! What a layer costs a host that starts kernels is their number: three forward and seven backward here, of f32 operands.
//!
//! Tensors of other types, and ranks beyond [`RANKS`], take the composed bodies.

use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeBackend, cubecl};
use cubecl::prelude::*;

use super::narrow;
use crate::kernel::elements;
use crate::op::{Branch, Frozen, Lora, LoraBackend, Mask, ProductBackend};

/// Ranks whose product is added in place: for larger ones a product in tiles reads less.
const RANKS: usize = 64;

/// Rows of the output that a unit has in registers, so that a number of the factor is read once for all of them.
const ROWS: usize = 8;

impl LoraBackend for CubeBackend {
    fn lora_branch(
        x: FloatTensor<Self>,
        weight: Frozen<Self>,
        lora: Lora<Self>,
        mask: Mask<Self>,
    ) -> Branch<Self> {
        let low = Self::lora_scaled_product(mask.apply(x.clone()), lora.a, lora.scale);
        Branch { y: added(weight.multiply(x), low.clone(), lora.b), low }
    }

    fn lora_scaled_product(
        lhs: FloatTensor<Self>,
        rhs: FloatTensor<Self>,
        scale: f64,
    ) -> FloatTensor<Self> {
        match narrow::takes(&lhs, &rhs) {
            true => narrow::product(lhs, rhs, scale),
            false => super::scaled(lhs, rhs, scale),
        }
    }

    fn lora_input_grad(
        dy: FloatTensor<Self>,
        dlow: FloatTensor<Self>,
        weight: Frozen<Self>,
        a: FloatTensor<Self>,
        mask: Mask<Self>,
    ) -> FloatTensor<Self> {
        let (dx, factor) = (weight.multiply_transposed(dy), Self::float_transpose(a));
        match mask {
            Mask::Off => added(dx, dlow, factor),
            mask => Self::float_add(dx, mask.apply(Self::product(dlow, factor))),
        }
    }
}

/// `y + low factor`, where y lies if nobody else has it. low: `[rows, rank]`, factor: `[rank, columns]`.
fn added(y: CubeTensor, low: CubeTensor, factor: CubeTensor) -> CubeTensor {
    let [rows, columns] = y.meta.shape().dims();
    let is_f32 = [&y, &low, &factor].iter().all(|tensor| tensor.dtype == DType::F32);
    let in_place = y.is_contiguous() && y.can_mut() && factor.meta.shape()[0] <= RANKS;
    if !is_f32 || !in_place || rows == 0 || columns == 0 {
        return CubeBackend::float_add(y, CubeBackend::product(low, factor));
    }
    let low = into_contiguous(low);
    let (client, (cubes, units)) = (y.client.clone(), elements(&y, rows.div_ceil(ROWS) * columns));
    let (low, factor) = (low.into_tensor_arg(), factor.into_tensor_arg());
    add_kernel::launch(&client, cubes, units, low, factor, y.clone().into_tensor_arg());
    y
}

/// A unit has a column of [`ROWS`] rows. `low` and `y` are contiguous, `factor` may be transposed.
#[cube(launch)]
fn add_kernel(low: &Tensor<f32>, factor: &Tensor<f32>, y: &mut Tensor<f32>) {
    let (rows, columns) = (y.shape(0), y.shape(1));
    let column = ABSOLUTE_POS % columns;
    let first = ABSOLUTE_POS / columns * ROWS;
    if first >= rows {
        terminate!();
    }
    let rank = low.shape(1);
    let mut sums = Array::<f32>::new(ROWS);
    #[unroll]
    for row in 0..ROWS {
        sums[row] = 0.0f32;
    }
    for k in 0..rank {
        let of_factor = factor[k * factor.stride(0) + column * factor.stride(1)];
        #[unroll]
        for row in 0..ROWS {
            // Rows behind the last are computed of it, and not written.
            let at = min(first + row, rows - 1);
            sums[row] += low[at * rank + k] * of_factor;
        }
    }
    #[unroll]
    for row in 0..ROWS {
        if first + row < rows {
            y[(first + row) * columns + column] += sums[row];
        }
    }
}
