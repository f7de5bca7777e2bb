//! A dense weight in the activations' own format.

use burn::backend::Backend;
use burn::backend::tensor::{FloatTensor, IntTensor};

pub(super) fn multiply<B: Backend>(x: FloatTensor<B>, weight: FloatTensor<B>) -> FloatTensor<B> {
    B::float_matmul(x, weight)
}

pub(super) fn multiply_transposed<B: Backend>(
    dy: FloatTensor<B>,
    weight: FloatTensor<B>,
) -> FloatTensor<B> {
    B::float_matmul(dy, B::float_transpose(weight))
}

pub(super) fn gather<B: Backend>(weight: FloatTensor<B>, ids: IntTensor<B>) -> FloatTensor<B> {
    B::float_select(weight, 0, ids)
}
