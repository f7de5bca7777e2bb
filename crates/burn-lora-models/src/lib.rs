//! Transformer models on Burn whose linears run the factored LoRA path, with what they need around
//! them: checkpoints, tokenizers, generation.
//!
//! - [`CausalLm`]: a [`Decoder`] of any family; [`SequenceClassifier`]: an encoder with a
//!   classification head ([`Classifier`]). Both are loaded, drawn at random, outlined and saved as any
//!   [`Model`] is; the [`registry`] says which families there are.
//! - [`families`]: a file or a folder a family.
//! - [`weights`]: where tensors come from; a model is always built from such a source, never
//!   initialised first and overwritten.
//! - [`fused`]: what surrounds the linears, as single operations with backward passes of their own.
//! - [`recompute`]: a forward pass and its backward, in which a block's activations may be made again.
//! - [`gguf`]: a base model in one file.
//! - [`footprint`]: what a training step keeps in memory, counted from shapes.
//! - [`tokenizer::Tokenizer`], [`generate`], and [`conversation`]: how a model's conversations are written,
//!   for training and for generation, through its chat [`template`] where it has one.
//!
//! Module paths are Hugging Face's (`model.layers.0.self_attn.q_proj`), so that PEFT's target names
//! mean the same here. Every linear is `burn::nn::Linear`, called through
//! [`burn_lora::LoraForward`].
//!
//! A model's own dropout is off until its configuration is asked for it ([`ModelConfig::with_dropout`]).
//!
//! Left out: rows longer than Mistral's and Qwen's sliding windows, sentence pairs (token types other than 0), left padding.
//!
//! ```no_run
//! use burn_lora_models::generate::{GenerateOptions, generate};
//! use burn_lora_models::tokenizer::Tokenizer;
//! use burn_lora_models::{CausalLm, Model};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let dir = std::path::Path::new("models/smollm2-135m");
//! let device = burn_lora::device::parse("cpu")?;
//! let tokenizer = Tokenizer::from_dir(dir)?;
//! let (model, _report) = CausalLm::load(dir, &device, &mut |_, _| {})?;
//! let prompt = tokenizer.encode("The capital of France is", true)?;
//! let options = GenerateOptions { stop: tokenizer.eos_ids().to_vec(), ..Default::default() };
//! let output = generate(&model, &[prompt], &options, &mut |_, _| std::ops::ControlFlow::Continue(()))?;
//! println!("{}", tokenizer.decode(&output[0].ids, true)?);
//! # Ok(())
//! # }
//! ```

mod activation;
mod classifier;
mod config;
pub mod conversation;
pub mod decoder;
mod dropout;
mod encoder;
mod error;
pub mod families;
pub mod footprint;
pub mod fused;
pub mod generate;
pub mod gguf;
pub mod loss;
pub mod model;
pub mod recompute;
pub mod registry;
pub mod template;
pub mod tokenizer;
pub mod weights;

pub use activation::Activation;
pub use classifier::{Classifier, ClassifierConfig};
pub use decoder::{Decoder, KvCache};
pub use dropout::{Dropout, Dropouts};
pub use error::{ModelError, TensorProblem};
pub use model::{Description, Model, ModelConfig};
pub use recompute::{Recompute, TrainingPass};
pub use registry::{
    Architecture, CausalConfig, CausalLm, SequenceClassifier, SequenceClassifierConfig,
};
pub use weights::{LoadReport, SaveDtype, Storage, TensorCause, WeightDtype};
