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
//! Left out: the gradient of B multiplied by `(A Aᵀ)⁻¹`, an optimiser of PEFT's.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::lora::{A, B};
use super::{Adaptation, Factor, Given, Input, Sizes, Strength};
use crate::{AdapterConfig, LoraError, init, lora_linear, product};

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
        let ([d_in, rank], [_, d_out]) = (self.a.dims(), self.b.dims());
        Sizes { d_in, d_out, rank }
    }

    fn kept(sizes: Sizes, dropout: bool) -> usize {
        // The low-rank activation, and the mask of the input.
        sizes.rank + if dropout { sizes.d_in } else { 0 }
    }

    fn forward(&self, input: Input, strength: Strength) -> Tensor<2> {
        let scale = strength.scale * strength.multiplier;
        lora_linear(input.x, input.weight, self.a.val(), self.b.val(), scale, input.mask)
    }

    fn branch(&self, input: Input, strength: Strength) -> Tensor<2> {
        let scale = strength.scale * strength.multiplier;
        let low = product(input.dropped(), self.a.val()).mul_scalar(scale);
        product(low, self.b.val())
    }

    fn change(&self, _weight: Tensor<2>, strength: Strength) -> Tensor<2> {
        let scale = strength.scale * strength.multiplier;
        product(self.a.val(), self.b.val()).mul_scalar(scale)
    }
}
