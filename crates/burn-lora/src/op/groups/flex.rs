//! The operation on Flex: every group's product is added to where the weight's lies, the groups spread over the cores.
//!
//! Tensors of other types than `f32` take the composed body.

use burn::backend::tensor::FloatTensor;
use burn_flex::Flex;
use burn_lora_kernels::{Floats, groups};

use super::{GroupBackend, Groups, composed};
use crate::op::Frozen;

impl GroupBackend for Flex {
    fn lora_groups(
        x: FloatTensor<Self>,
        weight: Frozen<Self>,
        groups: Groups<Self>,
    ) -> FloatTensor<Self> {
        let of = |factor: &FloatTensor<Self>| Floats::strided(factor.clone());
        let factors: Option<Vec<_>> =
            groups.0.iter().map(|it| Some((of(&it.lora.a)?, of(&it.lora.b)?))).collect();
        let (Some(factors), Some(input)) = (factors, Floats::contiguous(x.clone())) else {
            return composed(x, weight, groups);
        };
        let Some(mut y) = Floats::contiguous(weight.clone().multiply(x.clone())) else {
            return composed(x, weight, groups);
        };
        let pairs = factors.iter().zip(&groups.0);
        let each: Vec<_> = pairs
            .map(|((a, b), group)| groups::Group {
                a: a.matrix(),
                b: b.matrix(),
                scale: group.lora.scale as f32,
                rows: &group.rows,
            })
            .collect();
        groups::add(y.values_mut(), input.values(), &each);
        y.into_tensor()
    }
}
