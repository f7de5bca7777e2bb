//! A dense weight in the activations' own format.

use burn::backend::Backend;
use burn::backend::tensor::{FloatTensor, IntTensor};

use crate::op::ProductBackend;

pub(super) fn multiply<B: ProductBackend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
) -> FloatTensor<B> {
    B::product(x, weight)
}

pub(super) fn multiply_transposed<B: ProductBackend>(
    dy: FloatTensor<B>,
    weight: FloatTensor<B>,
) -> FloatTensor<B> {
    B::product(dy, B::float_transpose(weight))
}

pub(super) fn gather<B: Backend>(weight: FloatTensor<B>, ids: IntTensor<B>) -> FloatTensor<B> {
    B::float_select(weight, 0, ids)
}
