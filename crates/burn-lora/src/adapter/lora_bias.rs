//! LoRA whose factor B has a bias (PEFT's `lora_bias`), for adapters that were cut out of a trained change.
//!
//! ```text
//! y = x W + b + scale · (dropout(x) A B + β)        A: [d_in, rank]   B: [rank, d_out]   β: [d_out]
//! ```
//!
//! `W' = W + scale · A B` as in LoRA. What `β` adds is no part of `W'`: it is added to the output beside the layer's own
//! bias ([`Adaptation::shift`]), and merged into that one for good. The start is PEFT's default one (β zero), and there is
//! no such adapter of an embedding, as in PEFT.
//!
//! Left out: model code that calls `Linear::forward`, which multiplies with `W'` and knows of nothing beside it: it is
//! stopped.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::lora::{self, A, B};
use super::{Adaptation, Factor, Given, Input, Products, Sizes, Strength};
use crate::{AdapterConfig, LoraError, init};

/// The bias of factor B, `[d_out]`.
const BETA: Factor = Factor {
    name: "beta",
    key: "lora_B.bias",
    table_key: "lora_B.bias",
    trained: true,
    lora_plus: true,
    shape: |sizes| vec![sizes.d_out],
};

/// Two factors whose product is added to the weight, and what is added to the output.
#[derive(Module, Debug)]
pub(crate) struct LoraBias {
    /// `[d_in, rank]`.
    a: Param<Tensor<2>>,
    /// `[rank, d_out]`.
    b: Param<Tensor<2>>,
    /// `[d_out]`; starts at zero.
    beta: Param<Tensor<1>>,
}

impl LoraBias {
    fn shifted(&self, y: Tensor<2>, strength: Strength) -> Tensor<2> {
        y + self.beta.val().mul_scalar(strength.total()).unsqueeze()
    }
}

impl Adaptation for LoraBias {
    const FACTORS: &'static [Factor] = &[A, B, BETA];
    const SWITCH: Option<&'static str> = Some("lora_bias");
    const DEFAULT_START: bool = true;
    const SHIFTS: bool = true;

    fn init(
        config: &AdapterConfig,
        weight: &Param<Tensor<2>>,
        seed: u64,
    ) -> Result<Self, LoraError> {
        let init::Start { a, b, .. } = init::factors(config, weight, seed)?;
        let beta = Tensor::zeros([b.dims()[1]], &b.device());
        let (a, b, beta) = (Param::from_tensor(a), Param::from_tensor(b), Param::from_tensor(beta));
        Ok(Self { a, b, beta })
    }

    fn given(values: &mut Given<'_>, _weight: &Param<Tensor<2>>) -> Result<Self, LoraError> {
        Ok(Self { a: values.param("a")?, b: values.param("b")?, beta: values.param("beta")? })
    }

    fn sizes(&self) -> Sizes {
        lora::sizes(&self.a, &self.b)
    }

    fn kept(sizes: Sizes, dropout: bool) -> usize {
        lora::kept(sizes, dropout)
    }

    fn products(sizes: Sizes) -> Products {
        lora::products(sizes)
    }

    fn forward(&self, input: Input, strength: Strength) -> Tensor<2> {
        self.shifted(lora::forward(&self.a, &self.b, input, strength), strength)
    }

    fn branch(&self, input: Input, strength: Strength) -> Tensor<2> {
        self.shifted(lora::branch(&self.a, &self.b, input, strength), strength)
    }

    fn change(&self, _weight: Tensor<2>, strength: Strength) -> Tensor<2> {
        lora::change(&self.a, &self.b, strength)
    }

    fn shift(&self, strength: Strength) -> Option<Tensor<1>> {
        Some(self.beta.val().mul_scalar(strength.total()))
    }
}

#[cfg(test)]
mod tests;
