//! Low-rank adaptation (LoRA) for Burn: the adapter of one linear layer and the operations on it.
//!
//! A linear layer computes `y = x W + b`, with `W: [d_in, d_out]` frozen. LoRA (arXiv 2106.09685)
//! learns the change of `W` as a product of two small factors:
//!
//! ```text
//! y = x W + b + scale · (dropout(x) A) B        A: [d_in, r]   B: [r, d_out]   scale = alpha / r
//! ```
//!
//! The product `A B` is never formed while training, and neither is a gradient of `W`: see
//! [`lora_linear`] for the operation and its hand-derived backward.
//!
//! - [`AdapterConfig`]: kind, rank, alpha, dropout, rsLoRA, initialisation ([`Init`]).
//! - [`Method`]: the table of kinds of adapter, LoRA, DoRA, MiSS, LoRA-FA and biased LoRA, with the [`Factor`]s of
//!   each; and rows of an embedding that are trained beside one ([`Adapter::tokens`]).
//! - [`Adapter`]: factors with a name; [`Adapters`]: the set that hangs on one weight, attached
//!   through Burn's `Reparameterization`, so that no model code changes.
//! - [`LoraForward`]: what model code calls instead of `Linear::forward` for the factored path, [`lora_forward_together`]
//!   of several layers of one input; [`embed`] and [`unembed`]
//!   in the place of `Embedding::forward` and of a product with the table; [`ConvForward`] in that of a convolution's `forward`.
//! - [`Stack`]: matrices that lie in one parameter, such as those of a layer's experts.
//! - [`by_row`]: batches whose rows name their adapter, or none.
//! - [`with_inputs`]: what goes into linear layers, shown to who looks on.
//! - [`FrozenWeight`]: what multiplies, in whatever number format it is held.
//! - [`Lora`] and [`LoraBackend`]: the same thing on primitives, generic over the backend.
//! - [`product`]: a matrix product that keeps f32 in f32, on GPUs too.
//! - [`decomposition`]: singular values of a matrix, or of a product of two thin ones; principal directions of rows that
//!   come a batch at a time.
//! - [`device::parse`]: the one place where a backend is chosen, from a string; [`device::listen`] lends one to other processes.
//!
//! This crate knows no model, no file, no configuration file and no training loop.
//!
//! ```
//! use burn::nn::LinearConfig;
//! use burn::tensor::{Distribution, Tensor};
//! use burn_lora::{Adapter, AdapterConfig, LoraForward, attach};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = burn_lora::device::parse("auto")?;
//! let config = AdapterConfig::new(8).with_alpha(16.0);
//! let linear = LinearConfig::new(32, 64).init(&device);
//! let adapter = Adapter::init("default", &config, &linear.weight, 0)?;
//! let linear = attach(linear, "weight", adapter)?;
//!
//! let x = Tensor::<3>::random([2, 5, 32], Distribution::Default, &device);
//! assert_eq!(linear.lora_forward(x).dims(), [2, 5, 64]);
//! # Ok(())
//! # }
//! ```
//!
//! # Feature flags
//!
//! `flex` (default, CPU), `ndarray` (CPU), `wgpu`, `cuda`, and `remote` (a device elsewhere).

mod adapter;
mod adapters;
mod again;
mod config;
mod conv;
pub mod decomposition;
pub mod device;
mod dropout;
mod embedding;
mod error;
mod forward;
mod init;
mod inputs;
#[cfg(feature = "cube")]
pub mod kernel;
mod op;
mod rows;
mod stack;
mod together;

pub use adapter::{Adapter, Factor, Method, Products, Sizes};
pub use adapters::{Adapters, FactorPath, attach, attach_sets, detach, is_trained, sets, unshared};
pub use again::{Again, made_again, view};
pub use config::AdapterConfig;
pub use conv::{ConvForward, Kernel};
pub use dropout::dropout_mask;
pub use embedding::{embed, head_table, unembed};
pub use error::LoraError;
pub use forward::LoraForward;
pub use init::{Init, loftq};
pub use inputs::with_inputs;
#[cfg(feature = "flex")]
pub use op::FlexWeight;
#[cfg(feature = "cube")]
pub use op::half_matrices;
pub use op::{
    Branch, Frozen, FrozenBackend, FrozenWeight, Lora, LoraBackend, Mask, ProductBackend,
    QuantisedMatrix, lora_linear, product,
};
pub use rows::by_row;
pub use stack::Stack;
pub use together::lora_forward_together;
