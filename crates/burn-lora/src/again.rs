//! Outputs that a backward pass makes again, where it needs them, instead of keeping them.
//!
//! The output of a norm or of a gate is as large as its input, which its own backward pass keeps anyway, and takes one pass over it
//! to make. It is kept all the same where the linear after it has an adapter, whose factor A needs its input. Burn's autodiff knows of
//! operations whose output is made again from what goes in (Chen et al. 2016, arXiv 1604.06174, section 3, "memory-efficient"), where a device is
//! told to: then of all of them, and the sides of every sum are held for it. Here single operations are told to: those of Burn by
//! [`made_again`], those of this project by [`Again`] in their own `impl` for [`Autodiff`](burn::backend::Autodiff).
//!
//! What takes a tensor from such an operation to the one that needs it must be made again as well, or the tensor is kept on its way:
//! [`view`] is `reshape` for that.
//!
//! Burn holds what goes into such an operation until the backward pass begins, needed or not: a view of what nobody needs again is not free.
//!
//! The values are those of the first time, bit for bit.
//!
//! Left out: an output whose input has no gradient, which Burn keeps.

use std::fmt;
use std::marker::PhantomData;

use burn::backend::Backend;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{GradientCheckpointingStrategy, Tensor};
use burn_autodiff::NodeId;
use burn_autodiff::checkpoint::retro_forward::RetroForward;
use burn_autodiff::checkpoint::state::BackwardStates;

/// What Burn's `operation` gives for these tensors, made again where a backward pass needs it.
///
/// ```
/// use burn::tensor::Tensor;
/// use burn_lora::made_again;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let device = burn_lora::device::parse("cpu")?.autodiff();
/// let [gate, up] = [3.0, 4.0].map(|x| Tensor::<1>::from_floats([x], &device).require_grad());
/// let y = made_again([gate.clone(), up], |[gate, up]| gate * up);
/// let gradients = y.powf_scalar(2.0).backward();
/// assert_eq!(gate.grad(&gradients).unwrap().into_scalar::<f32>(), 2.0 * 12.0 * 4.0);
/// # Ok(())
/// # }
/// ```
///
/// # Panics
///
/// Where the tensors are told different checkpointing strategies.
pub fn made_again<const D: usize, const E: usize, const N: usize>(
    inputs: [Tensor<D>; N],
    operation: impl FnOnce([Tensor<D>; N]) -> Tensor<E>,
) -> Tensor<E> {
    let Some(own) = inputs.iter().find_map(Tensor::gradient_checkpointing_strategy) else {
        return operation(inputs);
    };
    let inputs = inputs.map(|input| match input.is_autodiff() {
        true => input.with_gradient_checkpointing_strategy(GradientCheckpointingStrategy::Balanced),
        false => input,
    });
    operation(inputs).with_gradient_checkpointing_strategy(own)
}

/// `x` in another shape of as many numbers, which no backward pass keeps.
///
/// # Panics
///
/// Where that shape has more or fewer.
pub fn view<const D: usize, const E: usize>(x: Tensor<D>, shape: [usize; E]) -> Tensor<E> {
    made_again([x], |[x]| x.reshape(shape))
}

/// How an operation of one's own is made again: by `make`, of the outputs of the nodes that go in.
///
/// It goes to `memory_bound().retro_forward(..)` of an operation that is prepared with Burn's `BalancedCheckpointing`, with the tensors of
/// these nodes, and no others, as its `parents(..)`; a parent without a gradient must be in `make` instead.
pub struct Again<B, F, const N: usize> {
    inputs: [NodeId; N],
    make: F,
    backend: PhantomData<fn() -> B>,
}

impl<B, F, const N: usize> Again<B, F, N>
where
    B: Backend,
    F: Fn([FloatTensor<B>; N]) -> FloatTensor<B> + Send + 'static,
{
    /// `make` of what `inputs` gave.
    pub fn new(inputs: [NodeId; N], make: F) -> Self {
        Self { inputs, make, backend: PhantomData }
    }
}

impl<B, F, const N: usize> RetroForward for Again<B, F, N>
where
    B: Backend,
    F: Fn([FloatTensor<B>; N]) -> FloatTensor<B> + Send + 'static,
{
    fn forward(&self, states: &mut BackwardStates, out_node: NodeId) {
        let inputs = self.inputs.map(|input| states.get_state::<FloatTensor<B>>(&input));
        states.save(out_node, (self.make)(inputs));
    }
}

impl<B, F, const N: usize> fmt::Debug for Again<B, F, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Again").field("inputs", &self.inputs).finish_non_exhaustive()
    }
}
