//! Everything that a command can fail with.

use std::path::{Path, PathBuf};

use burn_lora::device::DeviceError;
use burn_lora_config::ConfigErrors;
use burn_lora_files::IoError;
use burn_lora_hub::HubError;
use burn_lora_models::ModelError;
use burn_lora_patch::PatchError;
use burn_lora_report::ReportError;
use burn_lora_train::TrainError;

use crate::extract::ExtractError;
use crate::inspect::InspectError;
use crate::presets::PresetError;
use crate::sweep::SweepError;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// A run cannot start, go on or be used.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A sweep cannot start or go on.
    #[error(transparent)]
    Sweep(#[from] SweepError),
    /// A preset.
    #[error(transparent)]
    Preset(#[from] PresetError),
    /// The merged model answers differently.
    #[error(
        "the merged model's logits differ from the adapted model's by {difference:.2e}, more than {tolerance:.1e}: it was not written"
    )]
    MergeDiffers {
        /// The largest absolute difference.
        difference: f64,
        /// What is allowed.
        tolerance: f64,
    },
    /// Logits cannot be read from their device.
    #[error("comparing the merged model with the adapted one failed: {source}")]
    Compare {
        /// What Burn says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A page or a plot that cannot be made.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// An adapter to look into.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// Two models of which no adapter can be made.
    #[error(transparent)]
    Extract(#[from] ExtractError),
    /// An adapter that does not say what it is of, where that is to be known.
    #[error(
        "`{}` names no base model, and llama.cpp's names of its layers follow from that: name the base", adapter.display()
    )]
    NoBase {
        /// The adapter.
        adapter: PathBuf,
    },
    /// A directory to write that is there already.
    #[error("`{}` is there already: name another directory, or remove it first", out.display())]
    Exists {
        /// The directory.
        out: PathBuf,
    },
    /// A place where continuations cannot go.
    #[error("`{}` {reason}: name another file for the continuations", path.display())]
    Output {
        /// What was named.
        path: PathBuf,
        /// Why not.
        reason: &'static str,
    },
    /// A file for continuations that is there already.
    #[error("`{}` is there already: name another file, or remove it first", path.display())]
    OutputExists {
        /// The file.
        path: PathBuf,
    },
    /// A name that no adapter has.
    #[error("there is no adapter `{name}`; there are: {known}")]
    UnknownAdapter {
        /// What was asked for.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// A row of a file of prompts that asks for nothing.
    #[error("{}:{line}: {reason}", path.display())]
    Prompt {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A file or directory cannot be read or written.
    #[error(transparent)]
    Io(#[from] IoError),
    /// The device cannot be had.
    #[error("device: {0}")]
    Device(#[from] DeviceError),
}

impl AppError {
    /// Sees to it that a directory to write is not there yet.
    pub(crate) fn unless_new(out: &Path) -> Result<(), Self> {
        match out.exists() {
            true => Err(Self::Exists { out: out.to_owned() }),
            false => Ok(()),
        }
    }
}

/// The errors of the crates below, which a run may meet as well, are those of a run here, too.
macro_rules! as_train_errors {
    ($($error:ty),*) => {
        $(impl From<$error> for AppError {
            fn from(error: $error) -> Self {
                Self::Train(error.into())
            }
        })*
    };
}

as_train_errors!(ConfigErrors, HubError, ModelError, PatchError);
