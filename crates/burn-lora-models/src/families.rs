//! The model families, a folder each: configuration, layers, and what a training step of them keeps.
//!
//! Nothing outside of a family's folder names it but the [table](crate::registry).

pub mod bert;
pub mod bloom;
pub mod gpt2;
pub mod llama;
