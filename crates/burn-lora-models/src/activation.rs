//! What stands between the two products of a layer without a gate.

use std::f64::consts::SQRT_2;

use burn::tensor::Tensor;
use burn::tensor::activation::{gelu, relu};
use burn_lora::made_again;

use crate::footprint::ActivationCost;
use crate::fused::gelu_tanh;

/// What stands between the two products of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Activation {
    /// GELU, exact.
    #[default]
    Gelu,
    /// GELU by its tanh approximation: `gelu_new`, `gelu_fast`, `gelu_pytorch_tanh`.
    GeluTanh,
    /// The larger of x and 0.
    Relu,
}

impl Activation {
    /// From the value of a key of a `config.json`.
    pub(crate) fn parse(key: &str, name: &str) -> Result<Self, Vec<String>> {
        match name {
            "gelu" => Ok(Self::Gelu),
            "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" => Ok(Self::GeluTanh),
            "relu" => Ok(Self::Relu),
            other => Err(vec![format!(
                "`{key}` is `{other}`: supported are `gelu`, `gelu_new`, `gelu_fast`, \
                 `gelu_pytorch_tanh`, `relu`"
            )]),
        }
    }

    /// Its first name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gelu => "gelu",
            Self::GeluTanh => "gelu_pytorch_tanh",
            Self::Relu => "relu",
        }
    }

    /// What it keeps.
    pub(crate) fn cost(self) -> ActivationCost {
        ActivationCost { kept: 1, again: self == Self::GeluTanh }
    }

    /// What [`gated`](Self::gated) keeps.
    pub(crate) fn gated_cost(self) -> ActivationCost {
        ActivationCost { kept: if self.cost().again { 2 } else { 3 }, again: true }
    }

    pub(crate) fn apply<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Gelu if burn_lora::device::is_flex(&x.device()) => gelu(x),
            // The gradient of Burn's `gelu` is the tanh approximation's on every backend but Flex: off by 1e-3.
            Self::Gelu => (x.clone().div_scalar(SQRT_2).erf() + 1.0) * x.mul_scalar(0.5),
            Self::GeluTanh => gelu_tanh(x),
            Self::Relu => relu(x),
        }
    }

    /// The activation of the gate, times what it gates.
    pub(crate) fn gated<const D: usize>(self, gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
        made_again([self.apply(gate), up], |[gate, up]| gate * up)
    }
}

#[cfg(test)]
mod tests;
