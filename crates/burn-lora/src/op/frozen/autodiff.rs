//! The backward passes of a frozen weight's products: the product from the other side. The weight is
//! kept as it is held, never converted, and gets no gradient.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend};
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};

use super::{Frozen, FrozenBackend};

/// `y = x W`: `dx = dy Wᵀ`.
#[derive(Debug)]
struct Multiply;

impl<B: FrozenBackend> Backward<B, 1> for Multiply {
    type State = Frozen<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        if let [Some(node)] = ops.parents {
            grads.register::<B>(node.id, ops.state.multiply_transposed(dy));
        }
    }
}

/// `x = dy Wᵀ`: its own gradient goes back by `W`.
#[derive(Debug)]
struct MultiplyTransposed;

impl<B: FrozenBackend> Backward<B, 1> for MultiplyTransposed {
    type State = Frozen<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        if let [Some(node)] = ops.parents {
            grads.register::<B>(node.id, ops.state.multiply(dy));
        }
    }
}

impl<B: FrozenBackend, C: CheckpointStrategy> FrozenBackend for Autodiff<B, C> {
    fn frozen_multiply(x: FloatTensor<Self>, weight: Frozen<Self>) -> FloatTensor<Self> {
        let (node, weight) = (x.node(), weight.untracked());
        let y = B::frozen_multiply(x.into_primitive(), weight.clone());
        match Multiply.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(weight, y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }

    fn frozen_multiply_transposed(
        dy: FloatTensor<Self>,
        weight: Frozen<Self>,
    ) -> FloatTensor<Self> {
        let (node, weight) = (dy.node(), weight.untracked());
        let x = B::frozen_multiply_transposed(dy.into_primitive(), weight.clone());
        match MultiplyTransposed.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(weight, x),
            OpsKind::UnTracked(prep) => prep.finish(x),
        }
    }
}

impl<B: Backend, C: CheckpointStrategy> Frozen<Autodiff<B, C>> {
    /// The weight on the backend beneath.
    pub fn untracked(self) -> Frozen<B> {
        match self {
            Self::Dense(weight) => Frozen::Dense(weight.into_primitive()),
            Self::Half(weight) => Frozen::Half(weight.into_primitive()),
            Self::Quantised(carrier, matrix) => Frozen::Quantised(carrier.into_primitive(), matrix),
        }
    }
}
