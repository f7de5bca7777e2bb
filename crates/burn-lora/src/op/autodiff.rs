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
use burn::backend::{Autodiff, AutodiffBackend, Backend};
use burn_autodiff::NodeId;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};

use super::together::{Adapted, Back, Returned};
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
    /// Where what the gradient of x is made of is left, and under which number; none where it is made at once.
    back: Option<(usize, Back<B>)>,
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
        let Saved { x, weight, lora, mask, low, back } = ops.state;

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
        match (node_x, back) {
            (None, _) => {}
            (Some(_), Some((number, back))) => {
                back.leave(number, Returned { dy, dlow, weight, a: lora.a, mask });
            }
            (Some(node), None) => {
                let dx = B::lora_input_grad(dy, dlow, weight, lora.a, mask);
                grads.register::<B>(node.id, dx);
            }
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
        let factors = [lora.a.clone(), lora.b.clone()];
        let is_recorded = x.is_tracked() || factors.iter().any(|factor| factor.is_tracked());
        let layer = Adapted { weight, lora, mask }.untracked();
        let Adapted { weight, lora, mask } = layer.clone();
        let input = x.clone().into_primitive();
        if !is_recorded {
            return Self::from_inner(B::lora_linear(input, weight, lora, mask));
        }
        let branch = B::lora_branch(input, weight, lora, mask);
        recorded::<B, C>(&x, &x, &factors, layer, branch, None)
    }
}

/// The output of a layer as one that has a backward pass, for which `x` is what went into it, whose gradient goes to `parent`, and the factors
/// are the layer's.
pub(super) fn recorded<B: LoraBackend, C: CheckpointStrategy>(
    x: &FloatTensor<Autodiff<B, C>>,
    parent: &FloatTensor<Autodiff<B, C>>,
    [a, b]: &[FloatTensor<Autodiff<B, C>>; 2],
    Adapted { weight, lora, mask }: Adapted<B>,
    Branch { y, low }: Branch<B>,
    back: Option<(usize, Back<B>)>,
) -> FloatTensor<Autodiff<B, C>> {
    let nodes = [parent.node(), a.node(), b.node()];
    match LoraLinear.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(mut prep) => {
            let kept = a.is_tracked().then(|| prep.checkpoint(x));
            prep.finish(Saved { x: kept, weight, lora, mask, low, back }, y)
        }
        OpsKind::UnTracked(prep) => prep.finish(y),
    }
}

impl<B: Backend, C: CheckpointStrategy> Adapted<Autodiff<B, C>> {
    /// The layer on the backend beneath.
    pub(super) fn untracked(self) -> Adapted<B> {
        let Lora { a, b, scale } = self.lora;
        Adapted {
            weight: self.weight.untracked(),
            lora: Lora { a: a.into_primitive(), b: b.into_primitive(), scale },
            mask: self.mask.untracked(),
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
