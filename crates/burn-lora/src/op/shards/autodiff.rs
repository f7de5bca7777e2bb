//! The backward pass, derived by hand in [`shards`](super).

use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend};
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};

use super::{Block, ShardBackend};
use crate::op::{Branch, Frozen, Mask};

#[derive(Debug)]
struct ShardLinear;

/// What the backward needs of the forward: not the input.
#[derive(Debug, Clone)]
struct Saved<B: Backend> {
    weight: Frozen<B>,
    block: Block<B>,
    mask: Mask<B>,
    low: FloatTensor<B>,
}

impl<B: ShardBackend> Backward<B, 2> for ShardLinear {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [node_x, node_block] = ops.parents;
        let dy = grads.consume::<B>(&ops.node);
        let Saved { weight, block, mask, low } = ops.state;

        if let Some(node) = node_block {
            let rows = B::lora_product(B::float_transpose(low), dy.clone());
            grads.register::<B>(node.id, rows);
        }
        if let Some(node) = node_x {
            let dlow = B::lora_product(dy.clone(), B::float_transpose(block.rows));
            let dlow = B::float_mul_scalar(dlow, block.scale.into());
            grads.register::<B>(node.id, B::shard_input_grad(dy, dlow, weight, mask));
        }
    }
}

impl<B: ShardBackend, C: CheckpointStrategy> ShardBackend for Autodiff<B, C> {
    fn shard_linear(
        x: FloatTensor<Self>,
        weight: Frozen<Self>,
        block: Block<Self>,
        mask: Mask<Self>,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), block.rows.node()];
        let x = x.into_primitive();
        let weight = weight.untracked();
        let block = Block::<B> { rows: block.rows.into_primitive(), scale: block.scale };
        let mask = mask.untracked();
        match ShardLinear.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let Branch { y, low } =
                    B::shard_branch(x, weight.clone(), block.clone(), mask.clone());
                prep.finish(Saved { weight, block, mask, low }, y)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::shard_linear(x, weight, block, mask)),
        }
    }
}
