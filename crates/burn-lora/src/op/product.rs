//! Matrix products that say in which format they are computed.
//!
//! Burn's own product leaves that to the device: a GPU with tensor cores may round the operands of an f32 product to TF32 (10 bits) and
//! choose so by measuring, shape by shape. Here a product of f32 is one of f32, sums and all, by one kernel for all shapes; and one with
//! an operand of 16 bits is computed in that format with sums in f32, which is what tensor cores are for. Every product of this crate,
//! and of the models above it, is one of these.
//!
//! CPU backends have nothing to choose and multiply as they always do; on Flex, a few rows by a kernel of their own (`op/flex.rs`). A device
//! elsewhere is asked for these products by name, and takes its own (`op/remote.rs`).
//!
//! Left out: broadcasting. Both operands have the same dimensions before the last two.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, TensorMetadata, backend_extension};
#[cfg(any(feature = "cube", feature = "remote"))]
use burn::tensor::Shape;
use burn::tensor::Tensor;
use burn_autodiff::NodeId;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};

/// Products, for every backend.
#[backend_extension(
    NdArray: cfg(feature = "ndarray"),
    Flex: cfg(feature = "flex"),
    Cube: cfg(feature = "cube"),
    Remote: cfg(feature = "remote"),
    Fusion: cfg(feature = "cube"),
    Autodiff
)]
pub trait ProductBackend: Backend {
    /// See [`product`].
    #[fusion(dtype = lhs, shape = output(lhs, rhs))]
    fn product(lhs: FloatTensor<Self>, rhs: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_matmul(lhs, rhs)
    }

    /// `x weight` with a weight of f16 or bf16, the output in the format of x.
    ///
    /// The default converts the weight, which loses nothing. A GPU rounds x to the weight's format.
    ///
    /// # Shapes
    ///
    /// - x: `[rows, n]`, weight: `[n, columns]`, output: `[rows, columns]`
    #[fusion(dtype = x, shape = output(x, weight))]
    fn half_product(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let weight = Self::float_cast(weight, x.dtype().into());
        Self::product(x, weight)
    }
}

/// `lhs rhs`, with gradients for both: in the operands' own format, f32 as f32.
///
/// # Shapes
///
/// - lhs: `[.., rows, n]`, rhs: `[.., n, columns]`, with the same dimensions before
/// - output: `[.., rows, columns]`
///
/// # Panics
///
/// Where the shapes are others.
pub fn product<const D: usize>(lhs: Tensor<D>, rhs: Tensor<D>) -> Tensor<D> {
    let (left, right) = (lhs.dims(), rhs.dims());
    assert!(
        D >= 2 && left[..D - 2] == right[..D - 2] && left[D - 1] == right[D - 2],
        "a product of {left:?} and {right:?}"
    );
    let (lhs, rhs) = (lhs.into_dispatch(), rhs.into_dispatch());
    Tensor::from_dispatch(<Dispatch as ProductBackend>::product(lhs, rhs))
}

/// The shape of a product.
#[cfg(any(feature = "cube", feature = "remote"))]
pub(super) fn output(lhs: &Shape, rhs: &Shape) -> Shape {
    let mut shape = lhs.clone();
    let last = lhs.num_dims() - 1;
    shape[last] = rhs[last];
    shape
}

/// `y = lhs rhs`: `dlhs = dy rhsᵀ`, `drhs = lhsᵀ dy`.
#[derive(Debug)]
struct Product;

impl<B: ProductBackend> Backward<B, 2> for Product {
    /// The operands whose counterpart has a gradient.
    type State = (Option<NodeId>, Option<NodeId>);

    fn backward(
        self,
        ops: Ops<Self::State, 2>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let [node_lhs, node_rhs] = ops.parents;
        let dy = grads.consume::<B>(&ops.node);
        let (lhs, rhs) = ops.state;
        let mut kept =
            |id: NodeId| checkpointer.retrieve_node_output::<B::FloatTensorPrimitive>(id);
        let (lhs, rhs) = (lhs.map(&mut kept), rhs.map(&mut kept));
        if let (Some(node), Some(rhs)) = (node_lhs, rhs) {
            grads.register::<B>(node.id, B::product(dy.clone(), B::float_transpose(rhs)));
        }
        if let (Some(node), Some(lhs)) = (node_rhs, lhs) {
            grads.register::<B>(node.id, B::product(B::float_transpose(lhs), dy));
        }
    }
}

impl<B: ProductBackend, C: CheckpointStrategy> ProductBackend for Autodiff<B, C> {
    fn product(lhs: FloatTensor<Self>, rhs: FloatTensor<Self>) -> FloatTensor<Self> {
        let (lhs_tracked, rhs_tracked) = (lhs.is_tracked(), rhs.is_tracked());
        match Product.prepare::<C>([lhs.node(), rhs.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let of_lhs = rhs_tracked.then(|| prep.checkpoint(&lhs));
                let of_rhs = lhs_tracked.then(|| prep.checkpoint(&rhs));
                let y = B::product(lhs.into_primitive(), rhs.into_primitive());
                prep.finish((of_lhs, of_rhs), y)
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::product(lhs.into_primitive(), rhs.into_primitive()))
            }
        }
    }
}
