//! How a product is shared out over a GPU: in tiles of the output, and, where those are too few for its multiprocessors, in parts of the
//! sums, which are added up afterwards (split-K).
//!
//! A factor's gradient is the case in point: `dA = xᵀ dlow` has three tiles of output and a sum over all tokens. On an H200 it took 1.2 ms
//! in one piece at 8 x 512 tokens, the wide products of the same layer 0.4 ms.

use burn::tensor::Shape;
use burn_cubecl::kernel::reduce::{KernelReduceStrategy, reduce_dim};
use burn_cubecl::tensor::CubeTensor;
use cubek::matmul::multi_level::routines::TileSizeSelection;
use cubek::reduce::components::instructions::ReduceOperationConfig;

/// Tiles for each multiprocessor that keep it busy: one waits for memory while another computes.
const TILES: usize = 2;

/// Multiprocessors of a device that does not tell.
const MULTIPROCESSORS: usize = 32;

/// Fewer products than this are not worth a part of their own.
const SUMS: usize = 64;

/// Numbers that are read at once.
const VECTOR: usize = 4;

/// The size of tiles, and into how many parts the sums go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) large: bool,
    pub(super) count: usize,
}

impl Parts {
    /// For a product of `[.., rows, sums]` and `[.., sums, columns]` on so many multiprocessors, as cubek's plain kernels tile it.
    pub(super) fn of(output: &Shape, sums: usize, multiprocessors: Option<usize>) -> Self {
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
            true => (TILES * available).div_ceil(tiles.max(1)).min(sums / SUMS),
            false => 1,
        };
        Self { large, count: divisor(sums, wanted) }
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

/// `[parts, ..]` to their sum, `[..]`, by one kernel that nothing chooses.
pub(super) fn sum(parts: CubeTensor) -> CubeTensor {
    let strategy = KernelReduceStrategy::Unspecified;
    let mut sum = reduce_dim(parts, None, 0, strategy, ReduceOperationConfig::Sum)
        .unwrap_or_else(|error| panic!("no kernel of this device adds up: {error:?}"));
    sum.meta.shape_mut().remove(0);
    sum.meta.strides_mut().remove(0);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPES: [([usize; 2], usize); 5] = [
        ([576, 16], 4096),
        ([4096, 16], 576),
        ([512, 576], 1536),
        ([683, 576], 49152),
        ([4096, 1536], 576),
    ];

    #[test]
    fn parts_are_equal_and_fill_the_device_where_the_sums_allow() {
        for (output, sums) in SHAPES {
            let parts = Parts::of(&Shape::from(output), sums, Some(132));
            assert!(sums.is_multiple_of(parts.count * VECTOR), "{output:?}: {parts:?}");
            assert!(sums / parts.count >= SUMS, "{output:?}: {parts:?}");
        }
        let counts = SHAPES.map(|(output, sums)| {
            let Parts { large, count } = Parts::of(&Shape::from(output), sums, Some(132));
            (large, count)
        });
        assert_eq!(counts, [(false, 16), (false, 9), (false, 6), (false, 4), (true, 1)]);
    }

    #[test]
    fn sums_that_have_no_equal_parts_stay_whole() {
        assert_eq!(divisor(509, 8), 1);
        assert_eq!(divisor(328, 8), 2);
        assert_eq!(divisor(64, 1), 1);
    }
}
