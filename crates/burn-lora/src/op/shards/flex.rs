//! The operations on Flex: shards are added up and spread where they lie, without a copy of the input, and
//! the block's product is added to where the weight's lies.
//!
//! Tensors of other types than `f32` take the composed bodies.

use burn::backend::tensor::FloatTensor;
use burn_flex::Flex;
use burn_lora_kernels::product::{Accumulate, MatMut, MatRef, Threads, product};
use burn_lora_kernels::{Floats, vector, vectorised};

use super::{Block, ShardBackend, branch, input_grad};
use crate::op::{Branch, Frozen, Mask};

impl ShardBackend for Flex {
    fn shard_branch(
        x: FloatTensor<Self>,
        weight: Frozen<Self>,
        block: Block<Self>,
        mask: Mask<Self>,
    ) -> Branch<Self> {
        let input = match &mask {
            Mask::Off => x.clone(),
            Mask::On(_) => mask.clone().apply(x.clone()),
        };
        let views = (Floats::contiguous(input), Floats::strided(block.rows.clone()));
        let (Some(input), Some(rows)) = views else {
            return branch(x, weight, block, mask);
        };
        let (d_in, count) = (input.dims()[1], input.dims()[0]);
        let (rank, d_out) = (rows.dims()[0], rows.dims()[1]);
        let mut low = vec![0.0_f32; count * rank];
        vectorised!({
            let sums = low.chunks_exact_mut(rank);
            for (sum, row) in sums.zip(input.values().chunks_exact(d_in)) {
                for shard in row.chunks(rank) {
                    sum.iter_mut().zip(shard).for_each(|(sum, value)| *sum += value);
                }
            }
            vector::scale(&mut low, block.scale as f32);
        });
        drop(input);
        let Some(mut y) = Floats::contiguous(weight.clone().multiply(x.clone())) else {
            return branch(x, weight, block, mask);
        };
        product(
            MatMut::dense(y.values_mut(), [count, d_out]),
            Accumulate::Add,
            MatRef::dense(&low, [count, rank]),
            rows.matrix(),
            Threads::All,
        );
        Branch { y: y.into_tensor(), low: Floats::tensor(low, [count, rank]) }
    }

    fn shard_input_grad(
        dy: FloatTensor<Self>,
        dlow: FloatTensor<Self>,
        weight: Frozen<Self>,
        mask: Mask<Self>,
    ) -> FloatTensor<Self> {
        // A mask acts on the repeated part alone, which then has to be a tensor of its own.
        let (Mask::Off, Some(low)) = (&mask, Floats::contiguous(dlow.clone())) else {
            return input_grad(dy, dlow, weight, mask);
        };
        let dx = weight.clone().multiply_transposed(dy.clone());
        let Some(mut dx) = Floats::contiguous(dx) else {
            return input_grad(dy, dlow, weight, mask);
        };
        let (d_in, rank) = (dx.dims()[1], low.dims()[1]);
        vectorised!({
            let rows = dx.values_mut().chunks_exact_mut(d_in);
            for (row, low) in rows.zip(low.values().chunks_exact(rank)) {
                for shard in row.chunks_mut(rank) {
                    shard.iter_mut().zip(low).for_each(|(value, add)| *value += add);
                }
            }
        });
        dx.into_tensor()
    }
}
