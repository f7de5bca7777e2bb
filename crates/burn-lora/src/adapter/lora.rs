//! LoRA (arXiv 2106.09685): `W' = W + scale · A B`.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::{Adaptation, Factor, Given, Input, Sizes, Strength};
use crate::{AdapterConfig, LoraError, init, lora_linear, product};

/// Factor A, `[d_in, rank]`.
pub(super) const A: Factor = Factor {
    name: "a",
    key: "lora_A.weight",
    trained: true,
    lora_plus: false,
    shape: |sizes| vec![sizes.d_in, sizes.rank],
};

/// Factor B, `[rank, d_out]`.
pub(super) const B: Factor = Factor {
    name: "b",
    key: "lora_B.weight",
    trained: true,
    lora_plus: true,
    shape: |sizes| vec![sizes.rank, sizes.d_out],
};

/// Two factors whose product is added.
#[derive(Module, Debug)]
pub(crate) struct Lora {
    /// `[d_in, rank]`.
    a: Param<Tensor<2>>,
    /// `[rank, d_out]`; starts at zero.
    b: Param<Tensor<2>>,
}

impl Lora {
    /// These factors.
    pub(super) fn of(a: Tensor<2>, b: Tensor<2>) -> Result<Self, LoraError> {
        let (shape_a, shape_b) = (a.dims(), b.dims());
        if shape_a[1] != shape_b[0] {
            return Err(LoraError::FactorShapes { a: shape_a, b: shape_b });
        }
        if shape_a[1] == 0 {
            return Err(LoraError::Rank { rank: 0 });
        }
        Ok(Self { a: Param::from_tensor(a), b: Param::from_tensor(b) })
    }
}

impl Adaptation for Lora {
    const FACTORS: &'static [Factor] = &[A, B];
    const SWITCH: Option<&'static str> = None;

    fn init(
        config: &AdapterConfig,
        weight: &Param<Tensor<2>>,
        seed: u64,
    ) -> Result<Self, LoraError> {
        let (a, b) = init::factors(config, weight, seed)?;
        Self::of(a, b)
    }

    fn given(values: &mut Given<'_>, _weight: &Param<Tensor<2>>) -> Result<Self, LoraError> {
        Ok(Self { a: values.param("a")?, b: values.param("b")? })
    }

    fn sizes(&self) -> Sizes {
        sizes(&self.a, &self.b)
    }

    fn kept(sizes: Sizes, dropout: bool) -> usize {
        kept(sizes, dropout)
    }

    fn forward(&self, input: Input, strength: Strength) -> Tensor<2> {
        forward(&self.a, &self.b, input, strength)
    }

    fn branch(&self, input: Input, strength: Strength) -> Tensor<2> {
        branch(&self.a, &self.b, input, strength)
    }

    fn change(&self, _weight: Tensor<2>, strength: Strength) -> Tensor<2> {
        change(&self.a, &self.b, strength)
    }
}

// What follows from two factors whose product is added, whichever of them are trained.

pub(super) fn sizes(a: &Param<Tensor<2>>, b: &Param<Tensor<2>>) -> Sizes {
    let ([d_in, rank], [_, d_out]) = (a.dims(), b.dims());
    Sizes { d_in, d_out, rank }
}

pub(super) fn kept(sizes: Sizes, dropout: bool) -> usize {
    // The low-rank activation, and the mask of the input.
    sizes.rank + if dropout { sizes.d_in } else { 0 }
}

pub(super) fn forward(
    a: &Param<Tensor<2>>,
    b: &Param<Tensor<2>>,
    input: Input,
    strength: Strength,
) -> Tensor<2> {
    let scale = strength.scale * strength.multiplier;
    lora_linear(input.x, input.weight, a.val(), b.val(), scale, input.mask)
}

pub(super) fn branch(
    a: &Param<Tensor<2>>,
    b: &Param<Tensor<2>>,
    input: Input,
    strength: Strength,
) -> Tensor<2> {
    let scale = strength.scale * strength.multiplier;
    let low = product(input.dropped(), a.val()).mul_scalar(scale);
    product(low, b.val())
}

pub(super) fn change(a: &Param<Tensor<2>>, b: &Param<Tensor<2>>, strength: Strength) -> Tensor<2> {
    let scale = strength.scale * strength.multiplier;
    product(a.val(), b.val()).mul_scalar(scale)
}
