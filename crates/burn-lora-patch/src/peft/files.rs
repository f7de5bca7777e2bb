//! The two files of an adapter directory.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

use burn_lora_files::atomic;
use burn_lora_files::floats::values_f64;
use safetensors::SafeTensors;

use crate::error::PatchError;

/// The configuration of an adapter.
pub const CONFIG_FILE: &str = "adapter_config.json";
/// The tensors of an adapter.
pub const TENSORS_FILE: &str = "adapter_model.safetensors";

/// Writes the file, whole or not at all.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), PatchError> {
    atomic::write(path, |file| file.write_all(bytes)).map_err(|source| PatchError::Io {
        action: "write",
        path: path.to_owned(),
        source,
    })
}

/// The bytes of a file of an adapter directory.
pub(super) fn read(dir: &Path, name: &'static str) -> Result<Vec<u8>, PatchError> {
    let path = dir.join(name);
    match fs::read(&path) {
        Ok(bytes) => Ok(bytes),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            let note = if dir.is_file() {
                " (it is a file: name the directory that it is in)"
            } else if !dir.is_dir() {
                " (there is no such directory)"
            } else if name == TENSORS_FILE && dir.join("adapter_model.bin").exists() {
                "; `adapter_model.bin` is a pickle, which is not read: save it again with PEFT's safe_serialization=True"
            } else {
                ""
            };
            Err(PatchError::NoAdapterFile {
                dir: dir.to_owned(),
                missing: name,
                note: note.to_owned(),
            })
        }
        Err(source) => Err(PatchError::Io { action: "read", path, source }),
    }
}

/// The tensors that hold values which are not finite, with the first such value of each, by key.
pub fn not_finite(tensors: &SafeTensors<'_>) -> Vec<(String, f64)> {
    let mut broken: Vec<(String, f64)> = tensors
        .iter()
        .filter_map(|(key, view)| {
            let values = values_f64(&view)?;
            Some((key.to_owned(), values.into_iter().find(|value| !value.is_finite())?))
        })
        .collect();
    broken.sort_by(|(one, _), (other, _)| one.cmp(other));
    broken
}

/// Sees to it that nobody is given an adapter whose values are broken.
///
/// # Errors
///
/// [`PatchError::Values`].
pub fn all_finite(tensors: &SafeTensors<'_>, path: &Path) -> Result<(), PatchError> {
    let broken = not_finite(tensors);
    let others = broken.len().saturating_sub(1);
    match broken.into_iter().next() {
        None => Ok(()),
        Some((key, value)) => Err(PatchError::Values { path: path.to_owned(), key, value, others }),
    }
}
