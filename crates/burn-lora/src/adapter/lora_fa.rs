//! LoRA-FA (arXiv 2308.03303): LoRA whose A stays as it was drawn.
//!
//! ```text
//! W' = W + scale · A B          A: [d_in, rank], frozen          B: [rank, d_out]
//! ```
//!
//! The gradient of B needs `scale · x A`, `[rows, rank]`, and nothing needs `x`: a training step keeps no
//! input of the layer, where LoRA keeps all of it for the gradient of A.
//!
//! A trained one is a LoRA adapter: PEFT's files know no difference, and what was saved is LoRA when it is
//! loaded.
//!
//! On a convolution B is trained behind a frozen convolution with A, and the layer's input is not kept either.
//!
//! Left out: the gradient of B multiplied by `(A Aᵀ)⁻¹`, an optimiser of PEFT's.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::lora::{self, A, B};
use super::{Adaptation, Factor, Given, Input, Products, Sizes, Strength, Windows};
use crate::op::LowRank;
use crate::{AdapterConfig, LoraError, init};

/// Factor A, as LoRA's but frozen.
const FROZEN_A: Factor = Factor { trained: false, ..A };

/// Two factors whose product is added, of which the second is trained.
#[derive(Module, Debug)]
pub(crate) struct LoraFa {
    /// `[d_in, rank]`, frozen.
    a: Param<Tensor<2>>,
    /// `[rank, d_out]`; starts at zero.
    b: Param<Tensor<2>>,
}

impl Adaptation for LoraFa {
    const FACTORS: &'static [Factor] = &[FROZEN_A, B];
    const SWITCH: Option<&'static str> = None;
    const KEEPS_INPUT: bool = false;
    const CONVOLVES: bool = true;

    fn init(
        config: &AdapterConfig,
        weight: &Param<Tensor<2>>,
        seed: u64,
    ) -> Result<Self, LoraError> {
        let init::Start { a, b, .. } = init::factors(config, weight, seed)?;
        let a = Param::from_tensor(a).set_require_grad(false);
        Ok(Self { a, b: Param::from_tensor(b) })
    }

    fn given(values: &mut Given<'_>, _weight: &Param<Tensor<2>>) -> Result<Self, LoraError> {
        let a = values.param("a")?.set_require_grad(false);
        Ok(Self { a, b: values.param("b")? })
    }

    fn sizes(&self) -> Sizes {
        lora::sizes(&self.a, &self.b)
    }

    fn kept(sizes: Sizes, dropout: bool) -> usize {
        lora::kept(sizes, dropout)
    }

    fn products(sizes: Sizes) -> Products {
        let all = lora::products(sizes);
        // None for a gradient of A.
        Products { backward: all.backward - sizes.rank * sizes.d_in, ..all }
    }

    fn forward(&self, input: Input, strength: Strength) -> Tensor<2> {
        lora::forward(&self.a, &self.b, input, strength)
    }

    fn branch(&self, input: Input, strength: Strength) -> Tensor<2> {
        lora::branch(&self.a, &self.b, input, strength)
    }

    fn low_rank(&self, strength: Strength) -> Option<LowRank> {
        Some(lora::low_rank(&self.a, &self.b, strength))
    }

    fn convolve<const D: usize>(&self, input: &Windows<'_, D>, strength: Strength) -> Tensor<D> {
        input.low_rank(self.a.val(), self.b.val(), strength.total())
    }

    fn change(&self, _weight: Tensor<2>, strength: Strength) -> Tensor<2> {
        lora::change(&self.a, &self.b, strength)
    }
}
