//! The step on a Cube device (wgpu, CUDA).

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, DispatchDevice, backend_extension};
use burn::optim::{AdamWState, AdaptiveMomentumState, LearningRate};
use burn::tensor::{DType, Tensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use burn_lora::kernel::elements;

use super::Numbers;

mod kernel;

/// The numbers of one step; see [`burn_lora_kernels`]'s step on CPUs, of which this has every operation in its order.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    betas: [f32; 2],
    /// What the moments hold: `1 - beta^time` each.
    held: [f32; 2],
    epsilon: f32,
    rate: f32,
    /// What the parameter is multiplied by: `1 - learning rate · weight decay`.
    keep: f32,
}

/// AdamW's step as one operation.
#[backend_extension(Cube, Fusion)]
pub trait StepBackend: Backend {
    /// The parameter and its two moments after the step, all four of one shape; the gradient counts `factor` times, `[1]`.
    #[fusion(meta = |parameter, _grad, _factor, first, second, _step| {
        (parameter.clone(), first.clone(), second.clone())
    })]
    fn adamw_step(
        parameter: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        factor: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        step: Step,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

/// Whether all that a step touches is f32 on one Cube device.
pub(super) fn takes<const D: usize>(
    tensor: &Tensor<D>,
    grad: &Tensor<D>,
    state: Option<&AdamWState<D>>,
) -> bool {
    let device = tensor.device();
    let ours = |tensor: &Tensor<D>| tensor.device() == device && tensor.dtype() == DType::F32;
    let moments = state.map(|state| &state.momentum);
    matches!(device.as_dispatch(), DispatchDevice::Cube(_))
        && tensor.shape().num_elements() > 0
        && ours(tensor)
        && ours(grad)
        && moments.is_none_or(|held| ours(&held.moment_1) && ours(&held.moment_2))
}

/// A step, where [`takes`] holds. Parameter and moments are taken apart before it, so that they are nobody else's and are written where
/// they lie.
pub(super) fn step<const D: usize>(
    numbers: Numbers,
    rate: LearningRate,
    tensor: Tensor<D>,
    grad: Tensor<D>,
    factor: Option<Tensor<1>>,
    state: Option<AdamWState<D>>,
) -> (Tensor<D>, AdamWState<D>) {
    let (time, first, second) = match state {
        Some(AdamWState { momentum: held }) => (held.time + 1, held.moment_1, held.moment_2),
        None => {
            let zeros = || Tensor::zeros(tensor.dims(), &tensor.device());
            (1, zeros(), zeros())
        }
    };
    let power = i32::try_from(time).unwrap_or(i32::MAX);
    let step = Step {
        betas: numbers.betas,
        held: numbers.betas.map(|beta| 1.0 - beta.powi(power)),
        epsilon: numbers.epsilon,
        rate: rate as f32,
        keep: (1.0 - rate * f64::from(numbers.weight_decay)) as f32,
    };
    let factor = factor.unwrap_or_else(|| Tensor::ones([1], &tensor.device())).into_dispatch();
    let [tensor, grad, first, second] =
        [tensor, grad, first, second].map(|tensor| tensor.into_dispatch());
    let (tensor, first, second) =
        <Dispatch as StepBackend>::adamw_step(tensor, grad, factor, first, second, step);
    let [tensor, first, second] = [tensor, first, second].map(Tensor::from_dispatch);
    (tensor, AdamWState::new(AdaptiveMomentumState::new(time, first, second)))
}

/// Memory that nobody else has, with these values.
fn own(tensor: CubeTensor) -> CubeTensor {
    let tensor = into_contiguous(tensor);
    if tensor.can_mut() { tensor } else { tensor.copy() }
}

impl StepBackend for CubeBackend {
    fn adamw_step(
        parameter: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        factor: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        step: Step,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let [parameter, first, second] = [parameter, first, second].map(own);
        let client = parameter.client.clone();
        let (cubes, units) = elements(&parameter, parameter.meta.num_elements());
        let [grad, factor] = [grad, factor].map(|tensor| into_contiguous(tensor).into_tensor_arg());
        let [p, m, v] = [&parameter, &first, &second].map(|to| to.clone().into_tensor_arg());
        let Step { betas: [beta_1, beta_2], held: [held_1, held_2], epsilon, rate, keep } = step;
        kernel::step::launch(
            &client, cubes, units, grad, factor, p, m, v, beta_1, beta_2, held_1, held_2, epsilon,
            rate, keep,
        );
        (parameter, first, second)
    }
}
