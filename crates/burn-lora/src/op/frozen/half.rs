//! A weight of f16 or bf16 under f32 arithmetic, made of what every backend has: the weight is cast for
//! each product and the cast dropped. Converting loses nothing, so that a product is that of the f32
//! weight with these values.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::FloatDType;

pub(super) fn multiply<B: Backend>(x: FloatTensor<B>, weight: FloatTensor<B>) -> FloatTensor<B> {
    let weight = B::float_cast(weight, x.dtype().into());
    B::float_matmul(x, weight)
}

pub(super) fn multiply_transposed<B: Backend>(
    dy: FloatTensor<B>,
    weight: FloatTensor<B>,
) -> FloatTensor<B> {
    let weight = B::float_cast(weight, dy.dtype().into());
    B::float_matmul(dy, B::float_transpose(weight))
}

pub(super) fn gather<B: Backend>(weight: FloatTensor<B>, ids: IntTensor<B>) -> FloatTensor<B> {
    dense::<B>(B::float_select(weight, 0, ids))
}

pub(super) fn dense<B: Backend>(weight: FloatTensor<B>) -> FloatTensor<B> {
    B::float_cast(weight, FloatDType::F32)
}
