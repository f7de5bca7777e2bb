//! Passes of training: blocks whose activations are made again in the backward pass, and seeds of what is
//! drawn.
//!
//! A backward pass needs what the forward pass computed. With [`Recompute::Block`] a stack of blocks keeps
//! the input of each block alone, and the backward pass takes a block's forward pass once more before it
//! goes back through it (Chen et al. 2016, arXiv 1604.06174, with a block as segment): the activations of one
//! block exist at a time, for one forward pass more.
//!
//! [`TrainingPass::gradients`] takes both directions, since a block's backward pass is one of its own:
//!
//! ```text
//! forward    x₁ = f₀(x₀), x₂ = f₁(x₁), …      no graph; every xᵢ is kept
//! head       loss = g(xₙ)                     its backward gives dxₙ
//! backward   yᵢ = fᵢ(xᵢ), once more           Σ yᵢ ∘ dxᵢ₊₁ gives dxᵢ, and the gradients of the block
//! ```
//!
//! The multiplication by one that seeds a block's backward is exact, and each block's operations are those of a
//! whole graph in their order: on the CPU the gradients are bit for bit those of [`Recompute::None`].
//!
//! What a block draws (dropout) must be drawn again. So a pass has a seed, and seeds the device's generator
//! anew for every block, whatever is recomputed.
//!
//! A family's stack goes through one function here, and nothing else of it knows. Blocks are modules that read
//! their input and constants of the pass.
//!
//! ```
//! use burn::tensor::{Int, Tensor};
//! use burn_lora_models::recompute::{Recompute, TrainingPass};
//! use burn_lora_models::{CausalConfig, CausalLm, Decoder, Model, ModelConfig};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = CausalConfig::from_json(
//!     r#"{"model_type": "llama", "vocab_size": 32, "hidden_size": 8, "intermediate_size": 16,
//!         "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 64}"#,
//!     "config.json".as_ref(),
//! )?;
//! let device = burn_lora::device::parse("cpu")?.autodiff();
//! let model = CausalLm::random(&config, 0, &device)?;
//! let pass = TrainingPass { seed: 0, recompute: Recompute::Block };
//! let (gradients, ()) = pass.gradients(&model, &device, || {
//!     let ids = Tensor::<2, Int>::from_ints([[1, 2, 3]], &device);
//!     (model.logits(model.hidden(ids, &[3], None)).sum(), ())
//! });
//! assert!(!gradients.is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! Left out: segments of several blocks or of parts of one, blocks that read a tensor of the pass that is
//! itself differentiated.

mod chain;

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Gradients, Tensor};
use burn_lora_files::splitmix;
use serde::{Deserialize, Serialize};

use chain::{Recording, collect, recorded};

pub(crate) use chain::{is_recording, through};

/// What of a training pass is made again in its backward pass, instead of being kept.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Recompute {
    /// Nothing.
    #[default]
    None,
    /// What is inside of a block: a layer of a decoder or an encoder.
    Block,
}

impl Recompute {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::None, Self::Block];

    /// How it is spelled.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Block => "block",
        }
    }
}

/// One forward and backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TrainingPass {
    /// Decides what is drawn in it.
    pub seed: u64,
    /// What of it is made again.
    pub recompute: Recompute,
}

impl TrainingPass {
    /// The gradients of every trained parameter of `module`, by its identity, for the loss that `forward`
    /// computes with it; and what else `forward` gives.
    ///
    /// A parameter that the loss does not depend on has none.
    ///
    /// # Shapes
    ///
    /// - loss: `[1]`
    ///
    /// # Panics
    ///
    /// Where the loss depends on no trained parameter.
    pub fn gradients<M: Module, T>(
        self,
        module: &M,
        device: &Device,
        forward: impl FnOnce() -> (Tensor<1>, T),
    ) -> (GradientsParams, T) {
        let ((loss, told), chains) = recorded(Recording::start(self, device), forward);
        let mut gradients = GradientsParams::new();
        let mut passed: Vec<Gradients> = vec![loss.backward()];
        // The last chain's end is nearest to the loss; an earlier one's can be below a later one's start.
        for chain in chains.into_iter().rev() {
            let below = chain.backward(&mut passed, &mut gradients);
            passed.extend(below);
        }
        for mut passed in passed {
            collect(module, &mut passed, &mut gradients);
        }
        (gradients, told)
    }
}

/// A seed for the `place`th thing that draws by itself, of a seed for all of them: SplitMix64's sequence.
pub fn seed_of(seed: u64, place: u64) -> u64 {
    splitmix::mixed(seed.wrapping_add(place.wrapping_add(1).wrapping_mul(splitmix::STEP)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first outputs of SplitMix64 from 0, as its authors' C program prints them.
    #[test]
    fn seeds_are_splitmixs_sequence() {
        assert_eq!(seed_of(0, 0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(seed_of(0, 1), 0x6e78_9e6a_a1b9_65f4);
        assert_eq!(seed_of(0, 2), 0x06c4_5d18_8009_454f);
    }
}
