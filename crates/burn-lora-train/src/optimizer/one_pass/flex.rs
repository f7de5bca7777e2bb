//! The step on Flex's own memory.

use burn::backend::{BackendTensor, DispatchDevice, DispatchTensor, DispatchTensorKind};
use burn::optim::{AdamWState, AdaptiveMomentumState, LearningRate};
use burn::tensor::{DType, Tensor};
use burn_lora_kernels::Floats;
use burn_lora_kernels::adamw::AdamWStep;

use super::Numbers;

/// Whether all that a step touches is f32 in Flex's memory.
pub(super) fn takes<const D: usize>(
    tensor: &Tensor<D>,
    grad: &Tensor<D>,
    state: Option<&AdamWState<D>>,
) -> bool {
    let ours = |tensor: &Tensor<D>| {
        let flex = matches!(tensor.device().as_dispatch(), DispatchDevice::Flex(_));
        flex && tensor.dtype() == DType::F32
    };
    let moments = state.map(|state| &state.momentum);
    ours(tensor)
        && ours(grad)
        && moments.is_none_or(|held| ours(&held.moment_1) && ours(&held.moment_2))
}

impl Numbers {
    /// A step, where [`takes`] holds.
    pub(super) fn step<const D: usize>(
        &self,
        rate: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<AdamWState<D>>,
    ) -> (Tensor<D>, AdamWState<D>) {
        let (time, first, second) = match state {
            Some(AdamWState { momentum: held }) => (held.time + 1, held.moment_1, held.moment_2),
            None => {
                let zeros = || Tensor::zeros(tensor.dims(), &tensor.device());
                (1, zeros(), zeros())
            }
        };
        let [mut tensor, mut first, mut second] = [tensor, first, second].map(floats);
        let grad = floats(grad);
        let step = AdamWStep {
            beta_1: self.betas[0],
            beta_2: self.betas[1],
            epsilon: self.epsilon,
            rate: rate as f32,
            keep: (1.0 - rate * f64::from(self.weight_decay)) as f32,
            time,
        };
        step.take(tensor.values_mut(), grad.values(), first.values_mut(), second.values_mut());
        let [tensor, first, second] = [tensor, first, second].map(tensor_of);
        (tensor, AdamWState::new(AdaptiveMomentumState::new(time, first, second)))
    }
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Floats {
    let DispatchTensorKind::Flex(BackendTensor::Float(tensor)) = tensor.into_dispatch().kind else {
        unreachable!("`takes` was asked")
    };
    Floats::contiguous(tensor).expect("`takes` was asked")
}

fn tensor_of<const D: usize>(floats: Floats) -> Tensor<D> {
    let kind = DispatchTensorKind::Flex(BackendTensor::Float(floats.into_tensor()));
    Tensor::from_dispatch(DispatchTensor { kind, autodiff: Default::default() })
}
