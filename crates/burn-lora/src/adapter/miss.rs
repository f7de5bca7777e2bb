//! MiSS (arXiv 2409.15371): one block of trained rows, repeated down the weight.
//!
//! ```text
//! W' = W + R D          D: [rank, d_out]          row i of R D is row (i mod rank) of D
//! y  = x W + s D        s = Σ_k x[k · rank .. (k + 1) · rank], the sum of the input's shards: [rows, rank]
//! ```
//!
//! Where the rank does not divide `d_in`, the last shard is shorter. `s` takes additions alone, and of the
//! forward pass the backward needs `s` and not `x` (`op/shards.rs`). There is no scale: alpha means nothing.
//!
//! On a convolution the inputs of an output are those of its window: the channels of its group, each in all places, one channel
//! behind the other. A rank of so many places as the window has, or a multiple, so adds up whole channels. The sums of shards
//! are a convolution with a kernel of zeros and ones, which nothing learns; of a convolution with groups each group has its own
//! sums, and the block's columns are those of the outputs, as everywhere. PEFT has no MiSS of convolutions: such an adapter is
//! read here alone.
//!
//! The block is held as `[d_out, rank]`: what is trained lies here the other way round than in PEFT's files,
//! which have `[rank, d_out]`.
//!
//! Left out: PEFT's variants `bat`, whose change depends on the weight, and `mini`, whose block repeats along
//! the outputs too. Files of theirs are refused.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::{Adaptation, Factor, Given, Input, Products, Sizes, Strength, Windows};
use crate::{AdapterConfig, LoraError, op, product};

/// The block `D`, turned: `[d_out, rank]`. PEFT saves it without the `.weight` of a module.
const BLOCK: Factor = Factor {
    name: "block",
    key: "miss_block",
    table_key: "miss_block",
    trained: true,
    lora_plus: true,
    shape: |sizes| vec![sizes.d_out, sizes.rank],
};

/// Rows that all shards of the input share.
#[derive(Module, Debug)]
pub(crate) struct Miss {
    /// `[d_out, rank]`; starts at zero.
    block: Param<Tensor<2>>,
    d_in: usize,
    groups: usize,
}

impl Miss {
    /// The kernel that adds up the shards of a window, for each group of a convolution: `[d_in, groups · rank]`.
    fn shards(&self) -> Tensor<2> {
        let [_, rank] = self.block.dims();
        let of_one = Tensor::<2>::eye(rank, &self.block.lazy_device());
        let down = of_one.repeat_dim(0, self.d_in.div_ceil(rank)).narrow(0, 0, self.d_in);
        down.repeat_dim(1, self.groups)
    }
}

impl Adaptation for Miss {
    const FACTORS: &'static [Factor] = &[BLOCK];
    const PEFT_TYPE: &'static str = "MISS";
    const SWITCH: Option<&'static str> = None;
    const SCALED: bool = false;
    const DRAWN: bool = false;
    const KEEPS_INPUT: bool = false;
    const CONVOLVES: bool = true;
    const DEALT: bool = false;

    fn init(
        config: &AdapterConfig,
        weight: &Param<Tensor<2>>,
        _seed: u64,
    ) -> Result<Self, LoraError> {
        let (shape, device) = (weight.lazy_shape(), weight.lazy_device());
        let block = Tensor::zeros([shape[1], config.rank], &device);
        Ok(Self { block: Param::from_tensor(block), d_in: shape[0], groups: 1 })
    }

    fn given(values: &mut Given<'_>, weight: &Param<Tensor<2>>) -> Result<Self, LoraError> {
        let groups = values.sizes.groups;
        Ok(Self { block: values.param("block")?, d_in: weight.lazy_shape()[0], groups })
    }

    fn sizes(&self) -> Sizes {
        let [d_out, rank] = self.block.dims();
        Sizes { d_in: self.d_in, d_out, rank, groups: self.groups }
    }

    fn fits(sizes: Sizes) -> Result<(), LoraError> {
        let Sizes { d_in, rank, .. } = sizes;
        if rank > d_in { Err(LoraError::Shards { rank, d_in }) } else { Ok(()) }
    }

    fn useful_rank(sizes: Sizes) -> usize {
        sizes.d_in
    }

    fn kept(sizes: Sizes, dropout: bool) -> usize {
        // The sum of the shards, and the mask of the input.
        sizes.rank * sizes.groups.max(1) + if dropout { sizes.d_in } else { 0 }
    }

    fn products(sizes: Sizes) -> Products {
        // Shards are added up and spread, which takes no product.
        let block = sizes.rank * sizes.d_out;
        Products { forward: block, backward: 2 * block, once: 0 }
    }

    fn forward(&self, input: Input, strength: Strength) -> Tensor<2> {
        let scale = strength.total();
        let rows = self.block.val().transpose();
        op::shard_linear(input.x, input.weight, rows, scale, input.mask)
    }

    fn branch(&self, input: Input, strength: Strength) -> Tensor<2> {
        let scale = strength.total();
        let rows = self.block.val().transpose();
        product(op::sum_shards(input.dropped(), rows.dims()[0]).mul_scalar(scale), rows)
    }

    fn convolve<const D: usize>(&self, input: &Windows<'_, D>, strength: Strength) -> Tensor<D> {
        input.low_rank(self.shards(), self.block.val().transpose(), strength.total())
    }

    fn change(&self, _weight: Tensor<2>, strength: Strength) -> Tensor<2> {
        let scale = strength.total();
        let rows = self.block.val().transpose();
        let [rank, _] = rows.dims();
        let repeated = rows.repeat_dim(0, self.d_in.div_ceil(rank)).narrow(0, 0, self.d_in);
        repeated.mul_scalar(scale)
    }
}

#[cfg(test)]
mod tests;
