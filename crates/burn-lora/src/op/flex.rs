//! The operation on Flex: the low-rank product is added to the wide one a block of columns at a time. Products of a few rows have a kernel of their own.
//!
//! Tensors of other types than `f32` take the composed bodies.

use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn_flex::Flex;
use burn_lora_kernels::few_rows::FEW;
use burn_lora_kernels::product::{MatRef, Threads, fresh};
use burn_lora_kernels::{Floats, vector, vectorised};

use super::{Branch, FlexWeight, Frozen, Lora, LoraBackend, Mask, ProductBackend, composed};

impl ProductBackend for Flex {
    /// Few rows go by the kernel that reads the matrix once for all of them.
    fn product(lhs: FloatTensor<Self>, rhs: FloatTensor<Self>) -> FloatTensor<Self> {
        match (Floats::strided(lhs.clone()), Floats::strided(rhs.clone())) {
            (Some(left), Some(right)) if left.dims()[0] <= FEW => {
                let shape = [left.dims()[0], right.dims()[1]];
                Floats::tensor(fresh(left.matrix(), right.matrix(), None, Threads::All), shape)
            }
            _ => Self::float_matmul(lhs, rhs),
        }
    }
}

impl LoraBackend for Flex {
    fn lora_branch(
        x: FloatTensor<Self>,
        weight: Frozen<Self>,
        lora: Lora<Self>,
        mask: Mask<Self>,
    ) -> Branch<Self> {
        let input = match &mask {
            Mask::Off => x.clone(),
            Mask::On(_) => mask.clone().apply(x.clone()),
        };
        let views = (
            Floats::strided(x.clone()),
            FlexWeight::new(&weight),
            Floats::strided(input),
            Floats::strided(lora.a.clone()),
            Floats::strided(lora.b.clone()),
        );
        let (Some(rows), Some(base), Some(input), Some(a), Some(b)) = views else {
            return composed::branch(x, weight, lora, mask);
        };
        let (count, rank, d_out) = (input.dims()[0], a.dims()[1], b.dims()[1]);
        let mut low = fresh(input.matrix(), a.matrix(), None, Threads::All);
        vectorised!(vector::scale(&mut low, lora.scale as f32));
        let y = base.times(rows.matrix(), Some((MatRef::dense(&low, [count, rank]), b.matrix())));
        Branch { y: Floats::tensor(y, [count, d_out]), low: Floats::tensor(low, [count, rank]) }
    }

    fn lora_product(lhs: FloatTensor<Self>, rhs: FloatTensor<Self>) -> FloatTensor<Self> {
        let (Some(left), Some(right)) =
            (Floats::strided(lhs.clone()), Floats::strided(rhs.clone()))
        else {
            return Self::float_matmul(lhs, rhs);
        };
        let shape = [left.dims()[0], right.dims()[1]];
        Floats::tensor(fresh(left.matrix(), right.matrix(), None, Threads::All), shape)
    }

    fn lora_input_grad(
        dy: FloatTensor<Self>,
        dlow: FloatTensor<Self>,
        weight: Frozen<Self>,
        a: FloatTensor<Self>,
        mask: Mask<Self>,
    ) -> FloatTensor<Self> {
        let views = (
            Floats::strided(dy.clone()),
            FlexWeight::new(&weight),
            Floats::strided(dlow.clone()),
            Floats::strided(a.clone()),
        );
        // A mask acts on the low-rank part alone, which then has to be a tensor of its own.
        let (Mask::Off, (Some(rows), Some(base), Some(low), Some(factor))) = (&mask, views) else {
            return composed::input_grad(dy, dlow, weight, a, mask);
        };
        let shape = [low.dims()[0], factor.dims()[0]];
        let low = (low.matrix(), factor.matrix().transposed());
        Floats::tensor(base.times_transposed(rows.matrix(), Some(low)), shape)
    }
}
