//! The backward pass, derived by hand.
//!
//! With `X = mask(x)`, `low = scale · X A` and `y = x W + low B`:
//!
//! ```text
//! dlow = dy Bᵀ                    [rows, rank]
//! dB   = lowᵀ dy                  [rank, d_out]
//! dA   = Xᵀ (scale · dlow)        [d_in, rank]
//! dx   = dy Wᵀ + mask(scale · dlow Aᵀ)
//! ```
//!
//! Nothing of shape `[d_in, d_out]` is made, `dL/dW` is not computed, and what no one asks for
//! (`dx` of the first layer) is skipped. `x` is kept, or made again, for `dA` alone: not where A is frozen.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend};
use burn_autodiff::NodeId;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};

use super::{Branch, Frozen, Lora, LoraBackend, Mask};

#[derive(Debug)]
struct LoraLinear;

/// What the backward needs of the forward.
#[derive(Debug, Clone)]
struct Saved<B: Backend> {
    /// Where A has a gradient.
    x: Option<NodeId>,
    weight: Frozen<B>,
    lora: Lora<B>,
    mask: Mask<B>,
    low: FloatTensor<B>,
}

impl<B: LoraBackend> Backward<B, 3> for LoraLinear {
    type State = Saved<B>;

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let [node_x, node_a, node_b] = ops.parents;
        let dy = grads.consume::<B>(&ops.node);
        let Saved { x, weight, lora, mask, low } = ops.state;

        if let Some(node) = node_b {
            let db = B::lora_product(B::float_transpose(low), dy.clone());
            grads.register::<B>(node.id, db);
        }
        if node_a.is_none() && node_x.is_none() {
            return;
        }
        let dlow = B::lora_scaled_product(dy.clone(), B::float_transpose(lora.b), lora.scale);
        if let (Some(node), Some(x)) = (node_a, x) {
            let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(x);
            let input = mask.clone().apply(x);
            let da = B::lora_product(B::float_transpose(input), dlow.clone());
            grads.register::<B>(node.id, da);
        }
        if let Some(node) = node_x {
            let dx = B::lora_input_grad(dy, dlow, weight, lora.a, mask);
            grads.register::<B>(node.id, dx);
        }
    }
}

impl<B: LoraBackend, C: CheckpointStrategy> LoraBackend for Autodiff<B, C> {
    fn lora_linear(
        x: FloatTensor<Self>,
        weight: Frozen<Self>,
        lora: Lora<Self>,
        mask: Mask<Self>,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), lora.a.node(), lora.b.node()];
        let a_tracked = lora.a.is_tracked();
        let weight = weight.untracked();
        let lora =
            Lora::<B> { a: lora.a.into_primitive(), b: lora.b.into_primitive(), scale: lora.scale };
        let mask = mask.untracked();
        match LoraLinear.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let kept = a_tracked.then(|| prep.checkpoint(&x));
                let x = x.into_primitive();
                let Branch { y, low } =
                    B::lora_branch(x, weight.clone(), lora.clone(), mask.clone());
                prep.finish(Saved { x: kept, weight, lora, mask, low }, y)
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::lora_linear(x.into_primitive(), weight, lora, mask))
            }
        }
    }
}

impl<B: Backend, C: CheckpointStrategy> Mask<Autodiff<B, C>> {
    /// The mask on the backend beneath.
    pub(super) fn untracked(self) -> Mask<B> {
        match self {
            Self::Off => Mask::Off,
            Self::On(mask) => Mask::On(mask.into_primitive()),
        }
    }
}
