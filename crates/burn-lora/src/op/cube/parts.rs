//! How a product is shared out over a GPU: in tiles of the output, and, where those are too few for its multiprocessors, in parts of the
//! sums, which are added up afterwards (split-K).
//!
//! A factor's gradient is the case in point: `dA = xᵀ dlow` has three tiles of output and a sum over all tokens. On an H200 it took 1.2 ms
//! in one piece at 8 x 512 tokens, the wide products of the same layer 0.4 ms.

use burn::tensor::Shape;
use burn_cubecl::cubecl;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;
use cubek::matmul::multi_level::routines::TileSizeSelection;

use crate::kernel::{elements, fresh};

/// Tiles for each multiprocessor that keep it busy: one waits for memory while another computes.
const TILES: usize = 2;

/// Multiprocessors of a device that does not tell.
const MULTIPROCESSORS: usize = 32;

/// Fewer products than this are not worth a part of their own: parts are added up by one kernel more.
const SUMS: usize = 256;

/// The same where the rows of the left operand are split, which are copied for it.
const COPIED_SUMS: usize = 1024;

/// Numbers that are read at once.
const VECTOR: usize = 4;

/// The size of tiles, and into how many parts the sums go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) large: bool,
    pub(super) count: usize,
}

impl Parts {
    /// For a product of `[.., rows, sums]` and `[.., sums, columns]` on so many multiprocessors, as cubek's plain kernels tile it; of the
    /// left operand rows lie whole, or columns.
    pub(super) fn of(
        output: &Shape,
        sums: usize,
        rows_lie: bool,
        multiprocessors: Option<usize>,
    ) -> Self {
        let least = if rows_lie { COPIED_SUMS } else { SUMS };
        let last = output.num_dims() - 1;
        let (rows, columns) = (output[last - 1], output[last]);
        let matrices: usize = output[..last - 1].iter().product();
        let available = multiprocessors.unwrap_or(MULTIPROCESSORS);
        // As `cubek_matmul`'s `general_unit_selector` has it: tiles are as high as there are rows for.
        let steps = rows / 512 + 1;
        let tiles = |height: usize| matrices * rows.div_ceil(height) * columns.div_ceil(128);
        let large = tiles(64 << steps.min(2));
        let (large, tiles) = match large < available {
            true => (false, tiles(16 << steps.min(4))),
            false => (true, large),
        };
        let wanted = match tiles < available {
            true => (TILES * available).div_ceil(tiles.max(1)).min(sums / least),
            false => 1,
        };
        // Two parts save less than the kernel that adds them up.
        let count = Some(divisor(sums, wanted)).filter(|&count| count > 2).unwrap_or(1);
        Self { large, count }
    }

    pub(super) fn tile(self) -> TileSizeSelection {
        match self.large {
            true => TileSizeSelection::MaxTileSize,
            false => TileSizeSelection::MinTileSize,
        }
    }
}

/// The most parts, up to as many as wanted, that are equal and whole vectors.
fn divisor(sums: usize, wanted: usize) -> usize {
    (2..=wanted).rev().find(|&parts| sums.is_multiple_of(parts * VECTOR)).unwrap_or(1)
}

/// A dimension in parts, `[parts, .., size / parts, ..]`: a view.
pub(super) fn split(mut tensor: CubeTensor, dim: usize, parts: usize) -> CubeTensor {
    let each = tensor.meta.shape()[dim] / parts;
    let stride = tensor.meta.strides()[dim];
    tensor.meta.shape_mut()[dim] = each;
    tensor.meta.shape_mut().insert(0, parts);
    tensor.meta.strides_mut().insert(0, each * stride);
    tensor
}

/// `scale` times the sum of `[parts, ..]`, `[..]`, by one kernel that nothing chooses.
pub(super) fn sum(parts: CubeTensor, scale: f64) -> CubeTensor {
    let shape = Shape::from(parts.meta.shape()[1..].to_vec());
    let sum = fresh(&parts, shape, parts.dtype);
    let (client, (cubes, units)) = (parts.client.clone(), elements(&sum, sum.meta.num_elements()));
    let (from, to) = (parts.into_tensor_arg(), sum.clone().into_tensor_arg());
    sum_kernel::launch(&client, cubes, units, from, to, scale as f32);
    sum
}

/// An element a unit, all tensors contiguous.
#[cube(launch)]
fn sum_kernel(parts: &Tensor<f32>, sum: &mut Tensor<f32>, scale: f32) {
    let size = sum.len();
    if ABSOLUTE_POS >= size {
        terminate!();
    }
    let mut total = 0.0f32;
    let mut at = ABSOLUTE_POS;
    while at < parts.len() {
        total += parts[at];
        at += size;
    }
    sum[ABSOLUTE_POS] = total * scale;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Output, sums, and whether the left operand's rows lie whole.
    const SHAPES: [([usize; 2], usize, bool); 5] = [
        ([576, 16], 4096, false),
        ([16, 576], 512, false),
        ([512, 576], 1536, true),
        ([683, 576], 49152, true),
        ([4096, 1536], 576, true),
    ];

    #[test]
    fn parts_are_equal_and_fill_the_device_where_the_sums_allow() {
        for (output, sums, rows_lie) in SHAPES {
            let parts = Parts::of(&Shape::from(output), sums, rows_lie, Some(132));
            assert!(sums.is_multiple_of(parts.count * VECTOR), "{output:?}: {parts:?}");
            assert!(parts.count == 1 || sums / parts.count >= SUMS, "{output:?}: {parts:?}");
        }
        let counts = SHAPES.map(|(output, sums, rows_lie)| {
            let Parts { large, count } = Parts::of(&Shape::from(output), sums, rows_lie, Some(132));
            (large, count)
        });
        assert_eq!(counts, [(false, 16), (false, 1), (false, 1), (false, 4), (true, 1)]);
    }

    #[test]
    fn sums_that_have_no_equal_parts_stay_whole() {
        assert_eq!(divisor(509, 8), 1);
        assert_eq!(divisor(328, 8), 2);
        assert_eq!(divisor(64, 1), 1);
    }
}
