//! An optimiser whose states are restored in the memory of the host.
//!
//! `ModuleOptimizer::load_record` makes the states on `Device::default()`, which is a GPU as soon as
//! one is compiled in, there or not. Where they are made does not matter otherwise: each step moves
//! them to where its gradient is. So [`OnHost`] makes them on the CPU, whatever device it is told.
//! What is written to a record is the inner optimiser's, byte for byte.

use burn::optim::{LearningRate, Optimizer, RecordState, StateSink, StateSource};
use burn::tensor::{Device, Tensor};

/// The inner optimiser, step for step.
#[derive(Debug, Clone)]
pub(super) struct OnHost<O>(pub(super) O);

/// The inner optimiser's state.
#[derive(Debug, Clone)]
pub(super) struct HostState<S>(S);

impl<S: RecordState> RecordState for HostState<S> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        self.0.state_flatten(prefix, out);
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
        // A build without a CPU backend has the GPU that it was told of.
        let host = burn_lora::device::parse("cpu");
        S::state_unflatten(prefix, source, host.as_ref().unwrap_or(device)).map(Self)
    }
}

impl<O: Optimizer> Optimizer for OnHost<O> {
    type State<const D: usize> = HostState<O::State<D>>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let (tensor, state) = self.0.step(rate, tensor, grad, state.map(|state| state.0));
        (tensor, state.map(HostState))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        HostState(O::to_device(state.0, device))
    }
}
