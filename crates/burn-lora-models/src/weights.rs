//! Where a model's tensors come from, and where they go.
//!
//! A model is built by asking a [`Source`] for each tensor it needs, under its Hugging Face key.
//! The same building code then serves for a checkpoint on disk, for seeded random numbers, and for
//! a dry run that only lists what would be asked for. The dry run is what a checkpoint is
//! compared with before a byte of it is read, so that every missing, surplus and misshapen tensor is
//! reported in one error.
//!
//! - [`Builder`]: turns the tensors into Burn's layers;
//! - `Checkpoint`: the safetensors files of a directory, read a tensor at a time, by position;
//! - [`Random`]: normal numbers keyed by seed and path;
//! - `save`: the way back.
//!
//! Left out: memory-mapped and quantized weights; everything becomes f32.

mod builder;
mod checkpoint;
mod load;
mod manifest;
mod random;
mod save;

pub use builder::Builder;
pub use load::{CheckpointKeys, LoadReport};
pub use random::Random;
pub use save::SaveDtype;

pub(crate) use load::load;
pub(crate) use manifest::Manifest;
pub(crate) use save::{file_sizes, save};

use crate::ModelError;

/// What a tensor is for; it decides its layout and how it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Weight of a linear: `[d_out, d_in]` in files, `[d_in, d_out]` in Burn.
    Linear,
    /// Table of an embedding: `[rows, d]` in both.
    Embedding,
    /// Scale of a norm; starts at one.
    Scale,
    /// Added to something; starts at zero.
    Bias,
}

/// One tensor that a model needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Hugging Face's key, `model.layers.0.self_attn.q_proj.weight`.
    pub key: String,
    /// The shape as files have it (see [`Role::Linear`]).
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: Role,
}

impl TensorSpec {
    /// How many numbers it has.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no numbers at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where tensors come from.
pub trait Source {
    /// The numbers of one tensor, row by row in Burn's layout: a linear's weight as `[d_in, d_out]`.
    /// `None` for a dry run: the layer then exists by its shape only.
    ///
    /// # Errors
    ///
    /// What the source says when it cannot give the tensor.
    fn values(&mut self, spec: &TensorSpec) -> Result<Option<Vec<f32>>, ModelError>;
}
