//! Whole files and directories, with errors that name them.

use std::fs;
use std::io::Write;
use std::path::Path;

use tempfile::TempDir;

use crate::{IoError, atomic};

/// Writes the file, whole or not at all, and the directories above it.
///
/// # Errors
///
/// What the system says; the old file is then as it was.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), IoError> {
    create_dir(atomic::parent(path))?;
    atomic::write(path, |file| file.write_all(bytes)).map_err(IoError::at("write", path))
}

/// A scratch directory inside `parent`, which is made, to be filled and renamed into its place.
///
/// # Errors
///
/// What the system says.
pub fn scratch_dir(parent: &Path) -> Result<TempDir, IoError> {
    create_dir(parent)?;
    atomic::scratch_dir(parent).map_err(IoError::at("write", parent))
}

/// Makes the directory and those above it.
///
/// # Errors
///
/// What the system says.
pub fn create_dir(dir: &Path) -> Result<(), IoError> {
    fs::create_dir_all(dir).map_err(IoError::at("create", dir))
}

/// Flushes the directory's own entries to the disk.
///
/// # Errors
///
/// What the system says.
pub fn sync_dir(dir: &Path) -> Result<(), IoError> {
    atomic::sync_dir(dir).map_err(IoError::at("write", dir))
}

/// Reads a whole file.
///
/// # Errors
///
/// What the system says.
pub fn read(path: &Path) -> Result<Vec<u8>, IoError> {
    fs::read(path).map_err(IoError::at("read", path))
}

/// Reads a whole text file.
///
/// # Errors
///
/// What the system says, also of a file that is no UTF-8.
pub fn read_text(path: &Path) -> Result<String, IoError> {
    fs::read_to_string(path).map_err(IoError::at("read", path))
}
