//! Llama- and BERT-family models on Burn whose linears run the factored LoRA path, with what they
//! need around them: checkpoints, tokenizers, generation.
//!
//! - [`llama::LlamaForCausalLM`]: Llama, SmolLM2, Mistral, Qwen2 and Qwen3.
//! - [`bert::SequenceClassifier`]: BERT, MiniLM and RoBERTa with a classification head.
//! - [`Model::load`]: either of them from a Hugging Face directory, by its `model_type`.
//! - [`weights`]: where tensors come from; a model is always built from such a source, never
//!   initialised first and overwritten.
//! - [`fused`]: what surrounds the linears, as single operations with backward passes of their own.
//! - [`gguf`]: a base model in one file.
//! - [`footprint`]: what a training step keeps in memory, counted from shapes.
//! - [`tokenizer::Tokenizer`], [`generate`], and [`conversation`]: how a model's conversations are written,
//!   for training and for generation, through its chat [`template`] where it has one.
//!
//! Module paths are Hugging Face's (`model.layers.0.self_attn.q_proj`), so that PEFT's target names
//! mean the same here. Every linear is `burn::nn::Linear`, called through
//! [`burn_lora::LoraForward`].
//!
//! Left out: dropout of the base model. It is frozen in what this project does, and here it runs as
//! it does in evaluation; only the adapter's own dropout acts. No sliding windows, no sentence pairs
//! (token types other than 0), no left padding.
//!
//! ```no_run
//! use burn_lora_models::generate::{GenerateOptions, generate};
//! use burn_lora_models::llama::LlamaForCausalLM;
//! use burn_lora_models::tokenizer::Tokenizer;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let dir = std::path::Path::new("models/smollm2-135m");
//! let device = burn_lora::device::parse("cpu")?;
//! let tokenizer = Tokenizer::from_dir(dir)?;
//! let (model, _report) = LlamaForCausalLM::load(dir, &device, &mut |_, _| {})?;
//! let prompt = tokenizer.encode("The capital of France is", true)?;
//! let options = GenerateOptions { stop: tokenizer.eos_ids().to_vec(), ..Default::default() };
//! let output = generate(&model, &[prompt], &options, &mut |_, _| std::ops::ControlFlow::Continue(()))?;
//! println!("{}", tokenizer.decode(&output[0].ids, true)?);
//! # Ok(())
//! # }
//! ```

pub mod bert;
pub mod config;
pub mod conversation;
mod error;
pub mod footprint;
pub mod fused;
pub mod generate;
pub mod gguf;
pub mod llama;
pub mod loss;
mod model;
pub mod template;
pub mod tokenizer;
pub mod weights;

pub use error::{ModelError, TensorProblem};
pub use model::Model;
pub use weights::{LoadReport, SaveDtype};
