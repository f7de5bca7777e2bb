//! A weight of f16 or bf16 under f32 activations, made of what every backend has. Where it is converted to multiply, the conversion is
//! dropped after the product; it loses nothing, so that the product is that of the f32 weight with these values.

use burn::backend::Backend;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::FloatDType;

use crate::op::ProductBackend;

pub(super) fn multiply<B: ProductBackend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
) -> FloatTensor<B> {
    B::half_product(x, weight)
}

pub(super) fn multiply_transposed<B: ProductBackend>(
    dy: FloatTensor<B>,
    weight: FloatTensor<B>,
) -> FloatTensor<B> {
    B::half_product(dy, B::float_transpose(weight))
}

pub(super) fn gather<B: Backend>(weight: FloatTensor<B>, ids: IntTensor<B>) -> FloatTensor<B> {
    dense::<B>(B::float_select(weight, 0, ids))
}

pub(super) fn dense<B: Backend>(weight: FloatTensor<B>) -> FloatTensor<B> {
    B::float_cast(weight, FloatDType::F32)
}
