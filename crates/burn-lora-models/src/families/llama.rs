//! The Llama family: decoders of pre-normed blocks with rotary positions and gated linear units.
//!
//! One configuration serves Llama, SmolLM2, Mistral, Qwen2 and Qwen3; their differences are in
//! [`LlamaConfig`]: biases on the projections, norms on q and k, the width of a head, how many heads
//! share a key, whether the head is the embedding's table, how rotary frequencies are scaled.
//!
//! Left out: attention over a sliding window (where a configuration uses one, rows may be as long as it, for which
//! both are the same), left padding.

mod config;
mod gguf;

use crate::decoder::gated::GatedForCausalLM;
pub use crate::decoder::rope::{RopeConfig, RopeScaling, RopeTables};

pub use config::{LlamaConfig, LlamaKeys};

/// A decoder with a head over the vocabulary.
pub type LlamaForCausalLM = GatedForCausalLM<LlamaKeys>;
