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
//! - [`TensorPair`]: what two checkpoints of a model differ in, a tensor at a time; [`norms()`]: how large weights are;
//! - [`Random`]: normal numbers keyed by seed and path;
//! - `save`: the way back.
//!
//! A source gives each tensor in the format that is asked for ([`WeightDtype`]): matrices as the model
//! is to hold them, all else in f32. A tensor that the source has in that format already is not
//! converted, and no other one exists in f32 beside it.
//!
//! Blocks (`quantise`) are a GGUF file's own, or are made of some rows of a tensor at a time, which are read in f32 and dropped.
//!
//! A tensor is read once, a few MiB at a time, into the memory that it stays in: loading peaks at the model and those few MiB (and at one
//! tensor in f32 where blocks are made of rows that a GGUF file has in another order).
//!
//! Left out: weights that are mapped into memory. A linear's are turned on their way here and blocks follow a head of ours, so
//! that little could stay as files have it; and a file that somebody shortens while it is mapped kills the process that
//! reads there, without a word.

mod builder;
mod cause;
mod checkpoint;
mod dtype;
pub(crate) mod instead;
mod load;
mod manifest;
mod nf4;
mod norms;
mod pairs;
mod quantise;
mod random;
mod save;
pub(crate) mod scheme;

pub use builder::{Builder, Storage};
pub use cause::TensorCause;
pub use dtype::{Values, WeightDtype};
pub use load::{Blocks, CheckpointKeys, LoadReport};
pub use norms::norms;
pub use pairs::TensorPair;
pub use random::Random;
pub use save::SaveDtype;

pub(crate) use checkpoint::rows_at_a_time;
pub(crate) use load::{load, outline};
pub(crate) use manifest::Manifest;
pub(crate) use pairs::{each, pairs};
pub(crate) use quantise::Quantiser;
pub(crate) use save::{Collected, file_sizes, merged_tensors, save};

use burn_lora_kernels::quantised::BlockFormat;

use crate::ModelError;

/// What a tensor is for; it decides its layout and how it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Weight of a linear: `[d_out, d_in]` in files, `[d_in, d_out]` in Burn.
    Linear,
    /// Weight of a linear that files store as Burn does, `[d_in, d_out]` (transformers' `Conv1D`).
    Conv1d,
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
    /// The format that the model is to hold it in.
    pub dtype: WeightDtype,
}

impl TensorSpec {
    /// How many numbers it has.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// How many bytes its numbers take in the model.
    pub fn bytes(&self) -> u64 {
        self.dtype.bytes_of(&self.shape)
    }

    /// The same tensor to be read row by row as files have it, in f32.
    pub(crate) fn as_stored(&self, shape: Vec<usize>) -> Self {
        Self { key: self.key.clone(), shape, role: Role::Embedding, dtype: WeightDtype::F32 }
    }

    /// What makes the blocks of its format of its rows, which are stored as `stored` says.
    pub(crate) fn quantiser(&self, stored: [usize; 2], transposed: bool) -> Quantiser {
        let format = self.dtype.blocks().unwrap_or(BlockFormat::Q8_0);
        Quantiser::new(format, stored, transposed)
    }

    /// Whether it has no numbers at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where tensors come from.
pub trait Source {
    /// The numbers of one tensor in the format of `spec.dtype`, row by row in Burn's layout: a linear's
    /// weight as `[d_in, d_out]`. `None` for a dry run: the layer then exists by its shape only.
    ///
    /// # Errors
    ///
    /// What the source says when it cannot give the tensor.
    fn values(&mut self, spec: &TensorSpec) -> Result<Option<Values>, ModelError>;
}
