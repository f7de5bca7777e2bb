//! The backward passes, derived by hand in [`conv`](super).

use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, TensorMetadata};
use burn::tensor::Shape;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};

use super::{ConvBackend, FrozenKernel, KernelFactors};
use super::{input_gradient, kernel_gradient, low_rank};
use crate::op::Mask;

#[derive(Debug)]
struct FrozenConv;

impl<B: ConvBackend> Backward<B, 1> for FrozenConv {
    /// The shape of the input, of which nothing else is kept.
    type State = (Shape, FrozenKernel<B>);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [node_x] = ops.parents;
        let dy = grads.consume::<B>(&ops.node);
        let (shape, FrozenKernel { kernel, steps }) = ops.state;
        if let Some(node) = node_x {
            grads.register::<B>(node.id, input_gradient::<B>(&shape, kernel, dy, &steps));
        }
    }
}

#[derive(Debug)]
struct LowRankConv;

/// What the backward needs of the forward.
#[derive(Debug, Clone)]
struct Saved<B: Backend> {
    shape: Shape,
    /// Where A has a gradient.
    x: Option<FloatTensor<B>>,
    factors: KernelFactors<B>,
    mask: Mask<B>,
    low: FloatTensor<B>,
}

impl<B: ConvBackend> Backward<B, 3> for LowRankConv {
    type State = Saved<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [node_x, node_a, node_b] = ops.parents;
        let dy = grads.consume::<B>(&ops.node);
        let Saved { shape, x, factors, mask, low } = ops.state;
        let KernelFactors { a, b, steps, groups, scale } = factors;
        let points = steps.points(groups);

        let of_low = low.shape();
        if let Some(node) = node_b {
            let db = kernel_gradient::<B>(low, b.clone(), dy.clone(), &points);
            grads.register::<B>(node.id, db);
        }
        if node_a.is_none() && node_x.is_none() {
            return;
        }
        let dlow = input_gradient::<B>(&of_low, b, dy, &points);
        let dlow = B::float_mul_scalar(dlow, scale.into());
        if let (Some(node), Some(x)) = (node_a, x) {
            let input = mask.clone().apply(x);
            let da = kernel_gradient::<B>(input, a.clone(), dlow.clone(), &steps);
            grads.register::<B>(node.id, da);
        }
        if let Some(node) = node_x {
            let dx = mask.apply(input_gradient::<B>(&shape, a, dlow, &steps));
            grads.register::<B>(node.id, dx);
        }
    }
}

impl<B: ConvBackend, C: CheckpointStrategy> ConvBackend for Autodiff<B, C> {
    fn frozen_conv(x: FloatTensor<Self>, kernel: FrozenKernel<Self>) -> FloatTensor<Self> {
        let (node, shape) = (x.node(), x.shape());
        let x = x.into_primitive();
        let FrozenKernel { kernel, steps } = kernel;
        let kernel = FrozenKernel::<B> { kernel: kernel.into_primitive(), steps };
        match FrozenConv.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let y = B::frozen_conv(x, kernel.clone());
                prep.finish((shape, kernel), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::frozen_conv(x, kernel)),
        }
    }

    fn low_rank_conv(
        x: FloatTensor<Self>,
        factors: KernelFactors<Self>,
        mask: Mask<Self>,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), factors.a.node(), factors.b.node()];
        let (a_tracked, shape) = (factors.a.is_tracked(), x.shape());
        let x = x.into_primitive();
        let KernelFactors { a, b, steps, groups, scale } = factors;
        let (a, b) = (a.into_primitive(), b.into_primitive());
        let factors = KernelFactors::<B> { a, b, steps, groups, scale };
        let mask = mask.untracked();
        match LowRankConv.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (y, low) = low_rank::<B>(x.clone(), factors.clone(), mask.clone());
                let x = a_tracked.then_some(x);
                prep.finish(Saved { shape, x, factors, mask, low }, y)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::low_rank_conv(x, factors, mask)),
        }
    }
}
