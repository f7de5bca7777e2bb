//! The operation made of what every backend has: the default bodies, and the twin that kernels are
//! tested against.

use burn::backend::tensor::FloatTensor;

use super::{Branch, Frozen, FrozenBackend, Lora, Mask};

pub(super) fn branch<B: FrozenBackend>(
    x: FloatTensor<B>,
    weight: Frozen<B>,
    lora: Lora<B>,
    mask: Mask<B>,
) -> Branch<B> {
    let input = mask.apply(x.clone());
    let low = B::float_mul_scalar(B::product(input, lora.a), lora.scale.into());
    let y = B::float_add(weight.multiply(x), B::product(low.clone(), lora.b));
    Branch { y, low }
}

pub(super) fn input_grad<B: FrozenBackend>(
    dy: FloatTensor<B>,
    dlow: FloatTensor<B>,
    weight: Frozen<B>,
    a: FloatTensor<B>,
    mask: Mask<B>,
) -> FloatTensor<B> {
    let through_a = mask.apply(B::product(dlow, B::float_transpose(a)));
    B::float_add(weight.multiply_transposed(dy), through_a)
}
