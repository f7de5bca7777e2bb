//! A weight in blocks of a few bits under f32 activations (`burn_lora_kernels::quantised`).
//!
//! Where its blocks hang is said in `frozen.rs`. Flex multiplies by tiles of it (`flex.rs`); what is made here of what every backend
//! has takes the dense weight, which is dropped after the product, and is what the tiles are compared with.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_lora_kernels::quantised::Quantised;

use crate::op::ProductBackend;

#[cfg(feature = "flex")]
pub use burn_lora_kernels::quantised::QuantisedMatrix;

/// Without Flex there is no tensor that carries one.
#[cfg(not(feature = "flex"))]
#[derive(Debug, Clone)]
pub enum QuantisedMatrix {}

#[cfg(not(feature = "flex"))]
impl QuantisedMatrix {
    /// To read.
    pub fn view(&self) -> burn_lora_kernels::quantised::QuantisedRef<'_> {
        match *self {}
    }
}

/// What a weight's tensor carries.
#[cfg(feature = "flex")]
pub(super) fn of(weight: &Tensor<2>) -> Option<QuantisedMatrix> {
    use burn::backend::{BackendTensor, DispatchTensorKind};
    fn carried(kind: &DispatchTensorKind) -> Option<QuantisedMatrix> {
        match kind {
            DispatchTensorKind::Flex(BackendTensor::Float(tensor)) => QuantisedMatrix::of(tensor),
            DispatchTensorKind::Flex(BackendTensor::Autodiff(tensor)) => {
                QuantisedMatrix::of(&tensor.clone().into_primitive())
            }
            DispatchTensorKind::Autodiff(kind) => carried(kind),
            #[allow(unreachable_patterns, reason = "Flex may be the only backend")]
            _ => None,
        }
    }
    carried(&weight.clone().into_dispatch().kind)
}

/// What a weight's tensor carries.
#[cfg(not(feature = "flex"))]
pub(super) fn of(_: &Tensor<2>) -> Option<QuantisedMatrix> {
    None
}

/// The tensor that carries a matrix; none of a device other than Flex.
#[cfg(feature = "flex")]
pub(super) fn carrier(matrix: Quantised, device: &Device) -> Option<Tensor<2>> {
    use burn::backend::{
        BackendTensor, DispatchAutodiffContext, DispatchTensor, DispatchTensorKind,
    };
    if !crate::device::is_flex(device) {
        return None;
    }
    let tensor = BackendTensor::Float(QuantisedMatrix::carrier(matrix));
    let kind = DispatchTensorKind::Flex(tensor);
    let autodiff = DispatchAutodiffContext::Disabled;
    let tensor = Tensor::from_dispatch(DispatchTensor { kind, autodiff });
    Some(if device.is_autodiff() { tensor.autodiff() } else { tensor })
}

/// The tensor that carries a matrix; none of a device other than Flex.
#[cfg(not(feature = "flex"))]
pub(super) fn carrier(_: Quantised, _: &Device) -> Option<Tensor<2>> {
    None
}

/// The rows from `start` on, one after the other.
fn values(matrix: &QuantisedMatrix, start: usize, count: usize) -> TensorData {
    let [_, columns] = matrix.view().shape();
    let mut values = vec![0.0_f32; count * columns];
    matrix.view().rows(start, &mut values);
    TensorData::new(values, [count, columns])
}

/// The rows from `start` on, `[count, d_out]` in f32, where the carrier is.
pub(super) fn rows<B: Backend>(
    carrier: &FloatTensor<B>,
    matrix: &QuantisedMatrix,
    start: usize,
    count: usize,
) -> FloatTensor<B> {
    B::float_from_data(values(matrix, start, count), &carrier.device())
}

/// All values in f32.
pub(super) fn dense<B: Backend>(
    carrier: &FloatTensor<B>,
    matrix: &QuantisedMatrix,
) -> FloatTensor<B> {
    let [count, _] = matrix.view().shape();
    rows::<B>(carrier, matrix, 0, count)
}

/// The rows of these numbers in f32, which are the only ones that are converted.
pub(super) fn gather(
    carrier: &Tensor<2>,
    matrix: &QuantisedMatrix,
    ids: Tensor<1, Int>,
) -> Tensor<2> {
    let count = ids.dims()[0];
    let [_, columns] = matrix.view().shape();
    let mut values = vec![0.0_f32; count * columns];
    for (id, out) in ids.into_data().iter::<i64>().zip(values.chunks_exact_mut(columns.max(1))) {
        matrix.view().rows(id as usize, out);
    }
    Tensor::from_data(TensorData::new(values, [count, columns]), &carrier.device())
}

pub(super) fn multiply<B: ProductBackend>(
    x: FloatTensor<B>,
    carrier: FloatTensor<B>,
    matrix: &QuantisedMatrix,
) -> FloatTensor<B> {
    B::product(x, dense::<B>(&carrier, matrix))
}

pub(super) fn multiply_transposed<B: ProductBackend>(
    dy: FloatTensor<B>,
    carrier: FloatTensor<B>,
    matrix: &QuantisedMatrix,
) -> FloatTensor<B> {
    B::product(dy, B::float_transpose(dense::<B>(&carrier, matrix)))
}
