//! An adapter's files, put on a model: whoever waits is told of settings that are switched on and have no effect.

use std::path::Path;

use burn::module::Module;
use burn_lora_patch::PatchError;
use burn_lora_patch::peft::{self, LoadOptions, PeftConfig};

use crate::observe::Observer;

/// Loads the adapter in `dir` into the model.
///
/// # Errors
///
/// Those of [`peft::load`].
pub fn load<M: Module>(
    model: &mut M,
    dir: &Path,
    options: &LoadOptions,
    observer: &Observer,
) -> Result<(), PatchError> {
    tell(&peft::read_config(dir)?, observer);
    peft::load(model, dir, options).map(|_| ())
}

/// Tells of settings that are switched on and have no effect, in one line.
pub fn tell(config: &PeftConfig, observer: &Observer) {
    if let Some(line) = config.passed_over() {
        observer.note(line);
    }
}
