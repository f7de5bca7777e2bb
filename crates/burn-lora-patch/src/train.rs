//! Checkpoints of the adapter alone for burn-train (feature `train`).
//!
//! burn-train's own checkpoints hold the whole model, the frozen base included, once an epoch.
//! [`AdapterCheckpointer`] is given to `SupervisedTraining::with_custom_checkpointers` in the place of the
//! one for the model; those for the optimiser and the schedule hold what is trained only as they are.
//!
//! ```no_run
//! use burn_lora_patch::train::AdapterCheckpointer;
//! use burn_train::checkpoint::FileCheckpointer;
//! # use burn::nn::transformer::TransformerEncoder;
//!
//! # fn checkpointers(model: &TransformerEncoder) -> Result<(), Box<dyn std::error::Error>> {
//! let checkpointers = (
//!     AdapterCheckpointer::new("run/checkpoint", model)?,
//!     FileCheckpointer::new("run/checkpoint", "optim"),
//!     FileCheckpointer::new("run/checkpoint", "scheduler"),
//! );
//! // SupervisedTraining::new("run", train, valid)
//! //     .with_custom_checkpointers(checkpointers.0, checkpointers.1, checkpointers.2)
//! # let _ = checkpointers;
//! # Ok(())
//! # }
//! ```
//!
//! To resume, patch the base anew with the same configuration and call `SupervisedTraining::checkpoint` with
//! the epoch. What follows is bit for bit the run that never stopped if every epoch brings the batches that it
//! would have brought: Burn's shuffling data loader begins with its first order again, and dropout draws from
//! a generator that no checkpoint holds.
//!
//! The model that `launch` gives back (`LearningResult::model`) is in validation mode: it gives outputs, is saved
//! and merged, and nothing of it requires gradients. `Module::train` makes trainable again what was.

use std::path::Path;

use burn::module::{Module, ParamGroup, ParamId};
use burn::store::{ModuleRecord, RecordError};
use burn_pack::{Reader, Tensor, Writer};
use burn_train::checkpoint::{Checkpointer, CheckpointerError, FileCheckpointer};

use crate::error::PatchError;
use crate::group::trainable_group;

/// Keeps of every model record what is trained, and gives it back over a freshly patched model.
///
/// A checkpoint is the file `adapter-<epoch>.bpk` of the directory.
pub struct AdapterCheckpointer {
    files: FileCheckpointer,
    group: ParamGroup,
}

impl std::fmt::Debug for AdapterCheckpointer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdapterCheckpointer").field("group", &self.group).finish_non_exhaustive()
    }
}

impl AdapterCheckpointer {
    /// Checkpoints of what `model` trains, in `directory`, which is made if need be.
    ///
    /// # Errors
    ///
    /// A model of which nothing is trained.
    pub fn new<M: Module>(directory: impl AsRef<Path>, model: &M) -> Result<Self, PatchError> {
        let group = trainable_group(model)?;
        Ok(Self { files: FileCheckpointer::new(directory, "adapter"), group })
    }

    fn kept(&self, record: ModuleRecord) -> Result<ModuleRecord, RecordError> {
        let trained = |tensor: &Tensor| {
            let id = tensor.param_id.map_or_else(ParamId::new, ParamId::from);
            self.group.matches(&id, Some(&tensor.name))
        };
        let mut tensors = Reader::from_bytes(record.into_bytes()?)?.into_tensors()?;
        tensors.retain(trained);
        ModuleRecord::from_bytes(Writer::new(tensors).into_bytes()?)
    }
}

impl Checkpointer<ModuleRecord> for AdapterCheckpointer {
    fn save(&self, epoch: usize, record: ModuleRecord) -> Result<(), CheckpointerError> {
        let kept = self.kept(record).map_err(CheckpointerError::Record)?;
        self.files.save(epoch, kept)
    }

    fn delete(&self, epoch: usize) -> Result<(), CheckpointerError> {
        Checkpointer::<ModuleRecord>::delete(&self.files, epoch)
    }

    fn restore(&self, epoch: usize) -> Result<ModuleRecord, CheckpointerError> {
        let record: ModuleRecord = self.files.restore(epoch)?;
        Ok(record.allow_partial(true))
    }
}
