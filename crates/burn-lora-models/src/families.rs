//! The model families, a file or a folder each: configuration, layers, and what a training step of them keeps.
//! Those with root-mean-square norms and gated units share their layers ([`crate::decoder::gated`]).
//!
//! Nothing outside of a family's folder names it but the [table](crate::registry).

pub mod bert;
pub mod bloom;
pub mod distilbert;
pub mod gemma;
pub mod gpt2;
pub mod gpt_neox;
pub mod llama;
pub mod modernbert;
pub mod olmo2;
pub mod phi3;
pub mod smollm3;
