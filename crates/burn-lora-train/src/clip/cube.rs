//! The squares of a gradient on a Cube device (wgpu, CUDA): one kernel adds them to the sum so far, where a model has hundreds of small ones.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, DispatchDevice, backend_extension};
use burn::tensor::{DType, Shape, Tensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_lora::kernel::{fresh, rows};

mod kernel;

/// Numbers that one cube sums up in a moment; more of them are Burn's to reduce.
const NUMBERS: usize = 1 << 18;

/// A sum that goes on, as one operation.
#[backend_extension(Cube, Fusion)]
pub trait SquaresBackend: Backend {
    /// `sum + Σ grad²`, `[1]`.
    #[fusion(dtype = sum, shape = sum)]
    fn add_squares(grad: FloatTensor<Self>, sum: FloatTensor<Self>) -> FloatTensor<Self>;
}

pub(super) fn takes<const D: usize>(grad: &Tensor<D>) -> bool {
    let is_cube = matches!(grad.device().as_dispatch(), DispatchDevice::Cube(_));
    is_cube && grad.dtype() == DType::F32 && (1..=NUMBERS).contains(&grad.shape().num_elements())
}

/// What [`takes`] allows.
pub(super) fn with_squares<const D: usize>(grad: Tensor<D>, sum: Option<Tensor<1>>) -> Tensor<1> {
    let sum = sum.unwrap_or_else(|| Tensor::zeros([1], &grad.device()));
    let (grad, sum) = (grad.into_dispatch(), sum.into_dispatch());
    Tensor::from_dispatch(<Dispatch as SquaresBackend>::add_squares(grad, sum))
}

impl SquaresBackend for CubeBackend {
    fn add_squares(grad: FloatTensor<Self>, sum: FloatTensor<Self>) -> FloatTensor<Self> {
        let client = grad.client.clone();
        let total = fresh(&grad, Shape::new([1]), DType::F32);
        let (cubes, units) = rows(1);
        let (grad, to) = (into_contiguous(grad).into_tensor_arg(), total.clone().into_tensor_arg());
        kernel::squares::launch(&client, cubes, units, grad, sum.into_tensor_arg(), to);
        total
    }
}
