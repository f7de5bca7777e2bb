//! The linear layer of MiSS (arXiv 2409.15371) as one operation on a backend's primitives.
//!
//! A row of inputs falls into shards of `rank` values, the last of which may be shorter; their sum, as wide
//! as one, is multiplied with a block of `rank` rows. With `X = mask(x)`, `low = scale · Σ shards of X` and
//! `y = x W + low D`:
//!
//! ```text
//! dlow = dy Dᵀ                                          [rows, rank]
//! dD   = lowᵀ dy                                        [rank, d_out]
//! dx   = dy Wᵀ + mask(scale · dlow, repeated)           [rows, d_in]
//! ```
//!
//! The backward needs nothing of x but `low`.

mod autodiff;
mod backends;
#[cfg(feature = "flex")]
mod flex;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, ExtensionType, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Slice, Tensor};

use super::{Branch, Frozen, FrozenWeight, LoraBackend, Mask};

/// The block of one layer as primitives of backend `B`.
#[derive(ExtensionType, Debug, Clone)]
#[extension_type(fusion: cfg(feature = "cube"))]
pub struct Block<B: Backend> {
    /// The rows that shards share, `[rank, d_out]`.
    pub rows: FloatTensor<B>,
    /// What the sum of the shards is multiplied by.
    pub scale: f64,
}

/// The operations of a layer with a shared block, for every backend that has them.
#[backend_extension(
    NdArray: cfg(feature = "ndarray"),
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    Remote: cfg(feature = "remote"),
    Fusion: cfg(feature = "cube"),
    Autodiff
)]
pub trait ShardBackend: LoraBackend {
    /// `x W + scale · (Σ shards of mask(x)) D` for `x: [rows, d_in]`, with the sum beside it.
    #[fusion(default)]
    fn shard_branch(
        x: FloatTensor<Self>,
        #[extension_type] weight: Frozen<Self>,
        #[extension_type] block: Block<Self>,
        #[extension_type] mask: Mask<Self>,
    ) -> Branch<Self> {
        branch(x, weight, block, mask)
    }

    /// `dy Wᵀ + mask(dlow, repeated)`: the gradient of `x`, of `dy: [rows, d_out]` and `dlow: [rows, rank]`.
    #[fusion(default)]
    fn shard_input_grad(
        dy: FloatTensor<Self>,
        dlow: FloatTensor<Self>,
        #[extension_type] weight: Frozen<Self>,
        #[extension_type] mask: Mask<Self>,
    ) -> FloatTensor<Self> {
        input_grad(dy, dlow, weight, mask)
    }

    /// `x W + scale · (Σ shards of mask(x)) D` for `x: [rows, d_in]`.
    #[fusion(default)]
    fn shard_linear(
        x: FloatTensor<Self>,
        #[extension_type] weight: Frozen<Self>,
        #[extension_type] block: Block<Self>,
        #[extension_type] mask: Mask<Self>,
    ) -> FloatTensor<Self> {
        Self::shard_branch(x, weight, block, mask).y
    }
}

/// The default body: made of what every backend has.
fn branch<B: LoraBackend>(
    x: FloatTensor<B>,
    weight: Frozen<B>,
    block: Block<B>,
    mask: Mask<B>,
) -> Branch<B> {
    let [rows, d_in]: [usize; 2] = x.shape().dims();
    let [rank, _]: [usize; 2] = block.rows.shape().dims();
    let mut input = mask.apply(x.clone());
    let shards = d_in.div_ceil(rank);
    let short = shards * rank - d_in;
    if short > 0 {
        let (device, format) = (input.device(), input.dtype());
        let zeros = B::float_zeros(Shape::new([rows, short]), &device, format.into());
        input = B::float_cat(vec![input, zeros], 1);
    }
    let input = B::float_reshape(input, Shape::new([rows, shards, rank]));
    let low = B::float_reshape(B::float_sum_dim(input, 1), Shape::new([rows, rank]));
    let low = B::float_mul_scalar(low, block.scale.into());
    let y = B::float_add(weight.multiply(x), B::product(low.clone(), block.rows));
    Branch { y, low }
}

/// The default body: made of what every backend has.
fn input_grad<B: LoraBackend>(
    dy: FloatTensor<B>,
    dlow: FloatTensor<B>,
    weight: Frozen<B>,
    mask: Mask<B>,
) -> FloatTensor<B> {
    let [d_in, _] = weight.dims();
    let [_, rank]: [usize; 2] = dlow.shape().dims();
    let repeated = B::float_repeat_dim(dlow, 1, d_in.div_ceil(rank));
    let inputs = [Slice::full(), Slice::from(0..d_in)];
    let through_block = mask.apply(B::float_slice(repeated, &inputs));
    B::float_add(weight.multiply_transposed(dy), through_block)
}

/// `x W + scale · (Σ shards of mask(x)) D`, with gradients for `x` and the block's rows where they are tracked.
///
/// The weight gets none, tracked or not: nothing of its shape is made, and `x` is not kept.
///
/// # Shapes
///
/// - x and mask: `[rows, d_in]`
/// - weight: `[d_in, d_out]`
/// - block: `[rank, d_out]`, a rank from 1 to `d_in`
/// - output: `[rows, d_out]`
pub(crate) fn shard_linear(
    x: Tensor<2>,
    weight: FrozenWeight,
    block: Tensor<2>,
    scale: f64,
    mask: Option<Tensor<2>>,
) -> Tensor<2> {
    let block = Block { rows: block.into_dispatch(), scale };
    let mask = mask.map_or(Mask::Off, |mask| Mask::On(mask.into_dispatch()));
    let weight = weight.primitive();
    Tensor::from_dispatch(<Dispatch as ShardBackend>::shard_linear(
        x.into_dispatch(),
        weight,
        block,
        mask,
    ))
}

/// The sum of the shards of each row, made of single operations: `x: [rows, d_in]` to `[rows, rank]`.
pub(crate) fn sum_shards(x: Tensor<2>, rank: usize) -> Tensor<2> {
    let [rows, d_in] = x.dims();
    let shards = d_in.div_ceil(rank);
    let x = match shards * rank - d_in {
        0 => x,
        short => {
            let zeros = Tensor::zeros([rows, short], &x.device());
            Tensor::cat(vec![x, zeros], 1)
        }
    };
    x.reshape([rows, shards, rank]).sum_dim(1).reshape([rows, rank])
}
