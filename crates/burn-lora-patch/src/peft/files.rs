//! The two files of an adapter directory.

use std::fs;
use std::io::Write;
use std::path::Path;

use burn_lora_files::atomic;

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
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let note = if !dir.is_dir() {
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
