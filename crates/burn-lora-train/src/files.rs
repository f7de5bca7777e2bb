//! Files and directories, with this crate's errors.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use burn_lora_patch::atomic;
use serde::Serializer;
use tempfile::TempDir;

use crate::TrainError;

/// Writes the file, whole or not at all, and the directories above it.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    create_dir(atomic::parent(path))?;
    atomic::write(path, |file| file.write_all(bytes)).map_err(TrainError::io("write", path))
}

/// A scratch directory inside `parent`, to be renamed into its place when it is whole.
pub(crate) fn scratch_dir(parent: &Path) -> Result<TempDir, TrainError> {
    create_dir(parent)?;
    atomic::scratch_dir(parent).map_err(TrainError::io("write", parent))
}

/// Creates the directory and its parents.
pub(crate) fn create_dir(dir: &Path) -> Result<(), TrainError> {
    fs::create_dir_all(dir).map_err(TrainError::io("create", dir))
}

/// Flushes the directory's own entries to disk.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), TrainError> {
    atomic::sync_dir(dir).map_err(TrainError::io("write", dir))
}

/// Reads a whole text file.
pub(crate) fn read_text(path: &Path) -> Result<String, TrainError> {
    fs::read_to_string(path).map_err(TrainError::io("read", path))
}

/// A path as text, with a replacement for what is no Unicode: serde refuses such a path.
pub(crate) fn lossy<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// [`lossy`] where there may be none.
pub(crate) fn lossy_option<S: Serializer>(
    path: &Option<PathBuf>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match path {
        Some(path) => lossy(path, serializer),
        None => serializer.serialize_none(),
    }
}
