//! The Llama family: decoders of pre-normed blocks with rotary positions and gated linear units.
//!
//! One model serves Llama, SmolLM2, Mistral, Qwen2 and Qwen3; their differences are in
//! [`LlamaConfig`]: biases on the projections, norms on q and k, the width of a head, how many heads
//! share a key, whether the head is the embedding's table, how rotary frequencies are scaled.
//!
//! The forward pass is in two parts, [`LlamaForCausalLM::hidden`] and [`LlamaForCausalLM::logits`]:
//! the head is the widest product of a small model, and a trainer wants it only for those
//! rows that carry loss.
//!
//! ```
//! use burn::tensor::{Int, Tensor};
//! use burn_lora_models::llama::{LlamaConfig, LlamaForCausalLM};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = LlamaConfig::from_json(
//!     r#"{"model_type": "llama", "vocab_size": 32, "hidden_size": 8, "intermediate_size": 16,
//!         "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 64,
//!         "tie_word_embeddings": true}"#,
//!     "config.json".as_ref(),
//! )?;
//! let device = burn_lora::device::parse("cpu")?;
//! let model = LlamaForCausalLM::random(&config, 0, &device)?;
//! let ids = Tensor::<2, Int>::from_ints([[1, 2, 3], [4, 5, 0]], &device); // 0: padding
//! let hidden = model.hidden(ids, &[3, 2], None);
//! assert_eq!(model.logits(hidden).dims(), [2, 3, 32]);
//! # Ok(())
//! # }
//! ```
//!
//! Left out: sliding windows (refused where a configuration uses one), left padding.

mod attention;
mod cache;
mod config;
mod frame;
mod layer;
mod model;
mod rope;

pub use attention::LlamaAttention;
pub use cache::KvCache;
pub use config::LlamaConfig;
pub use layer::{LlamaDecoderLayer, LlamaMlp};
pub use model::{LlamaForCausalLM, LlamaModel};
pub use rope::{RopeConfig, RopeScaling, RopeTables};
